"""A chosen layout and its pairing's platform in; its object, its limits on a request, and what it cannot say, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from stowplan.pairing import Pairing
from stowplan.plan.model import Candidate, Plan
from stowplan.plan.processes import pod_ports
from stowplan.profiles.platform import PlatformSpec
from stowplan.versions import in_range

_MARGIN = 2
"""How many times longer than the slow end of the estimate a request may take before it is given up."""
_MOST_PORTS = 8
"""Of an InferencePool."""


def platform_document(plan: Plan, chosen: Candidate, roles: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the platform is told; None where Kubernetes' own objects are all."""
    spec, site = plan.pairing.platform, plan.pairing.site
    if spec.method == "objects":
        return None
    document: dict[str, Any] = {"name": plan.pairing.platform_name, "method": spec.method}
    if version := _api(spec, site.operator_version):
        document |= {"apiVersion": f"{spec.group}/{version}", "kind": spec.kind}
    if spec.starts:
        document["framework"] = chosen.stack.engine.extends or chosen.stack.engine_name
    if spec.method == "route":
        document["timeouts"] = _timeouts(plan, chosen)
        if site.picker and len(roles) == 1:
            document["pool"] = {"ports": pod_ports(roles[0])}
    return document


def _api(spec: PlatformSpec, version: str) -> str:
    """Version of its kind: of the operator that the site has, else the newest."""
    found = [api.version for api in spec.apis if not version or in_range(version, api.versions)]
    return found[0] if found else ""


def _timeouts(plan: Plan, chosen: Candidate) -> dict[str, Any]:
    """Seconds of the longest request by the slow end of the bands, which are of the median one; 0 is no limit."""
    bands, use_case = chosen.estimate, plan.pairing.use_case
    if bands is None:
        return {"longestRequestSeconds": None, "margin": _MARGIN, "requestSeconds": 0}
    first = bands.ttft_ms[2] * use_case.input_tokens.p99 / use_case.input_tokens.p50
    longest = (first + use_case.output_tokens.p99 * bands.tpot_ms[2]) / 1e3
    return {"longestRequestSeconds": ceil(longest), "margin": _MARGIN, "requestSeconds": ceil(longest * _MARGIN)}


def callers_from(pairing: Pairing) -> list[str]:
    """Namespaces whose pods may call the endpoint, that of the platform's gateway among them."""
    site = pairing.site
    gateway = [site.gateway.namespace] if site.gateway and "gateway" in pairing.platform.needs else []
    return list(dict.fromkeys([*site.allow_from, *gateway]))


def unsaid(plan: Plan, roles: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Sentences of what the platform's objects cannot say of this plan."""
    spec, pairing = plan.pairing.platform, plan.pairing
    name, version = pairing.platform_name, pairing.site.operator_version
    if spec.apis and version and not _api(spec, version):
        yield f"no version of {spec.kind} is known for {name} {version}"
    if pairing.mode not in spec.modes:
        yield f"{name} is told of {' or '.join(spec.modes)} serving only, and this plan is {pairing.mode}"
    for role in roles:
        yield from _unsaid_of_role(name, spec, role)
    if spec.kind and pairing.spec.max_replicas:
        yield f"{name} scales its pods by its own means, and this pairing gives maxReplicas"
    pooled = pod_ports(roles[0])
    if spec.method == "route" and pairing.site.picker and len(pooled) > _MOST_PORTS:
        yield f"an InferencePool has at most {_MOST_PORTS} ports, and each pod answers on {len(pooled)}"


def _unsaid_of_role(name: str, spec: PlatformSpec, role: Mapping[str, Any]) -> Iterator[str]:
    made, nodes = role["deployment"], role["nodes"]
    if not spec.kind:
        return
    if made["processes"]["byRank"]:
        yield f"{name} starts one process in each pod, and role {role['name']} runs one for each rank"
    if nodes > 1 and not spec.spans:
        yield f"{name} cannot be told of a replica that spans {nodes} hosts"
    if spec.method == "inference-service":
        yield from _unsaid_of_service(name, spec, role)


def _unsaid_of_service(name: str, spec: PlatformSpec, role: Mapping[str, Any]) -> Iterator[str]:
    """An inference service counts a group's hosts by ranks or stages, and takes weights from a claim."""
    made, nodes, sizes = role["deployment"], role["nodes"], role["parallelism"]
    by_ranks = sizes["pp"] == 1 and sizes["dp"] % nodes == 0
    by_stages = sizes["dp"] == 1 and sizes["pp"] == nodes
    if nodes > 1 and not (by_ranks or by_stages):
        yield (
            f"{name} counts the hosts of a group by data-parallel ranks or pipeline stages, and this plan has "
            f"{sizes['dp']} and {sizes['pp']} over {nodes} hosts"
        )
    if made["weights"]["volume"] != "claim":
        yield f"{name} is told of weights on a claim, and the site has them in another volume"
    port = made["ports"]["http"]
    if spec.port and port != spec.port:
        yield f"{name} looks for engines on port {spec.port} alone, and the pairing pins {port}"
