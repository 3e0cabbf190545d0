"""Device layers: what each renders for each server that it serves, and that pairings ask for what it advertises."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import planned, resolved

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.kubernetes_schema import MINORS
from stowplan.check.pod_security import needed_level
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic, Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar
from stowplan.plan.claims import runs_on
from stowplan.plan.device_layer import Host, choose_layer, host_of
from stowplan.plan.model import Plan
from stowplan.profiles.device_layer import DeviceLayerSpec, PodCounts
from stowplan.profiles.site import Network, SiteSpec
from stowplan.render.artifact import Artifact
from stowplan.render.device_layer import group_artifacts, layer_artifacts, server_artifacts
from stowplan.render.pairing import full_document, render_pairing
from stowplan.render.site import site_artifacts

CATALOG = Catalog([resources.folder("profiles")])
LAYERS: Mapping[str, DeviceLayerSpec] = CATALOG.device_layers
SERVED = [(name, server) for name, spec in LAYERS.items() for server in spec.servers]
DEPLOYED = [name for name, spec in LAYERS.items() if not spec.managed]
REASONS = {"hostNetwork": "host-network", "hostPID": "host-pid", "hostIPC": "host-ipc"}
WRITTEN_BY_PLUGIN = {"node.kubernetes.io/npu.chip.name"}
"""Selecting labels that the layer's own plugin writes, and another layer's does not."""
HAMI_SERVERS = ("atlas-800i-a3", "atlas-800i-a2-910b3")


def site_of(layer: str) -> str:
    return "mlu-example" if layer.startswith("cambricon") else "default"


def cluster(layer: str, **site: Any) -> list[Artifact]:
    named: SiteSpec = CATALOG.sites[site_of(layer)]
    private = {name: f"registry.example.com/{name}:1.0" for name, c in LAYERS[layer].components.items() if not c.image}
    chosen = named.model_copy(update={"images": {**private, **named.images}, **site})
    return list(layer_artifacts(layer, LAYERS[layer], chosen))


COMPLETE = {"super_pod_hosts": 48, "network": Network(interface="eth0")}
"""What some servers need of their site."""


def held(layer: str, server: str, **site: Any) -> Host:
    """One kind of hosts, whatever could be served on them, at a site that says all that is asked."""
    pairing = resolved(CATALOG, "deepseek-v4-flash", server, deviceLayer=layer, site=site_of(layer))
    complete = pairing.site.model_copy(update={**COMPLETE, **site})
    chosen = choose_layer(CATALOG, complete, server, layer)
    made = host_of(Plan(replace(pairing, site=complete), "undocumented", None, chosen, (), (), ()))
    assert made is not None
    return made


def host(layer: str, server: str, **site: Any) -> list[Artifact]:
    """Labels and preflight of one server, and the preflight of two hosts together."""
    one = held(layer, server, **site)
    return [*server_artifacts(one), *group_artifacts(one, 2)]


def objects(artifacts: list[Artifact]) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(o)) for artifact in artifacts for o in artifact.objects]


def findings(artifacts: list[Artifact], minor: str, plan: Mapping[str, Any] | None = None) -> list[Diagnostic]:
    documents = [
        document
        for artifact in artifacts
        if artifact.objects
        for document in read_bytes(artifact.text.encode(), artifact.path, scalar=kubernetes_scalar)
    ]
    return check_bundle(documents, minor, plan, CATALOG)


def key_of(data: Mapping[str, Any]) -> tuple[str, str, str]:
    return data["kind"], data["metadata"].get("namespace", ""), data["metadata"]["name"]


def pods(data: Any) -> Iterator[dict[str, Any]]:
    """Pod templates anywhere in an object."""
    if isinstance(data, Mapping):
        if isinstance(data.get("spec"), Mapping) and "containers" in data["spec"]:
            yield dict(data)
            return
        for value in data.values():
            yield from pods(value)
    elif isinstance(data, list):
        for value in data:
            yield from pods(value)


def extended(container: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    asked = container.get("resources", {})
    return tuple({k: v for k, v in asked.get(side, {}).items() if "/" in k} for side in ("requests", "limits"))  # type: ignore[return-value]


@pytest.mark.parametrize(("layer", "server"), SERVED)
def test_every_layer_has_no_error_for_any_server_on_the_oldest_and_the_newest_minor(layer: str, server: str) -> None:
    site = site_of(layer)
    minors = [minor for minor in MINORS if runs_on(LAYERS[layer], minor)]
    assert len(minors) >= 4
    for minor in (minors[0], minors[-1]):
        own = [*cluster(layer, kubernetes=minor), *host(layer, server, kubernetes=minor)]
        made = [*own, *site_artifacts(site, CATALOG.sites[site])]
        found = findings(made, minor)
        assert [d for d in found if d.severity == "error"] == []
        assert [d for d in found if d.severity == "unchecked"] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_a_managed_platform_gets_no_object_and_every_other_layer_does(layer: str) -> None:
    assert bool(objects(cluster(layer))) != LAYERS[layer].managed


@pytest.mark.parametrize("layer", LAYERS)
def test_servers_of_one_layer_share_its_cluster_objects(layer: str) -> None:
    keys = [key_of(o) for o in objects(cluster(layer))]
    for server in LAYERS[layer].servers:
        keys += [key_of(o) for o in objects(host(layer, server))]
    assert len(keys) == len({*keys})


@pytest.mark.parametrize("layer", DEPLOYED)
def test_privileges_state_their_reasons(layer: str) -> None:
    made = [*cluster(layer), *(a for server in LAYERS[layer].servers for a in host(layer, server))]
    for template in (t for o in objects(made) for t in pods(o)):
        stated = {k.partition("reason-")[2] for k in template["metadata"].get("annotations", {}) if "/reason-" in k}
        spec = template["spec"]
        wanted = {reason for field, reason in REASONS.items() if spec.get(field)}
        if any("hostPath" in volume for volume in spec.get("volumes", ())):
            wanted.add("host-path")
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            if container.get("securityContext", {}).get("privileged"):
                wanted.add("privileged")
            if container.get("securityContext", {}).get("runAsUser") == 0:
                wanted.add("root")
        assert wanted <= stated, template["metadata"]


@pytest.mark.parametrize("layer", DEPLOYED)
def test_each_namespace_of_a_layer_says_its_pod_security_level(layer: str) -> None:
    made = objects(cluster(layer))
    named = {o["metadata"]["name"]: o["metadata"]["labels"] for o in made if o["kind"] == "Namespace"}
    used = {o["metadata"]["namespace"] for o in made if "namespace" in o["metadata"]} - {"kube-system"}
    assert used <= {*named}
    for name, labels in named.items():
        level = labels["pod-security.kubernetes.io/enforce"]
        held = [t for o in made if o["metadata"].get("namespace") == name for t in pods(o)]
        strict = [t for t in held if not needs_more_than_restricted(t)]
        assert level == "privileged" or strict == held


def needs_more_than_restricted(template: Mapping[str, Any]) -> bool:
    return needed_level(template["spec"])[0] != "restricted"


@pytest.mark.parametrize("layer", DEPLOYED)
def test_images_are_pinned_and_pulled(layer: str) -> None:
    for container in (c for o in objects(cluster(layer)) for t in pods(o) for c in t["spec"]["containers"]):
        assert re.search(r":[^/]*\d[^/]*$", container["image"]), container["image"]
        assert container["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("layer", DEPLOYED)
def test_mirror_pull_secret_and_kubelet_root_reach_every_object(layer: str) -> None:
    mirrors = dict.fromkeys(
        ("docker.io", "nvcr.io", "registry.k8s.io", "swr.cn-south-1.myhuaweicloud.com"), "mirror.example"
    )
    mirrors["registry.example.com"] = "mirror.example"
    text = json.dumps(objects(cluster(layer, registry_mirrors=mirrors, pull_secrets=("hub",), kubelet_root="/data/k")))
    assert not any(registry in text for registry in mirrors)
    assert "/data/k" in text
    assert '"hub"' in text
    assert '"path": "/var/lib/kubelet' not in text


@pytest.mark.parametrize("layer", DEPLOYED)
def test_without_monitoring_no_kind_of_the_prometheus_operator(layer: str) -> None:
    made = objects(cluster(layer, monitoring=False))
    assert not [o for o in made if o["apiVersion"].startswith("monitoring.coreos.com")]


def test_two_layers_for_one_server_own_one_device() -> None:
    for (one, first), (other, second) in itertools.combinations(LAYERS.items(), 2):
        both = {*first.servers} & {*second.servers}
        assert not both or {*first.owns} & {*second.owns}, f"{one} and {other} both serve {sorted(both)}"


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_owns_what_it_advertises(layer: str) -> None:
    assert {server.resource for server in LAYERS[layer].servers.values()} <= {*LAYERS[layer].owns}


def test_one_layer_of_a_server_goes_before_the_others() -> None:
    for server in CATALOG.servers:
        serving = {n: s for n, s in LAYERS.items() if server in s.servers and not (s.managed or s.experimental)}
        priorities = sorted((spec.priority_for(server) for spec in serving.values()), reverse=True)
        assert len({*priorities[:2]}) == len(priorities[:2]), f"{server}: {sorted(serving)} have one priority"


def test_plugins_of_two_layers_never_meet_on_one_host() -> None:
    for name in DEPLOYED:
        for made in (o for o in objects(cluster(name)) if o["kind"] == "DaemonSet"):
            selected = made["spec"]["template"]["spec"]["nodeSelector"]
            assert selected["stowplan.dev/device-layer"] == name, key_of(made)
        for server in LAYERS[name].servers.values():
            assert server.node_labels["stowplan.dev/device-layer"] == name


def asked(artifacts: list[Artifact]) -> Iterator[dict[str, int]]:
    """Devices that containers ask for, by amount or by claim, as the objects beside them say."""
    made = objects(artifacts)
    claims = {o["metadata"]["name"]: o["spec"]["spec"] for o in made if o["kind"] == "ResourceClaimTemplate"}
    for template in (t for o in made for t in pods(o)):
        listed = {c["name"]: c["resourceClaimTemplateName"] for c in template["spec"].get("resourceClaims", ())}
        for container in template["spec"]["containers"]:
            requests, limits = extended(container)
            assert requests == limits
            found = {name: int(amount) for name, amount in limits.items()}
            for used in container.get("resources", {}).get("claims", ()):
                for request in claims.get(listed[used["name"]], {"devices": {"requests": []}})["devices"]["requests"]:
                    found[request["exactly"]["deviceClassName"]] = request["exactly"]["count"]
            if found:
                yield found


def test_pairings_ask_for_exactly_what_their_layer_advertises(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        assert plan.layer is not None
        assert plan.chosen is not None
        if plan.pairing.platform.kind:
            continue  # an operator makes the pods; M313 holds what it is told
        server = plan.layer.server
        requests = list(asked(render_pairing(plan)))
        assert requests
        allowed = (
            server.pod_counts.single if plan.chosen.roles[0].placement.nodes == 1 else server.pod_counts.distributed
        )
        for made in requests:
            assert set(made) - {plan.pairing.site.network.rdma_resource} == {server.resource}
            assert int(made[server.resource]) in (allowed or server.pod_counts.single)
        tested = [*asked(host(plan.layer.name, plan.pairing.spec.server))]
        assert [set(o) for o in tested] == [{server.resource}] * 2


@pytest.mark.parametrize(("found", "instead"), [("name", "huawei.com/Ascend910C"), ("count", "3")])
def test_a_pod_that_asks_for_something_else_is_found(found: str, instead: str, plans: dict[str, Plan]) -> None:
    plan = plans["v4-flash.atlas-800i-a3.chat"]
    assert plan.layer is not None
    resource, document = plan.layer.server.resource, full_document(plan)
    made = render_pairing(plan)
    assert [d for d in findings(made, "1.34", document) if d.severity == "error"] == []
    count = document["roles"][0]["deployment"]["resources"]["devices"]
    line = f"{resource}: '{count}'"
    assert any(line in artifact.text for artifact in made)
    wanted = f"{instead}: '{count}'" if found == "name" else f"{resource}: '{instead}'"
    broken = [Artifact(a.path, a.text.replace(line, wanted), a.objects) for a in made]
    assert [d for d in findings(broken, "1.34", document) if d.severity == "error"]


@pytest.mark.parametrize("layer", ["ascend-mindcluster", "ascend-hami"])
def test_an_odd_number_of_dies_is_never_planned(layer: str) -> None:
    counts = LAYERS[layer].servers["atlas-800i-a3"].pod_counts
    assert not [n for n in (*counts.single, *counts.distributed) if n % 2 and n > 1]
    odd = planned(
        CATALOG, "deepseek-v4-flash", "atlas-800i-a3", deviceLayer=layer, layout={"server": {"tp": 1, "dp": 3, "ep": 3}}
    )
    assert odd.chosen is None
    assert f"3 devices in one pod are not allowed by {layer}" in next(
        r.message for r in odd.reasons if r.code == "F011"
    )


def test_a_layer_that_does_not_serve_the_server_is_refused() -> None:
    with pytest.raises(Refused, match="does not serve"):
        planned(CATALOG, "deepseek-v4-flash", "atlas-350-4p-8", deviceLayer="ascend-hami")


@pytest.mark.parametrize("server", HAMI_SERVERS)
def test_another_layer_changes_names_scheduler_annotations_and_runtime_class_alone(server: str) -> None:
    vendor, hami = (
        planned(CATALOG, "deepseek-v4-flash", server, deviceLayer=layer)
        for layer in ("ascend-mindcluster", "ascend-hami")
    )
    tested = f"is newer than {LAYERS['ascend-mindcluster'].components['ascend-device-plugin'].kubernetes_tested_max}"
    one, other = full_document(vendor), full_document(hami)
    one["assumptions"] = [a for a in one["assumptions"] if tested not in a]
    changed = {path for path, value in flat(one) ^ flat(other)}
    assert changed == {
        *(path for path in changed if path.startswith("deviceLayer.privileges.")),
        "deviceLayer.name",
        "deviceLayer.version",
        "deviceLayer.resourceName",
        "roles.0.deployment.resources.name",
    }
    before, after = ([t for o in objects(render_pairing(p)) for t in pods(o)] for p in (vendor, hami))
    served = [t for t in after if any(c["name"] == "engine" for c in t["spec"]["containers"])]
    assert len(before) == len(after)
    assert served
    for template in served:
        spec, metadata = template["spec"], template["metadata"]
        assert spec["schedulerName"] == "hami-scheduler"
        assert spec["runtimeClassName"] == "ascend"
        assert "ring-controller.atlas" not in metadata["labels"]
        assert not [k for k in metadata.get("annotations", {}) if k.startswith("huawei.com/")]
        engine = next(c for c in spec["containers"] if c["name"] == "engine")
        assert "ASCEND_VISIBLE_DEVICES" not in {e["name"] for e in engine["env"]}
    for old, new in zip(before, after, strict=True):
        assert plain(old) == plain(new)


def flat(data: Any, path: str = "") -> set[tuple[str, str]]:
    if isinstance(data, Mapping):
        return {pair for key, value in data.items() for pair in flat(value, f"{path}.{key}".lstrip("."))}
    if isinstance(data, list):
        return {pair for index, value in enumerate(data) for pair in flat(value, f"{path}.{index}")}
    return {(path, json.dumps(data))}


def plain(template: Mapping[str, Any]) -> dict[str, Any]:
    """A pod template without what belongs to the device layer."""
    spec = {k: v for k, v in template["spec"].items() if k not in ("schedulerName", "runtimeClassName")}
    spec["nodeSelector"] = {k: v for k, v in spec.get("nodeSelector", {}).items() if k not in WRITTEN_BY_PLUGIN}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        container["env"] = [e for e in container.get("env", ()) if e["name"] != "ASCEND_VISIBLE_DEVICES"]
        container["resources"] = {
            side: sorted((("device" if "/" in k else k), v) for k, v in values.items())
            for side, values in container.get("resources", {}).items()
        }
    metadata = template["metadata"]
    notes = {k: v for k, v in metadata.get("annotations", {}).items() if not k.startswith("huawei.com/")}
    labels = {k: v for k, v in metadata["labels"].items() if k != "ring-controller.atlas"}
    return {"labels": labels, "annotations": notes, "spec": spec}


@pytest.mark.parametrize(
    ("layer", "server"), [("ascend-hami", "atlas-800i-a3"), ("cambricon-device-plugin", "cambricon-x8-mlu590")]
)
def test_a_name_that_the_plugin_would_not_advertise_is_refused(layer: str, server: str) -> None:
    spec = LAYERS[layer]
    renamed = spec.servers[server].model_copy(update={"resource": "example.com/other"})
    wrong = spec.model_copy(update={"servers": {**spec.servers, server: renamed}})
    with pytest.raises(Refused, match=r"example\.com/other") as refused:
        list(layer_artifacts(layer, wrong, CATALOG.sites[site_of(layer)]))
    assert [d.code for d in refused.value.report] == ["C020"]


def volcano(**site: Any) -> dict[str, Any]:
    made = objects(cluster("ascend-mindcluster", **site))
    text = next(o for o in made if o["metadata"]["name"] == "volcano-scheduler-configmap")["data"]
    configured: dict[str, Any] = json.loads(text["volcano-scheduler.conf"])
    return configured


def test_volcano_gets_the_hosts_of_the_site_s_super_pod() -> None:
    assert volcano()["configurations"][0]["arguments"]["super-pod-size"] == "48"
    assert volcano(super_pod_hosts=24)["configurations"][0]["arguments"]["super-pod-size"] == "24"


@pytest.mark.parametrize("server", ["cloudmatrix-384", "atlas-950-superpod"])
def test_a_super_pod_s_size_must_be_said(server: str) -> None:
    with pytest.raises(Refused, match="must give superPodHosts") as refused:
        host("ascend-mindcluster", server, super_pod_hosts=None)
    assert [d.code for d in refused.value.report] == ["P030"]


def test_volcano_names_the_plugin_of_the_scheduler_s_host() -> None:
    names = [plugin["name"] for tier in volcano()["tiers"] for plugin in tier["plugins"]]
    assert "volcano-npu_v26.1.0_linux-aarch64" in names
    spec = LAYERS["ascend-mindcluster"]
    names = [plugin["name"] for tier in volcano(scheduler_architecture="amd64")["tiers"] for plugin in tier["plugins"]]
    assert "volcano-npu_v26.1.0_linux-x86_64" in names
    other = spec.model_copy(update={"parameters": {**spec.parameters, "schedulerArchitecture": "riscv64"}})
    with pytest.raises(Refused, match="riscv64"):
        list(layer_artifacts("ascend-mindcluster", other, CATALOG.sites["default"]))


def test_every_role_has_an_account_and_the_rules_of_its_profile() -> None:
    for name in DEPLOYED:
        made = objects(cluster(name))
        accounts = {key_of(o)[1:] for o in made if o["kind"] == "ServiceAccount"}
        rules = {key_of(o): o["rules"] for o in made if o["kind"] in ("ClusterRole", "Role")}
        for binding in (o for o in made if o["kind"] in ("ClusterRoleBinding", "RoleBinding")):
            assert (binding["roleRef"]["kind"], key_of(binding)[1], binding["roleRef"]["name"]) in rules
            assert {(s["namespace"], s["name"]) for s in binding["subjects"]} <= accounts
        given = [r for c in LAYERS[name].components.values() for r in (*c.rbac, *c.own_rbac)]
        assert sum(len(r) for r in rules.values()) == len(given)
        assert not [r for r in given if "*" in (*r.api_groups, *r.resources, *r.verbs)]


def test_counts_are_whole_devices_of_the_host() -> None:
    for name, server in SERVED:
        counts: PodCounts = LAYERS[name].servers[server].pod_counts
        most = CATALOG.servers[server].devices.value
        assert most is None or max((*counts.single, *counts.distributed)) <= most
        assert min((*counts.single, *counts.distributed)) >= 1
