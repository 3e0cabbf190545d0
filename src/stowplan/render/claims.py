"""Pods that name their devices in; the same pods asking the way their device layer hands devices out.

Templates ask for every layer's devices as an amount of its `resource`. Where the layer hands them out by claims, that
amount becomes a claim template and the references to it: here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.render.environment import render_objects

_TEMPLATE = "device-layer/_claims/resource-claim-template.yaml.j2"


def claim_objects(claim: Mapping[str, Any], namespace: str, device_class: str, count: int) -> Iterator[dict[str, Any]]:
    """The template of which each pod makes its claim of that many devices."""
    context = {"claim": claim, "namespace": namespace, "device_class": device_class, "count": count}
    yield from render_objects(_TEMPLATE, context)


def by_claims(template: Mapping[str, Any], resource: str, claims: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A pod template whose containers claim the devices that they ask for as an amount of `resource`."""
    names = [claim["name"] for claim in claims]
    spec = {
        **template["spec"],
        "containers": [_claiming(container, resource, names) for container in template["spec"]["containers"]],
        "resourceClaims": [{"name": c["name"], "resourceClaimTemplateName": c["template"]} for c in claims],
    }
    return {**template, "spec": spec}


def _claiming(container: Mapping[str, Any], resource: str, names: Sequence[str]) -> dict[str, Any]:
    amounts = container["resources"]
    if resource not in amounts["limits"]:
        return dict(container)
    plain = {side: {k: v for k, v in values.items() if k != resource} for side, values in amounts.items()}
    return {**container, "resources": {**plain, "claims": [{"name": name} for name in names]}}
