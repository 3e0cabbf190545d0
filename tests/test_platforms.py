"""Plans on platforms: what gateways and operators are told, and what they cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from conftest import planned, resolved

from stowplan.canonical_yaml import dump
from stowplan.catalog import Catalog
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar
from stowplan.plan.model import Plan
from stowplan.plan.planner import plan as make_plan
from stowplan.profiles.site import Gateway, Network, Picker
from stowplan.render.pairing import full_document, render_pairing

CRDS = Path(__file__).parent.parent.parent / "shared" / "crds"
GATEWAY = Gateway(name="edge", namespace="edge-system")
SHIPPED = ("v4-flash.hgx-h200.chat.gateway", "v4-pro-0813.hgx-b200.chat.kserve", "v4-flash.hgx-b200.chat.dynamo")


def at_site(catalog: Catalog, variant: str, server: str, site: Mapping[str, Any], **pins: Any) -> Plan:
    """A plan at the default site with other values."""
    pairing = resolved(catalog, variant, server, **pins)
    return make_plan(replace(pairing, site=pairing.site.model_copy(update=dict(site))))


def the(plan: Plan, kind: str) -> Mapping[str, Any]:
    (found,) = (o for artifact in render_pairing(plan) for o in artifact.objects if o["kind"] == kind)
    return found


def refusals(plan: Plan) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        render_pairing(plan)
    return [(finding.code, finding.message) for finding in refused.value.report.diagnostics]


def test_a_route_waits_for_the_longest_request(plans: dict[str, Plan]) -> None:
    plan = plans["v4-flash.hgx-h200.chat.gateway"]
    assert plan.chosen
    assert plan.chosen.estimate
    bands, use_case = plan.chosen.estimate, plan.pairing.use_case
    slow = bands.ttft_ms[2] * use_case.input_tokens.p99 / use_case.input_tokens.p50
    longest = (slow + use_case.output_tokens.p99 * bands.tpot_ms[2]) / 1e3
    timeouts = the(plan, "HTTPRoute")["spec"]["rules"][0]["timeouts"]
    assert timeouts == dict.fromkeys(("request", "backendRequest"), f"{ceil(2 * longest)}s")


def test_a_pool_holds_the_pods_that_answer_and_their_ports(plans: dict[str, Plan]) -> None:
    plan = plans["v4-flash.hgx-h200.chat.gateway"]
    pool, pod = the(plan, "InferencePool")["spec"], the(plan, "Deployment")["spec"]["template"]
    assert pool["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    engine = pod["spec"]["containers"][0]
    assert [p["number"] for p in pool["targetPorts"]] == [p["containerPort"] for p in engine["ports"]]
    assert the(plan, "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0]["kind"] == "InferencePool"
    callers = the(plan, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway-system"}}} in callers


@pytest.mark.parametrize("site", [{"gateway": GATEWAY}, {"gateway": GATEWAY, "picker": Picker(service="epp")}])
def test_what_has_a_router_of_its_own_is_reached_through_its_service(site: Any, catalog: Catalog) -> None:
    site = {**site, "network": Network(interface="eth0", rdmaResource="rdma/x")}
    plan = at_site(
        catalog, "deepseek-v4-flash", "atlas-800i-a3", site, platform="gateway", mode="disaggregated", nodes=2
    )
    kinds = {o["kind"] for artifact in render_pairing(plan) for o in artifact.objects}
    assert "InferencePool" not in kinds
    (backend,) = the(plan, "HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert backend == {"name": "test", "port": 80}


@pytest.mark.parametrize(
    ("platform", "key"), [("gateway", "gateway"), ("kserve", "gateway"), ("dynamo", "operatorVersion")]
)
def test_a_site_gives_what_its_platform_needs(platform: str, key: str, catalog: Catalog) -> None:
    server = "hgx-b200" if platform == "dynamo" else "hgx-h200"
    pins = {"mode": "disaggregated", "nodes": 2} if platform == "dynamo" else {}
    plan = at_site(
        catalog, "deepseek-v4-flash", server, {"network": Network(rdmaResource="rdma/x")}, platform=platform, **pins
    )
    message = f"platform {platform} needs it: site default must give {key}"
    assert ("P030", message) in refusals(plan)


def test_what_an_operator_cannot_be_told_is_refused(catalog: Catalog) -> None:
    site = {"gateway": GATEWAY, "network": Network(interface="eth0", rdmaResource="rdma/x")}
    by_rank = at_site(
        catalog, "deepseek-v4-flash", "atlas-800i-a3", site, platform="kserve", mode="disaggregated", nodes=2
    )
    said = "; ".join(message for code, message in refusals(by_rank) if code == "P035")
    assert "kserve starts one process in each pod, and role decode runs one for each rank" in said
    assert "kserve is told of aggregated serving only, and this plan is disaggregated" in said
    over_trays = at_site(catalog, "deepseek-v4-pro", "gb200-nvl72-tray", site, platform="kserve")
    assert refusals(over_trays) == [
        (
            "P035",
            "kserve counts the hosts of a group by data-parallel ranks or pipeline stages, and this plan has 1 and 1 over 2 hosts",
        )
    ]


def test_kserve_is_told_of_a_group_by_its_ranks(catalog: Catalog) -> None:
    site = {"gateway": GATEWAY, "network": Network(interface="eth0", rdmaResource="rdma/x")}
    plan = at_site(catalog, "deepseek-v4-pro", "atlas-800i-a3", site, platform="kserve", nodes=2)
    spec, (role,) = the(plan, "LLMInferenceService")["spec"], full_document(plan)["roles"]
    sizes = spec["parallelism"]
    assert (sizes["tensor"], sizes["data"]) == (role["parallelism"]["tp"], role["parallelism"]["dp"])
    assert sizes["data"] // sizes["dataLocal"] == role["nodes"] == 2
    assert "--headless" in spec["worker"]["containers"][0]["args"][0]
    assert "LeaderWorkerSet" not in {o["kind"] for artifact in render_pairing(plan) for o in artifact.objects}


def test_the_engine_is_started_alike_on_every_platform(catalog: Catalog, plans: dict[str, Plan]) -> None:
    told = the(plans["v4-pro-0813.hgx-b200.chat.kserve"], "LLMInferenceService")["spec"]["template"]
    plain = the(plans["v4-pro-0813.hgx-b200.chat"], "Deployment")["spec"]["template"]["spec"]
    one, other = told["containers"][0], plain["containers"][0]
    assert (one["args"], one["image"], one["resources"]) == (other["args"], other["image"], other["resources"])
    assert one["name"] == catalog.platforms["kserve"].container
    # its presets have handlers and a scheme of their own, and both kinds of a handler are refused together
    assert [{*one[p]["httpGet"]} for p in ("startupProbe", "readinessProbe")] == [{"path", "port", "scheme"}] * 2
    assert "exec" not in one["readinessProbe"]
    assert {*one["lifecycle"]["preStop"]} == {"exec"}


def test_an_engine_of_a_platform_is_planned_there_and_nowhere_else(catalog: Catalog, plans: dict[str, Plan]) -> None:
    starts = {name for name, spec in catalog.platforms.items() if spec.starts}
    for name, plan in plans.items():
        assert plan.chosen
        own = plan.chosen.stack.engine.platform
        assert own == (plan.pairing.platform_name if plan.pairing.platform_name in starts else None), name
    elsewhere = planned(catalog, "deepseek-v4-flash", "hgx-h200", engine="vllm-dynamo")
    assert elsewhere.verdict == "undocumented"


def test_a_graph_has_the_shape_of_its_operator_s_version(catalog: Catalog) -> None:
    pins = {"platform": "dynamo", "mode": "disaggregated", "nodes": 2}
    shapes = {}
    for version in ("1.2.0", "1.3.1"):
        site = {"operator_version": version, "network": Network(rdmaResource="rdma/x")}
        graph = the(at_site(catalog, "deepseek-v4-flash", "hgx-b200", site, **pins), "DynamoGraphDeployment")
        shapes[graph["apiVersion"]] = graph["spec"]
    older, newer = shapes["nvidia.com/v1alpha1"]["services"], shapes["nvidia.com/v1beta1"]["components"]
    assert [part["name"] for part in newer] == list(older) == ["frontend", "prefill", "decode"]
    for part in newer[1:]:
        engine, service = part["podTemplate"]["spec"]["containers"][0], older[part["name"]]
        assert engine == service["extraPodSpec"]["mainContainer"]
        assert part["sharedMemorySize"] == service["sharedMemory"]["size"]
        assert all(mount["mountPath"] != "/dev/shm" for mount in engine["volumeMounts"])  # noqa: S108 - a mount


def findings(document: Mapping[str, Any], item: Mapping[str, Any]) -> set[str]:
    text = f"{dump(document)}---\n{dump(item)}"
    read = read_bytes(text.encode(), "a.yaml", scalar=kubernetes_scalar)
    return {finding.code for finding in check_bundle(read, "1.37") if finding.severity == "error"}


@pytest.mark.parametrize(
    ("pairing", "kind", "old", "new"),
    [
        (SHIPPED[1], "LLMInferenceService", "replicas: 1", "replicas: 2"),
        (SHIPPED[1], "LLMInferenceService", "tensor: 8", "tensor: 4"),
        (SHIPPED[1], "LLMInferenceService", "nvidia.com/gpu: '8'", "nvidia.com/gpu: '4'"),
        (SHIPPED[1], "LLMInferenceService", "sizeLimit: 64Gi", "sizeLimit: 8Gi"),
        (SHIPPED[1], "LLMInferenceService", "--block-size 256", "--block-size 128"),
        (SHIPPED[1], "LLMInferenceService", "containerPort: 8000", "containerPort: 8001"),
        (SHIPPED[2], "DynamoGraphDeployment", "sharedMemorySize: 32Gi", "sharedMemorySize: 8Gi"),
        (SHIPPED[2], "DynamoGraphDeployment", "type: prefill", "type: worker"),
        (SHIPPED[2], "DynamoGraphDeployment", "--tensor-parallel-size 4", "--tensor-parallel-size 2"),
        (SHIPPED[2], "DynamoGraphDeployment", "failureThreshold: 214", "failureThreshold: 21"),
    ],
)
def test_a_number_that_is_not_the_plan_s_is_found(
    pairing: str, kind: str, old: str, new: str, plans: dict[str, Plan]
) -> None:
    document, item = full_document(plans[pairing]), the(plans[pairing], kind)
    assert findings(document, item) & {"M313", "M314"} == set()
    text = dump(item)
    assert old in text
    assert findings(document, yaml.safe_load(text.replace(old, new))) & {"M313", "M314"}


def closed(node: Any) -> Any:
    """A CRD's schema as a strict JSON Schema."""
    if isinstance(node, list):
        return [closed(part) for part in node]
    if not isinstance(node, Mapping):
        return node
    left_out = {"default", *(["type"] if node.get("x-kubernetes-int-or-string") else [])}
    kept = {key: closed(value) for key, value in node.items() if key not in left_out}
    if isinstance(node.get("properties"), Mapping) and node.get("type") == "object":
        kept.setdefault("additionalProperties", False)
    return kept


@pytest.mark.parametrize("pairing", SHIPPED)
def test_platform_objects_are_valid_by_the_projects_own_definitions(pairing: str, plans: dict[str, Plan]) -> None:
    if not CRDS.is_dir():
        pytest.skip("no folder with real CRDs beside the repository")
    seen = 0
    for artifact in render_pairing(plans[pairing]):
        for item in artifact.objects:
            group, _, version = item["apiVersion"].rpartition("/")
            for file in CRDS.rglob(f"{item['kind'].lower()}s.{group}.yaml"):
                spec = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)["spec"]
                (served,) = (v for v in spec["versions"] if v["name"] == version)
                schema = closed(served["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                errors = [e.message for e in jsonschema_rs.validator_for(schema).iter_errors(item)]
                assert errors == [], artifact.path
                seen += item["apiVersion"].startswith(("nvidia", "serving", "inference", "gateway"))
    assert seen
