"""`stowplan cluster`: against exchanges that were recorded with a real API server, and against a live one where KUBECONFIG names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import MANIFESTS, ROOT, Ended, Files, Run
from recorded_server import Exchange, exchanges, kubeconfig, serving

from stowplan.canonical_yaml import dump
from stowplan.catalog import Catalog
from stowplan.check.runner import objects_of
from stowplan.cluster.discover import discover
from stowplan.cluster.dry_run import refusals, unaskable
from stowplan.cluster.field_paths import field_path
from stowplan.cluster.server import Answer
from stowplan.cluster.site import site_of
from stowplan.located_yaml import read_bytes

RECORDINGS = ROOT.parent / "shared" / "cluster-recordings"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings of an API server are not here")
LIVE = os.environ.get("KUBECONFIG", "")
needs_cluster = pytest.mark.skipif(not LIVE, reason="KUBECONFIG names no cluster")

Ask = Callable[..., Ended]


def recorded(name: str) -> list[Exchange]:
    return exchanges(RECORDINGS, name) if RECORDINGS.is_dir() else []


def applied(exchange: Exchange) -> dict[str, Any]:
    """The object of a recorded request."""
    body: dict[str, Any] = exchange["request"]["body"]
    return body


APPLIED = {str(e["note"]): e for e in recorded("dry-run")}


@pytest.fixture
def ask(run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ask]]:
    """A cluster that knows these exchanges: what it returns runs a command against it."""
    open_servers = []

    def knowing(*known: Exchange) -> Ask:
        context = serving([*recorded("discovery"), *known])
        address, strange = context.__enter__()
        open_servers.append((context, strange))
        folder = write_files({"kubeconfig.json": kubeconfig(address)})
        monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig.json"))
        return lambda *arguments, **more: run("cluster", *arguments, **more)

    yield knowing
    for context, _ in open_servers:
        context.__exit__(None, None, None)
    requests = {request for _, strange in open_servers for request in strange}
    assert requests <= {"GET /apis/resource.k8s.io/v1/resourceslices"}, "the recordings have none of these"


def found(ended: Ended) -> list[tuple[str, str, int | None]]:
    return [(f["code"], f["severity"], f["line"]) for f in ended.data["findings"]]


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@needs_recordings
@pytest.mark.parametrize("note", APPLIED)
def test_a_dry_run_says_what_the_server_said(note: str, ask: Callable[..., Ask], write_files: Files) -> None:
    exchange = APPLIED[note]
    kind_is_served = "no such kind" not in note
    folder = write_files({"bundle/object.yaml": dump(applied(exchange))})
    ended = ask(*([exchange] if kind_is_served else []))("dry-run", folder / "bundle", "--format", "json")
    accepted = exchange["response"]["status"] < 300
    assert ended.code == (0 if accepted else 1)
    assert bool(ended.data["findings"]) != accepted
    assert {f["object"] for f in ended.data["findings"]} <= {str_of(applied(exchange))}


def str_of(data: Mapping[str, Any]) -> str:
    metadata = data["metadata"]
    namespace = metadata.get("namespace")
    return f"{data['kind']} {namespace + '/' if namespace else ''}{metadata['name']}"


@needs_recordings
@pytest.mark.parametrize(
    ("note", "code", "part"),
    [
        ("selector does not match the template labels", "K003", "app.kubernetes.io/name: other"),
        ("fractional extended resource", "K003", "nvidia.com/gpu:"),
        ("unknown field under strict validation", "K003", "container:"),
        ("wrong type", "K003", "replicas:"),
        ("custom resource, value not in the enumeration", "K003", "startupPolicy:"),
        ("no such kind on the server", "K005", "apiVersion:"),
        ("the namespace does not exist", "K006", "namespace:"),
    ],
)
def test_each_refusal_stands_at_its_line(
    note: str, code: str, part: str, ask: Callable[..., Ask], write_files: Files
) -> None:
    exchange = APPLIED[note]
    text = dump(applied(exchange))
    folder = write_files({"object.yaml": text})
    known = [] if code == "K005" else [exchange]
    ended = ask(*known)("dry-run", folder / "object.yaml", "--format", "json")
    assert (code, "error") in [entry[:2] for entry in found(ended)]
    assert ended.data["findings"][0]["line"] == line_of(text, part)


@needs_recordings
def test_two_faults_are_two_findings(ask: Callable[..., Ask], write_files: Files) -> None:
    exchange = APPLIED["two faults at once"]
    text = dump(applied(exchange))
    folder = write_files({"object.yaml": text})
    ended = ask(exchange)("dry-run", folder / "object.yaml", "--format", "json")
    assert found(ended) == [("K003", "error", line_of(text, "xxxx")), ("K003", "error", line_of(text, "replicas:"))]
    assert "must be no more than 63 bytes" in ended.data["findings"][0]["message"]


@needs_recordings
def test_what_only_the_bundle_creates_is_unchecked_by_name(ask: Callable[..., Ask], write_files: Files) -> None:
    missing, namespace = APPLIED["the namespace does not exist"], APPLIED["dry run of the namespace itself"]
    folder = write_files({"b/a.yaml": dump(applied(missing)), "b/namespace.yaml": dump(applied(namespace))})
    ended = ask(missing, namespace)("dry-run", folder / "b", "--format", "json")
    assert ended.code == 0
    assert [(f["code"], f["severity"]) for f in ended.data["findings"]] == [("K007", "unchecked")]
    assert "'serving'" in ended.data["findings"][0]["message"]
    assert "judged 1 of 2 objects" in ended.err
    assert ask(missing, namespace)("dry-run", folder / "b", "--strict").code == 1


@needs_recordings
def test_a_kind_that_the_bundle_defines_is_unchecked(ask: Callable[..., Ask], write_files: Files) -> None:
    thing = applied(APPLIED["no such kind on the server"])
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.nonsense.example.com"},
        "spec": {
            "group": "nonsense.example.com",
            "names": {"kind": "Thing", "plural": "things"},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    asked = {
        "request": {
            "method": "PATCH",
            "path": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.nonsense.example.com"
            "?dryRun=All&fieldManager=stowplan&fieldValidation=Strict",
            "body": definition,
        },
        "response": {"status": 201, "body": definition},
    }
    folder = write_files({"b/crd.yaml": dump(definition), "b/thing.yaml": dump(thing)})
    ended = ask(asked)("dry-run", folder / "b", "--format", "json")
    assert [(f["code"], f["object"]) for f in ended.data["findings"]] == [("K007", str_of(thing))]


@needs_recordings
def test_drift_names_who_holds_a_field(ask: Callable[..., Ask], write_files: Files) -> None:
    known = recorded("live-diff")
    rendered = next(applied(e) for e in known if e["request"]["body"])
    text = dump(rendered)
    folder = write_files({"b/object.yaml": text})
    ended = ask(*known)("diff", folder / "b", "-o", "json")
    assert ended.code == 1
    (only,) = ended.data
    assert only["field"] == "spec.replicas"
    assert (only["live"], only["rendered"], only["owner"]) == (3, 1, "kubectl-edit")
    assert f":{line_of(text, 'replicas:')}:" in only["place"]


@needs_recordings
def test_what_is_not_there_is_missing(ask: Callable[..., Ask], write_files: Files) -> None:
    known = recorded("live-diff")
    rendered = next(applied(e) for e in known if e["request"]["body"])
    rendered = {**rendered, "metadata": {**rendered["metadata"], "name": "missing"}}
    folder = write_files({"b/object.yaml": dump(rendered)})
    ended = ask(*known)("diff", folder / "b", "-o", "json")
    assert ended.code == 1
    assert [(d["object"], d["state"]) for d in ended.data] == [("Deployment serving/missing", "missing")]


@needs_recordings
def test_nodes_are_servers_of_the_catalogue(ask: Callable[..., Ask]) -> None:
    ended = ask(*recorded("nodes"))("discover", "-o", "json")
    assert ended.code == 0
    told = {tuple(hosts["nodes"]): hosts for hosts in ended.data}
    assert {nodes: hosts["server"] for nodes, hosts in told.items()} == {
        ("a3-node-01", "a3-node-02"): "atlas-800i-a3",
        ("h200-node-01",): "hgx-h200",
        ("mi355x-node-01",): "mi355x-8x",
        ("npu950-node-01",): None,
    }
    ambiguous = told["npu950-node-01",]
    assert ambiguous["candidates"] == ["atlas-350-4p-8", "atlas-350-8"]
    assert any("atlas-350-4p-8 or atlas-350-8" in note for note in ambiguous["notes"])
    assert told["h200-node-01",]["otherResources"] == ["rdma/hca_shared_devices_a"]
    assert told["h200-node-01",]["hostMemoryGib"] == 2016


@needs_recordings
def test_a_discovered_site_is_a_valid_profile(ask: Callable[..., Ask], run: Run, write_files: Files) -> None:
    ended = ask(*recorded("nodes"))("discover", "--site", "prod")
    assert ended.code == 0
    assert "# npu950-node-01: it may be" in "".join(ended.out.splitlines(keepends=True))
    folder = write_files({"prod.yaml": ended.out})
    checked = run("check", folder / "prod.yaml", "--format", "json")
    assert checked.data["findings"] == []


@needs_recordings
def test_a_server_that_denies_its_nodes_is_no_traceback(ask: Callable[..., Ask]) -> None:
    ended = ask(*recorded("unauthorized"))("discover")
    assert ended.code == 2
    assert "error[K002]" in ended.err
    assert "Unauthorized" in ended.err


def test_without_a_cluster_the_error_is_clear(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for command in (("dry-run",), ("discover",), ("diff", "nowhere")):
        ended = run("cluster", *command)
        assert ended.code == 2
        assert "error[K001]: KUBECONFIG is not set" in ended.err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (kubeconfig("http://127.0.0.1:9"), "K002"),
        ("a: [", "P003"),
        ("just text", "K001"),
        ("apiVersion: v1\nkind: Config\ncontexts: 3\ncurrent-context: x\n", "K001"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere(
    text: str, code: str, run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_files({"kubeconfig": text}) / "kubeconfig"))
    ended = run("cluster", "discover")
    assert ended.code == 2
    assert f"error[{code}]" in ended.err


@needs_recordings
def test_nothing_to_ask_about_is_an_error(ask: Callable[..., Ask], write_files: Files) -> None:
    folder = write_files({"b/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"})
    ended = ask()("dry-run", folder / "b")
    assert ended.code == 2
    assert "holds no object" in ended.err


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("spec.c[0].limits[example.com/gpu]", ("spec", "c", 0, "limits", "example.com/gpu")),
        ('.spec.c[name="b"].image', ("spec", "c", 1, "image")),
        ('.spec.c[name="b",protocol="TCP"].image', ("spec", "c", 1, "image")),
        (".metadata.labels.app.kubernetes.io/name", ("metadata", "labels", "app.kubernetes.io/name")),
        ("spec.absent.deeper", ("spec", "absent")),
        ('.spec.words[="y"]', ("spec", "words", 1)),
    ],
)
def test_fields_as_the_server_names_them(field: str, path: tuple[str | int, ...]) -> None:
    data = {
        "metadata": {"labels": {"app.kubernetes.io/name": "x", "app": "y"}},
        "spec": {
            "c": [{"name": "a", "limits": {"example.com/gpu": "1"}}, {"name": "b", "image": "i"}],
            "words": ["x", "y"],
        },
    }
    assert field_path(data, field) == path


@needs_cluster
def test_a_live_server_refuses_nothing_that_is_rendered(run: Run) -> None:
    """Kinds and namespaces that the cluster lacks are told, and are no fault of what is rendered."""
    ended = run("cluster", "dry-run", MANIFESTS, "--format", "json")
    codes = {f["code"] for f in ended.data["findings"]}
    assert codes <= {"K005", "K006", "K007", "K008"}, ended.out


@needs_cluster
def test_a_live_server_tells_its_nodes_and_its_drift(run: Run) -> None:
    assert isinstance(run("cluster", "discover", "-o", "json").data, list)
    assert run("cluster", "diff", MANIFESTS / "pairings", "-o", "json").code in (0, 1)


def node(name: str, capacity: Mapping[str, str], **labels: str) -> dict[str, Any]:
    """A node that advertises something; in the names of labels `_` stands for a slash and `__` for a dot."""
    told = {key.replace("__", ".").replace("_", "/"): value for key, value in labels.items()}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64", **told}},
        "status": {"capacity": {"memory": "100Gi", **capacity}, "allocatable": {"memory": "100Gi", **capacity}},
    }


@pytest.mark.parametrize(
    ("capacity", "product", "server", "said"),
    [
        ({"nvidia.com/gpu": "8"}, "NVIDIA-H200", "hgx-h200", ""),
        ({"nvidia.com/gpu": "4"}, "NVIDIA-H200", None, "no whole host of hgx-h200 (8)"),
        ({"nvidia.com/gpu": "1"}, "Tesla-T4", None, "nvidia.com/gpu.product=Tesla-T4"),
        ({"nvidia.com/gpu": "80"}, "NVIDIA-H200", None, "no whole host of hgx-h200 (8)"),
        ({"nvidia.com/gpu": "8", "amd.com/gpu": "1"}, "NVIDIA-H200", "hgx-h200", "it advertises amd.com/gpu too"),
        ({"nvidia.com/mig-1g.18gb": "56"}, "NVIDIA-H200", None, "nvidia.com/mig-1g.18gb, which no device layer"),
        ({"habana.ai/gaudi": "8"}, "", None, "habana.ai/gaudi, which no device layer"),
        ({}, "NVIDIA-H200", None, "it advertises no devices"),
    ],
)
def test_a_node_is_no_server_that_it_does_not_look_like(
    capacity: dict[str, str], product: str, server: str | None, said: str, catalog: Catalog
) -> None:
    labels = {"nvidia__com_gpu__product": product} if product else {}
    (hosts,) = discover([node("n", capacity, **labels)], [], catalog)
    assert hosts.server == server
    assert said in "; ".join(hosts.notes)


def test_a_site_tolerates_what_all_such_hosts_are_tainted_with(catalog: Catalog) -> None:
    hosts = [node(name, {"nvidia.com/gpu": "8"}, nvidia__com_gpu__product="NVIDIA-H200") for name in ("a", "b")]
    always, once = {"key": "team", "value": "x", "effect": "NoSchedule"}, {"key": "leaving", "effect": "NoSchedule"}
    hosts[0]["spec"], hosts[1]["spec"] = {"taints": [always]}, {"taints": [always, once]}
    spec, questions = site_of(discover(hosts, [], catalog), "1.36", catalog)
    assert spec["tolerations"] == [{"key": "team", "operator": "Equal", "value": "x", "effect": "NoSchedule"}]
    assert questions == []


def test_devices_by_claims_are_counted_in_the_newest_pool(catalog: Catalog) -> None:
    def piece(generation: int, devices: int) -> dict[str, Any]:
        pool = {"name": "n", "generation": generation}
        return {"spec": {"nodeName": "n", "driver": "gpu.nvidia.com", "pool": pool, "devices": [{}] * devices}}

    host = node("n", {}, nvidia__com_gpu__product="NVIDIA-H200")
    (hosts,) = discover([host], [piece(1, 8), piece(2, 4), piece(2, 4)], catalog)
    assert (hosts.server, hosts.devices, hosts.device_layers) == ("hgx-h200", 8, ("nvidia-dra",))


CONVERT = (
    "failed to convert new object (default/p2; /v1, Kind=Pod) to proper version: unable to convert unstructured object "
    "to /v1, Kind=Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
RIGHTS = (
    'configmaps "a" is forbidden: User "lim" cannot patch resource "configmaps" in API group "" in the namespace "b"'
)


@pytest.mark.parametrize(
    ("status", "message", "kind", "code", "severity"),
    [
        (500, CONVERT, "Pod", "K003", "error"),
        (500, 'Internal error occurred: failed calling webhook "x"', "Pod", "K007", "unchecked"),
        (403, RIGHTS, "ConfigMap", "K007", "unchecked"),
        (403, 'pods "p" is forbidden: violates PodSecurity "restricted:latest"', "Pod", "K003", "error"),
        (
            500,
            'failed to create typed patch object (a/b; /v1, Kind=Secret): .stringData.t: got "hunter2"',
            "Secret",
            "K003",
            "error",
        ),
    ],
)
def test_whose_fault_a_refusal_is(status: int, message: str, kind: str, code: str, severity: str) -> None:
    text = f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: b, namespace: a}}\nstringData: {{t: hunter2}}\n"
    (item,) = objects_of(read_bytes(text.encode(), "x.yaml"))
    (only,) = refusals(item, Answer(status, {"message": message}))
    assert (only.code, only.severity) == (code, severity)
    assert (
        "hunter2" not in (f"{only.message} {only.location.text}" if only.location else only.message) or kind != "Secret"
    )


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ("{name: 123}", "K003"),
        ("{}", "K003"),
        ('{name: ".."}', "K003"),
        ("{generateName: a-}", "K007"),
        ("{name: a}", None),
    ],
)
def test_what_has_no_address_is_not_asked(metadata: str, code: str | None) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\n"
    (item,) = objects_of(read_bytes(text.encode(), "x.yaml"))
    found = unaskable(item)
    assert (found.code if found else None) == code
