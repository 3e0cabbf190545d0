"""Claims of devices that a pod makes and its containers use."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check, pod_check
from stowplan.check.admission._syntax import dns_label, dns_subdomain, short, text
from stowplan.check.objects import Container, Pod, mapping, sequence


@container_check(
    "M128",
    reason="The API server refuses a container that uses a resource claim which its pod does not list.",
    source=f"{CORE}: validateResourceClaimNames.",
    bad=pod("resources:\n  claims:\n    - name: devices"),
    good=pod(
        "resources:\n  claims:\n    - name: devices",
        "resourceClaims:\n  - name: devices\n    resourceClaimTemplateName: eight",
    ),
)
def claims_of_container(container: Container, pod: Pod, _context: Context) -> Iterator[Problem]:
    """Resource claims of a container are those of its pod, each named once."""
    known = {text(mapping(claim).get("name")) for claim in sequence(pod.spec.get("resourceClaims"))}
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(sequence(mapping(container.data.get("resources")).get("claims"))):
        name, request = text(mapping(item).get("name")), text(mapping(item).get("request"))
        path = ("resources", "claims", index, "name")
        if not name:
            yield Problem(path, "the claim has no name")
        if name and name not in known:
            yield Problem(
                path,
                f"the pod has no resource claim {short(name)}",
                "list it under resourceClaims of the pod",
            )
        if request and (wrong := dns_label(request)):
            yield Problem(("resources", "claims", index, "request"), f"the request name {short(request)} {wrong}")
        if name and ((name, request) in seen or (name, "") in seen):
            yield Problem(path, f"the resource claim {short(name)} is used twice")
        seen.add((name, request))


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
