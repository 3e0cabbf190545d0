"""Devices that containers ask for by claims (Dynamic Resource Allocation): which class, how many, and by which object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.objects import Bundle, Container, Object, Path, Pod, dig, mapping, sequence

_SOURCES = {"resourceClaimName": "ResourceClaim", "resourceClaimTemplateName": "ResourceClaimTemplate"}
_REQUESTS: Mapping[str, Path] = {
    "ResourceClaim": ("spec", "devices", "requests"),
    "ResourceClaimTemplate": ("spec", "spec", "devices", "requests"),
}
_MAKER: Path = ("spec", "channel", "resourceClaimTemplate", "name")
"""Where an object names the claim template that its controller makes."""


class Reference(NamedTuple):
    """A claim of a pod: what it is called there, and the object that it names."""

    name: str
    kind: str
    target: str
    path: Path


class Claimed(NamedTuple):
    """Devices of one request of a claim."""

    device_class: str
    devices: int | None
    """None: all of a host, or not said as a number."""
    item: Object
    path: Path


def pod_claims(pod: Pod) -> Iterator[Reference]:
    """The claims that a pod lists."""
    for index, entry in enumerate(sequence(pod.spec.get("resourceClaims"))):
        claim = mapping(entry)
        for field, kind in _SOURCES.items():
            if isinstance(claim.get(field), str) and claim[field]:
                path = (*pod.spec_path, "resourceClaims", index, field)
                yield Reference(str(claim.get("name", "")), kind, claim[field], path)


def used_claims(pod: Pod, container: Container) -> list[Reference]:
    """The claims of the pod that a container uses."""
    used = {str(mapping(c).get("name", "")) for c in sequence(mapping(container.data.get("resources")).get("claims"))}
    return [reference for reference in pod_claims(pod) if reference.name in used]


def claimed(bundle: Bundle, pod: Pod, container: Container) -> Iterator[Claimed]:
    """Devices that a container claims, as far as the bundle holds the claims."""
    for reference in used_claims(pod, container):
        for item in bundle.named(reference.kind, reference.target):
            yield from _requests(item)


def makers(bundle: Bundle) -> dict[str, Object]:
    """Claim templates that controllers make, by the object of the bundle that says so."""
    named = ((dig(item.data, _MAKER), item) for item in bundle.objects)
    return {name: item for name, item in named if isinstance(name, str)}


def _requests(item: Object) -> Iterator[Claimed]:
    base = _REQUESTS[item.kind]
    for index, entry in enumerate(sequence(dig(item.data, base))):
        exactly = "exactly" in mapping(entry)
        path: Path = (*base, index, "exactly") if exactly else (*base, index)
        request: Mapping[str, Any] = mapping(mapping(entry).get("exactly")) if exactly else mapping(entry)
        given = request.get("count", 1)
        count = given if isinstance(given, int) and request.get("allocationMode") != "All" else None
        if isinstance(request.get("deviceClassName"), str):
            yield Claimed(request["deviceClassName"], count, item, path)
