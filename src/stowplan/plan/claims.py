"""A layer's claims, a Kubernetes minor and a name in; under which API and which names pods claim devices, out."""

from __future__ import annotations

from typing import Any

from stowplan.plan.model import Layer
from stowplan.profiles.device_layer import DeviceLayerSpec
from stowplan.versions import in_range


def oldest_minor(layer: DeviceLayerSpec) -> str:
    """The first Kubernetes minor that has an API of the layer's claims; empty without claims."""
    claims = layer.workload.claims
    return min(claims.api_versions, key=_number) if claims else ""


def runs_on(layer: DeviceLayerSpec, minor: str) -> bool:
    """Whether Kubernetes of that minor can run the layer."""
    return not oldest_minor(layer) or in_range(minor, f">={oldest_minor(layer)}")


def api_version(layer: DeviceLayerSpec, minor: str) -> str:
    """API of the layer's claims in a minor that can run it; empty without claims."""
    claims = layer.workload.claims
    served = [first for first in claims.api_versions if in_range(minor, f">={first}")] if claims else []
    return claims.api_versions[max(served, key=_number)] if claims and served else ""


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])


def claim_names(layer: Layer, minor: str, names: tuple[str, str], count: int, *, joined: bool) -> dict[str, Any]:
    """Names of the claims that the pods of one object make, each of that many devices; empty without claims.

    `names` are the object's own and its pairing's: all pods of a pairing that reach each other share a group's claim.
    """
    claims, group = layer.spec.workload.claims, layer.server.group
    if claims is None:
        return {}
    name, shared = names
    devices = {
        "apiVersion": api_version(layer.spec, minor),
        "name": claims.name,
        "template": f"{name}-{claims.name}-{count}",  # a claim template cannot be changed: another count is another one
    }
    if not joined or group is None:
        return {"claim": devices}
    return {"claim": devices, "groupClaim": {"name": group.name, "template": f"{shared}-{group.name}"}}
