"""Resource claims of dynamic resource allocation, and classes of the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import pod, thing
from stowplan.check.admission._register import CORE, Context, Problem, object_check, pod_check
from stowplan.check.admission._syntax import dns_label, dns_subdomain, integer, short, text, walk
from stowplan.check.objects import Object, Path, Pod, dig, mapping, sequence

_SOURCE = "Kubernetes API validation, pkg/apis/resource/validation: validateResourceClaimSpec"
_API = "resource.k8s.io/v1"
_APIS = {_API, "resource.k8s.io/v1beta1", "resource.k8s.io/v1beta2"}
_MAX_REQUESTS, _MAX_ALTERNATIVES = 32, 8
_HIGHEST_PRIORITY = 1_000_000_000
_SYSTEM_PRIORITIES = {"system-cluster-critical", "system-node-critical"}


@pod_check(
    "M129",
    reason="The API server refuses a pod's resource claim that has no name of its own or does not name exactly one claim or template.",
    source=f"{CORE}: validatePodResourceClaim.",
    bad=pod(spec="resourceClaims:\n  - name: devices"),
    good=pod(spec="resourceClaims:\n  - name: devices\n    resourceClaimTemplateName: eight-devices"),
)
def claims_of_pod(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A pod's resource claim names one claim or one template."""
    seen: set[str] = set()
    for index, item in enumerate(sequence(pod.spec.get("resourceClaims"))):
        claim, path = mapping(item), (*pod.spec_path, "resourceClaims", index)
        name = claim.get("name")
        if isinstance(name, str) and (wrong := "is given twice" if name in seen else dns_label(name)):
            yield Problem((*path, "name"), f"the resource claim name {short(name)} {wrong}")
        seen.add(text(name))
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) != 1 and not set(claim) - {
            "name",
            "resourceClaimName",
            "resourceClaimTemplateName",
        }:
            message = f"the resource claim names {len(given)} sources, exactly one is allowed"
            yield Problem(path, message, "give either resourceClaimName or resourceClaimTemplateName")
        for field in given:
            if isinstance(claim[field], str) and (wrong := dns_subdomain(claim[field])):
                yield Problem((*path, field), f"{field} {short(claim[field])} {wrong}")


def _claim(requests: str) -> str:
    return thing(_API, "ResourceClaim", f"spec:\n  devices:\n    requests:\n      - {requests}")


@object_check(
    "M188",
    "ResourceClaim ResourceClaimTemplate",
    reason="The API server refuses a claim whose requests have no names or classes, or count devices in an impossible way.",
    source=f"{_SOURCE}, validateDeviceRequest.",
    bad=_claim("{name: gpus, exactly: {deviceClassName: gpu.nvidia.com, allocationMode: All, count: 8}}"),
    good=_claim("{name: gpus, exactly: {deviceClassName: gpu.nvidia.com, count: 8}}"),
)
def device_requests(item: Object, _context: Context) -> Iterator[Problem]:
    """Requests for devices have a name, a class and a possible count."""
    base: Path = ("spec", "spec", "devices") if item.kind == "ResourceClaimTemplate" else ("spec", "devices")
    requests = sequence(dig(item.data, (*base, "requests")))
    if item.api_version not in _APIS:
        return
    if len(requests) > _MAX_REQUESTS:
        yield Problem(
            (*base, "requests"),
            f"{len(requests)} requests are given, at most {_MAX_REQUESTS} are allowed",
        )
    seen: set[str] = set()
    for index, entry in enumerate(requests):
        request, path = mapping(entry), (*base, "requests", index)
        name = request.get("name")
        if isinstance(name, str) and (wrong := "is given twice" if name in seen else dns_label(name)):
            yield Problem((*path, "name"), f"the request name {short(name)} {wrong}")
        seen.add(text(name))
        yield from _alternatives(request, path, single=item.api_version == "resource.k8s.io/v1beta1")
    for used, inner in walk(dig(item.data, base), ("constraints", "*", "requests", "*")):
        if isinstance(used, str) and used.partition("/")[0] not in seen:
            yield Problem((*base, *inner), f"the claim has no request {short(used)}")


def _alternatives(request: Mapping[str, Any], path: Path, *, single: bool) -> Iterator[Problem]:
    if single:
        if request.get("firstAvailable") is None:
            yield from _request(request, path)
        return
    given = [field for field in ("exactly", "firstAvailable") if request.get(field)]
    if isinstance(request.get("exactly"), Mapping) and not given:
        given = ["exactly"]
    if len(given) != 1:
        yield Problem(
            path,
            f"the request has {len(given)} forms, exactly one of exactly and firstAvailable is allowed",
        )
    if isinstance(request.get("exactly"), Mapping):
        yield from _request(request["exactly"], (*path, "exactly"))
    alternatives = sequence(request.get("firstAvailable"))
    if len(alternatives) > _MAX_ALTERNATIVES:
        yield Problem(
            (*path, "firstAvailable"),
            f"{len(alternatives)} alternatives are given, at most {_MAX_ALTERNATIVES} are allowed",
        )
    for index, alternative in enumerate(alternatives):
        yield from _request(mapping(alternative), (*path, "firstAvailable", index))


def _request(request: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    name, mode, count = (
        request.get("deviceClassName"),
        request.get("allocationMode") or "ExactCount",
        integer(request.get("count")),
    )
    if name in (None, ""):
        yield Problem(path, "the request names no deviceClassName")
    elif isinstance(name, str) and (wrong := dns_subdomain(name)):
        yield Problem((*path, "deviceClassName"), f"deviceClassName {short(name)} {wrong}")
    if mode == "ExactCount" and count is not None and count < 0:
        yield Problem((*path, "count"), f"the count {count} is not greater than 0")
    elif mode == "All" and count:
        yield Problem(
            (*path, "count"),
            "a request for all devices takes no count",
            "remove count, or use ExactCount",
        )
    elif isinstance(mode, str) and mode not in ("ExactCount", "All"):
        yield Problem(
            (*path, "allocationMode"),
            f"{short(mode)} is no allocation mode",
            "use ExactCount or All",
        )


@object_check(
    "M189",
    "PriorityClass RuntimeClass",
    reason="The API server keeps the priorities above 1000000000 and the names system-* for itself, and refuses impossible handlers.",
    source="Kubernetes API validation, pkg/apis/scheduling/validation: ValidatePriorityClass; pkg/apis/node/validation: ValidateRuntimeClass.",
    bad=thing("scheduling.k8s.io/v1", "PriorityClass", "value: 2000000000"),
    good=thing("scheduling.k8s.io/v1", "PriorityClass", "value: 1000000000"),
)
def classes_of_cluster(item: Object, _context: Context) -> Iterator[Problem]:
    """A priority is at most 1000000000, and a runtime's handler is a DNS label."""
    if item.kind == "RuntimeClass":
        handler = item.data.get("handler")
        if isinstance(handler, str) and (wrong := dns_label(handler)):
            yield Problem(("handler",), f"the handler {short(handler)} {wrong}")
        return
    value = integer(item.data.get("value"))
    if item.name.startswith("system-"):
        if item.name not in _SYSTEM_PRIORITIES:
            yield Problem(
                ("metadata", "name"),
                "names of priority classes that begin with system- are reserved",
            )
    elif value is not None and value > _HIGHEST_PRIORITY:
        yield Problem(("value",), f"the priority {value} is more than {_HIGHEST_PRIORITY}")
