"""What a site says of its device layers: servers without a pairing, modes, and the check of both folders together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run, planned
from test_device_layers import CATALOG, DEPLOYED, LAYERS, asked, cluster, findings, held, host, objects, pods, site_of

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.kubernetes_schema import MINORS
from stowplan.check.pod_security import needed_level
from stowplan.diagnostics import Refused
from stowplan.plan.device_layer import choose_layer, in_mode, site_hosts
from stowplan.plan.model import Plan
from stowplan.profiles.device_layer import DeviceLayerSpec
from stowplan.profiles.site import SiteServer, SiteSpec
from stowplan.render.artifact import Artifact
from stowplan.render.device_layer import layer_artifacts
from stowplan.render.pairing import render_all, render_pairing
from stowplan.write import write

MINDCLUSTER = "ascend-mindcluster"
MODE = {MINDCLUSTER: "default-scheduler"}
PROMISED = {
    "ascend-mindcluster": {"atlas-350-8", "atlas-850-950dt", "atlas-800i-a3", "atlas-800i-a2-910b3"},
    "nvidia-device-plugin": {"hgx-h200", "hgx-b200"},
    "amd-device-plugin": {"mi355x-8x"},
    "cambricon-device-plugin": {"cambricon-x8-mlu590"},
    "ascend-hami": {"atlas-800i-a3"},
    "nvidia-gpu-operator": {"hgx-h200", "hgx-b200"},
    "amd-gpu-operator": {"mi355x-8x"},
}


@pytest.fixture(scope="module")
def tree(plans: dict[str, Plan]) -> list[Artifact]:
    sites = [site_hosts(CATALOG, name) for name in CATALOG.sites if CATALOG.sites[name].servers]
    return render_all(plans.values(), sites)


def test_the_shipped_sites_and_pairings_render_every_layer_with_its_servers(tree: list[Artifact]) -> None:
    paths = {artifact.path for artifact in tree}
    for layer, servers in PROMISED.items():
        assert {f"device-layers/{layer}/servers/{server}/preflight.yaml" for server in servers} <= paths
        cluster_objects = [p for p in paths if p.startswith(f"device-layers/{layer}/") and p.count("/") == 2]
        assert f"device-layers/{layer}/kustomization.yaml" in cluster_objects
    assert f"device-layers/{MINDCLUSTER}/servers/atlas-800i-a3/group-2/preflight.yaml" in paths


def test_a_pairing_alone_renders_no_listed_server(run: Run, tmp_path: Path) -> None:
    assert run("render", "v4-flash-0731.hgx-h200.coding-agent", "--out", tmp_path).code == 0
    assert [p.name for p in (tmp_path / "device-layers").iterdir()] == ["nvidia-device-plugin"]


def site(**said: Any) -> SiteSpec:
    made: SiteSpec = CATALOG.sites["default"].model_copy(update=said)
    return made


@pytest.mark.parametrize(
    ("server", "layer", "message"),
    [
        ("atlas-800i-a33", None, "unknown server"),
        ("hgx-h200", "nvidia", "unknown device layer"),
        ("hgx-h200", "ascend-hami", "does not serve hgx-h200"),
    ],
)
def test_what_a_site_lists_wrongly_is_refused_at_its_file(
    server: str, layer: str | None, message: str, overlay_site: Callable[[dict[str, Any]], Catalog], run: Run
) -> None:
    entry = {"deviceLayer": layer} if layer else {}
    catalog = overlay_site({"servers": {server: entry}})
    with pytest.raises(Refused, match=message) as refused:
        site_hosts(catalog, "mine")
    assert [d.code for d in refused.value.report] == ["P026"]
    ended = run("check", catalog.sites.files["mine"])
    assert ended.code == 1
    assert message.replace("unknown ", "") in ended.out


@pytest.fixture
def overlay_site(tmp_path: Path) -> Callable[[dict[str, Any]], Catalog]:
    def write_site(spec: dict[str, Any]) -> Catalog:
        file = tmp_path / "profiles/sites/mine.yaml"
        file.parent.mkdir(parents=True)
        whole = {"title": "Mine", "kubernetes": "1.37", **spec}
        head = {"apiVersion": "stowplan/v1", "kind": "Site", "metadata": {"name": "mine"}}
        file.write_text(json.dumps({**head, "spec": whole}))
        return Catalog([resources.folder("profiles"), tmp_path / "profiles"])

    return write_site


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(Refused, match="no mode 'default-schedler'"):
        choose_layer(CATALOG, site(device_layer_modes={MINDCLUSTER: "default-schedler"}), "atlas-800i-a3", None)


def moded() -> tuple[DeviceLayerSpec, list[Artifact]]:
    chosen = site(device_layer_modes=MODE)
    spec = in_mode(MINDCLUSTER, LAYERS[MINDCLUSTER], chosen)
    return spec, list(layer_artifacts(MINDCLUSTER, spec, chosen))


def test_the_default_scheduler_mode_changes_all_that_belongs_to_it_and_no_more() -> None:
    _, made = moded()
    before = {a.path for a in cluster(MINDCLUSTER)}
    gone = {path.rpartition("/")[2] for path in before - {a.path for a in made}}
    assert gone == {"clusterd.yaml", "noded.yaml", "volcano.yaml"}
    plugin = next(o for o in objects(made) if o["kind"] == "DaemonSet" and "device-plugin" in o["metadata"]["name"])
    pod = plugin["spec"]["template"]["spec"]
    assert "volcano" not in json.dumps(pod).lower()
    assert {"vnpu-cfg", "vnpu-lock", "reset-config"}.isdisjoint(v["name"] for v in pod["volumes"])
    spaces = {o["metadata"]["name"] for o in objects(made) if o["kind"] == "Namespace"}
    assert spaces == {"npu-exporter"}
    other = next(o for o in objects(cluster(MINDCLUSTER)) if o["metadata"]["name"] == plugin["metadata"]["name"])
    kept = {"image", "command", "env", "securityContext", "livenessProbe", "resources"}
    one, two = (o["spec"]["template"]["spec"]["containers"][0] for o in (plugin, other))
    assert {k: one[k] for k in kept} == {k: two[k] for k in kept}


@pytest.mark.parametrize("minor", MINORS)
def test_the_default_scheduler_mode_has_no_error(minor: str) -> None:
    _, made = moded()
    made += host(MINDCLUSTER, "atlas-800i-a3", device_layer_modes=MODE)
    assert [d for d in findings(made, minor) if d.severity in ("error", "unchecked")] == []


def test_workloads_follow_the_mode() -> None:
    catalog = Catalog([resources.folder("profiles")])
    vendor = planned(catalog, "deepseek-v4-flash", "atlas-800i-a3")
    assert vendor.layer is not None
    other = choose_layer(catalog, site(device_layer_modes=MODE), "atlas-800i-a3", None)
    assert other is not None
    assert (vendor.layer.spec.workload.scheduler_name, other.spec.workload.scheduler_name) == ("volcano", "")
    assert other.spec.workload.env_from_annotation == {}
    assert other.server.pod_annotations == other.server.pod_labels == {}
    assert (other.server.resource, other.server.pod_counts) == (
        vendor.layer.server.resource,
        vendor.layer.server.pod_counts,
    )


def test_a_super_pod_has_no_default_scheduler_mode() -> None:
    with pytest.raises(Refused, match="placed by Volcano"):
        held(MINDCLUSTER, "cloudmatrix-384", device_layer_modes=MODE)


@pytest.mark.parametrize("layer", DEPLOYED)
def test_every_layer_is_clean_under_strict_on_the_newest_tested_kubernetes(layer: str) -> None:
    tested = {c.kubernetes_tested_max for c in LAYERS[layer].components.values() if c.kubernetes_tested_max}
    newest = min({*tested, MINORS[-1]})
    for server in LAYERS[layer].servers:
        assert findings([*cluster(layer), *host(layer, server)], newest) == []


@pytest.mark.parametrize("layer", DEPLOYED)
def test_a_kubernetes_beyond_the_tested_one_is_warned_of_with_the_combination(layer: str) -> None:
    tested = {n: c.kubernetes_tested_max for n, c in LAYERS[layer].components.items() if c.kubernetes_tested_max}
    found = [d for d in findings(cluster(layer), MINORS[-1]) if d.code == "D132"]
    deployed = {n for n in tested if LAYERS[layer].components[n].kind != "host"}
    assert {d.message.split()[0] for d in found} >= deployed
    for diagnostic in found:
        assert diagnostic.severity == "warning"
        assert f"to {min(tested.values())} with" in diagnostic.hint


def test_what_needs_more_than_restricted_says_why_in_every_tree(tree: list[Artifact]) -> None:
    judged = 0
    for template in (t for o in objects(tree) for t in pods(o)):
        level, fields = needed_level(template["spec"])
        stated = [k for k in template["metadata"].get("annotations", {}) if k.startswith("stowplan.dev/reason-")]
        assert level == "restricted" or stated, (template["metadata"], fields)
        judged += 1
    assert judged > 50


def test_privileges_of_a_layer_are_in_explain(run: Run) -> None:
    told = run("explain", "v4-flash.atlas-800i-a3.chat", "security").out
    for name, component in LAYERS[MINDCLUSTER].components.items():
        for privilege, reason in component.reasons.items():
            assert any(line.split()[:2] == [name, privilege] and reason[:40] in line for line in told.splitlines())


def around(tree: list[Artifact], path: str) -> list[Artifact]:
    """The layers, and of the pairings the one of that path, without its plan."""
    pairing = f"pairings/{path.partition('/')[0]}/"
    mine = [a for a in tree if not a.path.startswith("pairings/") or a.path.startswith(pairing)]
    return [a for a in mine if not a.path.endswith("plan.yaml")]


def written(tree: list[Artifact], folder: Path, **changed: Callable[[str], str]) -> Path:
    """The tree on disk, with the files whose path ends so changed."""
    made = []
    for artifact in tree:
        change = next((c for name, c in changed.items() if artifact.path.endswith(name)), None)
        made.append(Artifact(artifact.path, change(artifact.text), artifact.objects) if change else artifact)
    write(folder, made, [""])
    return folder


def errors_of(run: Run, folder: Path) -> set[tuple[str, str]]:
    found = json.loads(run("check", folder, "--format", "json").out)["findings"]
    return {(d["code"], str(d["file"]).partition("/pairings/")[2]) for d in found if d["severity"] == "error"}


A3 = "v4-flash.atlas-800i-a3.chat/serving/deployment.yaml"
ADVERTISED = "servers/atlas-800i-a3/node-labels.yaml"


def test_both_folders_agree(run: Run, tree: list[Artifact], tmp_path: Path) -> None:
    assert errors_of(run, written(tree, tmp_path / "m")) == set()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("huawei.com/Ascend910: '{n}'", "huawei.com/npu: '{n}'", "D120"),
        ("huawei.com/Ascend910: '{n}'", "huawei.com/Ascend910X: '{n}'", "D120"),
        ("huawei.com/Ascend910: '{n}'", "huawei.com/Ascend910: '3'", "D121"),
        ("huawei.com/Ascend910: '{n}'", "huawei.com/Ascend910: '32'", "D121"),
    ],
)
def test_a_pairing_that_asks_for_something_else_is_found_without_its_plan(
    old: str, new: str, code: str, run: Run, tree: list[Artifact], plans: dict[str, Plan], tmp_path: Path
) -> None:
    chosen = plans["v4-flash.atlas-800i-a3.chat"].chosen
    assert chosen is not None
    count = chosen.roles[0].placement.devices_per_node
    line = old.format(n=count)

    def change(text: str) -> str:
        assert line in text
        return text.replace(line, new.format(n=count))

    folder = written(around(tree, A3), tmp_path / "m", **{A3: change})
    assert (code, A3) in errors_of(run, folder)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda said: {**said, "resource": "huawei.com/ascend-1980"}, "D120"),
        (lambda said: {**said, "podCounts": {"single": [2], "distributed": [2]}}, "D121"),
    ],
)
def test_a_layer_that_advertises_something_else_is_found_at_the_pairing(
    change: Callable[[dict[str, Any]], dict[str, Any]], code: str, run: Run, tree: list[Artifact], tmp_path: Path
) -> None:
    kept = [a for a in around(tree, A3) if "ascend-hami" not in a.path]
    folder = written(kept, tmp_path / "m", **{ADVERTISED: lambda text: yaml.safe_dump(change(yaml.safe_load(text)))})
    assert (code, A3) in errors_of(run, folder)


TRAYS = "v4-pro.gb200-nvl72-tray.chat/serving/resource-claim-template.yaml"


@pytest.mark.parametrize(
    ("path", "old", "new", "code"),
    [
        (TRAYS, "deviceClassName: gpu.nvidia.com", "deviceClassName: npu.huawei.com", "D120"),
        (TRAYS, "count: 4", "count: 8", "D121"),
        ("servers/gb200-nvl72-tray/node-labels.yaml", "resource: gpu.nvidia.com", "resource: nvidia.com/gpu", "D120"),
    ],
)
def test_claims_are_held_against_what_is_advertised_too(
    path: str, old: str, new: str, code: str, run: Run, tree: list[Artifact], tmp_path: Path
) -> None:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    folder = written(around(tree, TRAYS), tmp_path / "m", **{path: change})
    assert (code, TRAYS) in errors_of(run, folder)


def test_a_node_feature_rule_sets_the_labels_of_the_command(tree: list[Artifact]) -> None:
    texts = {a.path: a.text for a in tree}
    rules = [path for path in texts if path.endswith("/node-feature-rule.yaml") and "/servers/" in path]
    assert rules
    for path in rules:
        rule = yaml.safe_load(texts[path])["spec"]["rules"][0]
        said = yaml.safe_load(texts[path.replace("node-feature-rule", "node-labels")])
        assert rule["labels"] == said["labels"]
        assert all(f"{k}={v}" in said["command"] for k, v in said["labels"].items())
        assert path.rpartition("/")[2] in said["instead"]
        kustomization = yaml.safe_load(texts[path.replace("node-feature-rule", "kustomization")])
        assert kustomization["resources"] == ["preflight.yaml"]


def test_every_layer_with_an_exporter_scrapes_it() -> None:
    for layer in DEPLOYED:
        exporters = {n for n, c in LAYERS[layer].components.items() if "exporter" in n and c.kind == "DaemonSet"}
        monitored = [
            o for o in objects(cluster(layer, monitoring_labels={"release": "p"})) if o["kind"] == "PodMonitor"
        ]
        assert all(o["metadata"]["labels"]["release"] == "p" for o in monitored)
        for monitor in monitored:
            made = [
                o
                for o in objects(cluster(layer))
                if o["kind"] in ("DaemonSet", "Deployment")
                and o["spec"]["selector"]["matchLabels"] == monitor["spec"]["selector"]["matchLabels"]
            ]
            port = monitor["spec"]["podMetricsEndpoints"][0]["port"]
            names = [p["name"] for c in made[0]["spec"]["template"]["spec"]["containers"] for p in c.get("ports", ())]
            assert len(made) == 1
            assert port in names
        assert len(monitored) >= len(exporters)
    assert not [
        o
        for o in objects(cluster("cambricon-device-plugin", images={"cambricon-device-plugin": "a/b:1"}))
        if "monitor" in o["metadata"]["name"]
    ]


def test_what_an_operator_makes_follows_the_site_too() -> None:
    asked_for = {"monitoring_labels": {"release": "p"}, "kubelet_root": "/data/k"}
    for layer in ("nvidia-gpu-operator", "amd-gpu-operator"):
        made = json.dumps(objects(cluster(layer, **asked_for)))
        assert '{"release": "p"}' in made
        assert "/var/lib/kubelet" not in made


def test_clusterd_gets_the_folder_that_it_writes_to() -> None:
    made = next(
        o for o in objects(cluster(MINDCLUSTER)) if o["kind"] == "Deployment" and o["metadata"]["name"] == "clusterd"
    )
    spec = made["spec"]["template"]["spec"]
    init, main = spec["initContainers"][0], spec["containers"][0]
    assert "install -d -o 9000 -g 9000 -m 750 /user/slownode-cluster" in init["args"][0]
    for container in (init, main):
        assert "/user/slownode-cluster" in {m["mountPath"] for m in container["volumeMounts"]}


def test_a_listed_server_uses_the_layer_that_the_site_gives() -> None:
    chosen = site(servers={"atlas-800i-a3": SiteServer.model_validate({"deviceLayer": "ascend-hami"})})
    layer = choose_layer(CATALOG, chosen, "atlas-800i-a3", "ascend-hami")
    assert layer is not None
    assert layer.name == "ascend-hami"
    assert site_of("ascend-hami") == "default"
    assert [set(o) for o in asked(host("ascend-hami", "atlas-800i-a3"))] == [{"huawei.com/Ascend910C"}] * 2


def without_layer(node: Any) -> Any:
    """An object without its pod templates, and without what follows from the plan's text."""
    if isinstance(node, list):
        return [without_layer(value) for value in node]
    if not isinstance(node, dict):
        return node
    followed = {"stowplan.dev/plan-digest", "template", "leaderTemplate", "workerTemplate"}
    return {key: without_layer(value) for key, value in node.items() if key not in followed}


def test_another_layer_changes_no_object_outside_of_pod_templates() -> None:
    vendor, hami = (
        [
            without_layer(o)
            for a in render_pairing(planned(CATALOG, "deepseek-v4-flash", "atlas-800i-a3", deviceLayer=layer))
            for o in objects([a])
        ]
        for layer in (MINDCLUSTER, "ascend-hami")
    )
    for one, other in zip(vendor, hami, strict=True):
        if one["kind"] == "Job":  # named by its content
            one["metadata"].pop("name"), other["metadata"].pop("name")
        assert one == other
