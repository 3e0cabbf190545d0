"""Devices by claims: pods of a group share what joins their hosts, checks see each thing that is wrong, one owner per device."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Files, Run, pairing_text, planned
from test_device_layers import CATALOG, LAYERS, cluster, findings, flat, held, objects, pods

from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic, Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar
from stowplan.plan.claims import api_version, runs_on
from stowplan.plan.model import Plan
from stowplan.render.artifact import Artifact
from stowplan.render.owners import refuse_two_owners
from stowplan.render.pairing import full_document, render_pairing

TRAYS = "v4-pro.gb200-nvl72-tray.chat"


@pytest.fixture(scope="module")
def trays(plans: dict[str, Plan]) -> Plan:
    return plans[TRAYS]


def of_kind(artifacts: list[Artifact], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects(artifacts) if o["kind"] == kind]


def errors(found: list[Diagnostic]) -> list[str]:
    return [d.code for d in found if d.severity == "error"]


def test_all_pods_of_a_group_claim_their_devices_and_one_domain(trays: Plan) -> None:
    made, document = render_pairing(trays), full_document(trays)
    (domain,) = of_kind(made, "ComputeDomain")
    (template,) = of_kind(made, "ResourceClaimTemplate")
    (group,) = of_kind(made, "LeaderWorkerSet")
    resources = document["roles"][0]["deployment"]["resources"]
    assert document["roles"][0]["nodes"] == group["spec"]["leaderWorkerTemplate"]["size"] == 2
    request = template["spec"]["spec"]["devices"]["requests"][0]["exactly"]
    assert (
        (request["deviceClassName"], request["count"])
        == ("gpu.nvidia.com", resources["devices"])
        == ("gpu.nvidia.com", 4)
    )
    channel = domain["spec"]["channel"]["resourceClaimTemplate"]["name"]
    assert domain["spec"]["numNodes"] == 0
    templates = [*pods(group)]
    assert len(templates) == 2
    for pod in templates:
        named = {c["name"]: c["resourceClaimTemplateName"] for c in pod["spec"]["resourceClaims"]}
        assert named == {"devices": template["metadata"]["name"], "channel": channel}
        (engine,) = pod["spec"]["containers"]
        assert {c["name"] for c in engine["resources"]["claims"]} == {*named}
        assert not [k for side in ("requests", "limits") for k in engine["resources"][side] if "/" in k]
        (term,) = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "nvidia.com/gpu.clique"
        assert term["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert term["matchLabelKeys"] == ["leaderworkerset.sigs.k8s.io/group-index"]


def test_the_layer_publishes_every_class_that_its_pods_claim() -> None:
    for name, layer in LAYERS.items():
        if layer.workload.claims is not None:
            classes = {o["metadata"]["name"]: o["apiVersion"] for o in of_kind(cluster(name), "DeviceClass")}
            wanted = {s.resource for s in layer.servers.values()} | {
                s.group.device_class for s in layer.servers.values() if s.group
            }
            assert wanted <= {*classes}
            assert {*classes.values()} == {api_version(layer, "1.37")}


def test_one_host_needs_no_domain() -> None:
    plan = planned(CATALOG, "deepseek-v4-flash", "gb200-nvl72-tray")
    made = render_pairing(plan)
    assert plan.layer is not None
    assert plan.layer.name == "nvidia-dra"
    assert of_kind(made, "ComputeDomain") == []
    (pod,) = (t for o in of_kind(made, "Deployment") for t in pods(o))
    assert [c["name"] for c in pod["spec"]["resourceClaims"]] == ["devices"]
    assert "affinity" not in pod["spec"]


def test_a_layer_of_one_host_refuses_a_group() -> None:
    plan = planned(CATALOG, "deepseek-v4-pro", "gb200-nvl72-tray", deviceLayer="nvidia-device-plugin", nodes=2)
    assert plan.verdict == "infeasible"
    assert "F012" in {reason.code for reason in plan.reasons}


def test_another_layer_changes_how_devices_are_asked_for_and_nothing_else() -> None:
    plugin, driver = (
        full_document(planned(CATALOG, "deepseek-v4-flash", "hgx-h200", deviceLayer=layer))
        for layer in ("nvidia-device-plugin", "nvidia-dra")
    )
    changed = {path for path, _ in flat(plugin) ^ flat(driver)}
    asking = {path for path in changed if re.match(r"deviceLayer\.|roles\.0\.deployment\.(resources|security)\.", path)}
    assert changed == asking
    assert "roles.0.deployment.resources.claim.template" in changed
    assert "roles.0.deployment.resources.devices" not in changed


@pytest.mark.parametrize(
    ("layer", "minor", "api"),
    [
        ("nvidia-dra", "1.33", "resource.k8s.io/v1beta2"),
        ("nvidia-dra", "1.34", "resource.k8s.io/v1"),
        ("nvidia-dra", "1.37", "resource.k8s.io/v1"),
        ("ascend-dra", "1.34", "resource.k8s.io/v1"),
        ("nvidia-device-plugin", "1.37", ""),
    ],
)
def test_the_site_s_minor_decides_the_api(layer: str, minor: str, api: str) -> None:
    assert api_version(LAYERS[layer], minor) == api
    made = objects(cluster(layer, kubernetes=minor))
    assert {o["apiVersion"] for o in made if o["kind"] == "DeviceClass"} == ({api} if api else set())


def test_a_layer_without_an_api_in_that_minor_is_refused(run: Run, write_files: Files) -> None:
    assert not runs_on(LAYERS["ascend-dra"], "1.33")
    old = "apiVersion: stowplan/v1\nkind: Site\nmetadata: {name: old}\nspec: {title: old, kubernetes: '1.33'}\n"
    wanted = {"variant": "deepseek-v4-flash", "server": "atlas-800i-a3", "useCase": "chat", "site": "old"}
    folder = write_files({"profiles/sites/old.yaml": old, "p.yaml": pairing_text(**wanted, deviceLayer="ascend-dra")})
    ended = run("plan", folder / "p.yaml", "--profiles", folder / "profiles")
    assert ended.code == 1
    assert "P026" in ended.err
    assert "it needs 1.34 or newer" in ended.err


def test_an_experimental_layer_is_chosen_by_name_only() -> None:
    for server in LAYERS["ascend-dra"].servers:
        plan = planned(CATALOG, "deepseek-v4-flash", server)
        assert plan.layer is None or plan.layer.name != "ascend-dra"
    named = planned(CATALOG, "deepseek-v4-flash", "atlas-800i-a3", deviceLayer="ascend-dra")
    (template,) = of_kind(render_pairing(named), "ResourceClaimTemplate")
    request = template["spec"]["spec"]["devices"]["requests"][0]["exactly"]
    assert (request["deviceClassName"], request["count"]) == ("npu.huawei.com", 16)


BROKEN: Mapping[str, tuple[str, str, str]] = {
    "class": ("M308", "deviceClassName: gpu.nvidia.com", "deviceClassName: mig.nvidia.com"),
    "more": ("M308", "count: 4", "count: 8"),
    "fewer": ("M308", "count: 4", "count: 2"),
    "all": ("M308", "allocationMode: ExactCount\n          count: 4", "allocationMode: All"),
    "container": ("M308", "            claims:\n            - name: devices\n", "            claims:\n"),
    "another template": ("M308", "resourceClaimTemplateName: {name}-devices-4", "resourceClaimTemplateName: other"),
    "template": ("M308", "name: {name}-devices-4\n  namespace", "name: other\n  namespace"),
    "channel": ("M309", "            - name: channel\n          volumeMounts", "          volumeMounts"),
    "domain": ("M309", "      name: {name}-channel\n", "      name: other\n"),
    "size": ("D106", "numNodes: 0", "numNodes: 3"),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_claim_that_is_not_the_plan_s_is_found(wrong: str, trays: Plan) -> None:
    code, text, instead = BROKEN[wrong]
    made, document = render_pairing(trays), full_document(trays)
    assert errors(findings(made, "1.37", document)) == []
    text = text.replace("{name}", document["roles"][0]["deployment"]["name"])
    texts = [a.text.replace(text, instead) if a.objects else a.text for a in made]
    assert texts != [a.text for a in made]
    broken = [Artifact(a.path, changed, a.objects) for a, changed in zip(made, texts, strict=True)]
    assert code in errors(findings(broken, "1.37", document))


def test_an_amount_in_place_of_the_claim_is_found(trays: Plan) -> None:
    made, document = render_pairing(trays), full_document(trays)
    claims = "            claims:\n            - name: devices\n            - name: channel\n"
    broken = [Artifact(a.path, a.text.replace(claims, ""), a.objects) for a in made]
    amount = re.compile(r"(limits:\n( +)memory: \S+\n)")
    broken = [replace(a, text=amount.sub(r"\1\2nvidia.com/gpu: '4'\n", a.text)) for a in broken]
    assert {"M308", "M309"} <= {*errors(findings(broken, "1.37", document))}


def test_ranks_are_held_against_claimed_devices() -> None:
    vllm = planned(CATALOG, "deepseek-v4-pro-0813", "gb200-nvl72-tray", engine="vllm", site="gb200-example")
    made, document = render_pairing(vllm), full_document(vllm)
    assert errors(findings(made, "1.37", document)) == []
    broken = [Artifact(a.path, a.text.replace("count: 4", "count: 3"), a.objects) for a in made]
    assert {"M304", "M308"} <= {*errors(findings(broken, "1.37", document))}


def check(text: str, minor: str = "1.37") -> list[Diagnostic]:
    return check_bundle(read_bytes(text.encode(), "x.yaml", scalar=kubernetes_scalar), minor, None, CATALOG)


TEMPLATE = """\
apiVersion: {api}
kind: ResourceClaimTemplate
metadata: {{name: gpus}}
spec: {{spec: {{devices: {{requests: [{request}]}}}}}}
"""
EXACTLY = "{name: gpus, exactly: {deviceClassName: gpu.nvidia.com, count: 4}}"
FLAT = "{name: gpus, deviceClassName: gpu.nvidia.com, count: 4}"


@pytest.mark.parametrize(
    ("minor", "api", "request_", "codes"),
    [
        ("1.37", "v1", EXACTLY, set()),
        ("1.33", "v1beta2", EXACTLY, set()),
        ("1.33", "v1beta1", FLAT, set()),
        ("1.33", "v1", EXACTLY, {"M002"}),
        ("1.37", "v1alpha3", FLAT, {"M002"}),
        ("1.37", "v1", FLAT, {"M004", "M188"}),
        ("1.33", "v1beta1", EXACTLY, {"M004", "M188"}),
        ("1.34", "v1", EXACTLY.replace("count", "number"), {"M004"}),
    ],
)
def test_claims_are_held_against_the_api_of_the_minor(minor: str, api: str, request_: str, codes: set[str]) -> None:
    text = TEMPLATE.format(api=f"resource.k8s.io/{api}", request=request_)
    assert {*errors(check(text, minor))} == codes


DAEMON = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: {name}, namespace: kube-system}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      {hosts}
      containers:
        - {{name: c, image: "{image}", command: ["{program}"]}}
      volumes: [{{name: kubelet, hostPath: {{path: /var/lib/kubelet/{folder}}}}}]
---
"""


def daemon(name: str, image: str, program: str = "x", folder: str = "device-plugins", hosts: str = "{}") -> str:
    text = DAEMON.format(name=name, image=image, program=program, folder=folder, hosts=hosts)
    return text.replace("      {}\n", "")


PLUGIN = daemon("plugin", "nvcr.io/nvidia/k8s-device-plugin:v0.20.0")
DRIVER = daemon(
    "driver",
    "mirror.example:5000/dra-driver-nvidia/dra-driver-nvidia-gpu@sha256:0",
    "gpu-kubelet-plugin -v 4",
    "plugins_registry",
)
DOMAINS = daemon(
    "driver",
    "registry.k8s.io/dra-driver-nvidia/dra-driver-nvidia-gpu:v0.4.1",
    "compute-domain-kubelet-plugin",
    "plugins_registry",
)
HAMI = daemon("hami", "projecthami/hami:v2.10.0", "nvidia-device-plugin")
FEATURES = daemon("gfd", "nvcr.io/nvidia/k8s-device-plugin:v0.20.0", "gpu-feature-discovery", "pod-resources")
POLICY = (
    "apiVersion: nvidia.com/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec: {devicePlugin: {enabled: %s}}\n---\n"
)
MINDCLUSTER = daemon("ascend", "ascend-k8sdeviceplugin:v3.0.0")
ASCEND_HAMI = daemon("ascend-hami", "projecthami/ascend-device-plugin:v1.4.0")
ASCEND_DRA = daemon("ascend-dra", "ascend-dra:v0.1.0", "exec ascend-dra", "plugins_registry")


def on(text: str, hosts: str) -> str:
    return text.replace("    spec:\n", f"    spec:\n      {hosts}\n")


A, B = "nodeSelector: {pool: a}", "nodeSelector: {pool: b}"
IN = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: %s}]}]}}}"


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        (PLUGIN + DRIVER, ["NVIDIA's DRA driver", "NVIDIA's device plugin"]),
        (PLUGIN + HAMI, ["HAMi's device plugin for NVIDIA", "NVIDIA's device plugin"]),
        (HAMI + DRIVER, ["HAMi's device plugin for NVIDIA", "NVIDIA's DRA driver"]),
        (POLICY % "true" + DRIVER, ["NVIDIA's DRA driver", "NVIDIA's GPU operator"]),
        (on(PLUGIN, A) + DRIVER, ["NVIDIA's DRA driver", "NVIDIA's device plugin"]),
        (on(PLUGIN, A) + on(DRIVER, IN % "In, values: [a, b]"), ["NVIDIA's DRA driver", "NVIDIA's device plugin"]),
        (on(PLUGIN, A) + on(DRIVER, IN % "Exists"), ["NVIDIA's DRA driver", "NVIDIA's device plugin"]),
        (MINDCLUSTER + ASCEND_HAMI, ["HAMi's device plugin for Ascend", "MindCluster's device plugin"]),
        (MINDCLUSTER + ASCEND_DRA, ["Huawei's DRA driver for Ascend", "MindCluster's device plugin"]),
    ],
)
def test_two_owners_of_one_device_on_one_host_are_named(text: str, titles: list[str]) -> None:
    (found,) = (d for d in check(text) if d.code == "D105")
    assert all(title in found.message for title in titles)
    assert found.severity == "error"


@pytest.mark.parametrize(
    "text",
    [
        PLUGIN,
        PLUGIN + DOMAINS,
        PLUGIN + FEATURES,
        PLUGIN + MINDCLUSTER,
        POLICY % "false" + DRIVER,
        on(PLUGIN, A) + on(DRIVER, B),
        on(PLUGIN, A) + on(DRIVER, IN % "NotIn, values: [a]"),
        on(PLUGIN, A) + on(DRIVER, IN % "DoesNotExist"),
    ],
)
def test_owners_of_other_devices_or_other_hosts_are_left_alone(text: str) -> None:
    assert [d for d in check(text) if d.code == "D105"] == []


def test_the_layers_own_folders_have_no_two_owners_together() -> None:
    """All layers in one cluster: their hosts are told apart by label, but for the one that takes every host."""
    apart = [name for name, spec in LAYERS.items() if not spec.every_host]
    made = [artifact for name in apart for artifact in cluster(name)]
    assert [d.message for d in findings(made, "1.37") if d.code == "D105"] == []
    every = [*made, *cluster("nvidia-gpu-operator")]
    assert [d.message for d in findings(every, "1.37") if d.code == "D105"] != []


def two(server: str, other: str, *layers: str) -> list[Plan]:
    return [
        planned(CATALOG, "deepseek-v4-flash", where, deviceLayer=layer)
        for where, layer in zip((server, other), layers, strict=True)
    ]


@pytest.mark.parametrize(
    ("server", "other", "layers"),
    [
        ("hgx-h200", "hgx-h200", ("nvidia-device-plugin", "nvidia-dra")),
        ("hgx-h200", "hgx-h200", ("nvidia-dra", "nvidia-gpu-operator")),
        ("hgx-h200", "hgx-b200", ("nvidia-gpu-operator", "nvidia-device-plugin")),
        ("atlas-800i-a3", "atlas-800i-a3", ("ascend-mindcluster", "ascend-hami")),
        ("atlas-800i-a3", "atlas-800i-a3", ("ascend-dra", "ascend-mindcluster")),
    ],
)
def test_two_layers_for_one_pool_are_refused_by_name(server: str, other: str, layers: tuple[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        refuse_two_owners(two(server, other, *layers))
    (found,) = refused.value.report
    assert found.code == "P033"
    assert all(layer in found.message for layer in layers)


def test_a_server_that_the_site_lists_under_another_layer_is_refused_too() -> None:
    pairing = planned(CATALOG, "deepseek-v4-flash", "atlas-800i-a3", deviceLayer="ascend-mindcluster")
    with pytest.raises(Refused, match=r"ascend-hami.*ascend-mindcluster"):
        refuse_two_owners([pairing], [held("ascend-hami", "atlas-800i-a3")])
    with pytest.raises(Refused, match="serves every host"):
        refuse_two_owners([], [held("nvidia-gpu-operator", "hgx-h200"), held("nvidia-device-plugin", "hgx-b200")])
    others = [held("ascend-mindcluster", "atlas-800i-a3"), held("ascend-hami", "atlas-800i-a2-910b3")]
    refuse_two_owners([pairing], others)


@pytest.mark.parametrize(
    ("server", "other", "layers"),
    [
        ("hgx-h200", "hgx-b200", ("nvidia-device-plugin", "nvidia-dra")),
        ("hgx-h200", "hgx-h200", ("nvidia-dra", "nvidia-dra")),
        ("hgx-h200", "mi355x-8x", ("nvidia-gpu-operator", "amd-device-plugin")),
    ],
)
def test_layers_of_other_hosts_or_devices_may_meet(server: str, other: str, layers: tuple[str, str]) -> None:
    refuse_two_owners(two(server, other, *layers))


def test_render_refuses_two_owners_and_writes_nothing(run: Run, write_files: Files) -> None:
    wanted: Callable[..., str] = lambda name, layer: pairing_text(  # noqa: E731 - two files that differ in two words
        name, variant="deepseek-v4-flash", server="hgx-h200", useCase="chat", deviceLayer=layer
    )
    folder: Path = write_files({"a.yaml": wanted("a", "nvidia-device-plugin"), "b.yaml": wanted("b", "nvidia-dra")})
    ended = run("render", folder / "a.yaml", folder / "b.yaml", "--out", folder / "out")
    assert ended.code == 1
    assert "P033" in ended.err
    assert not (folder / "out").exists()
