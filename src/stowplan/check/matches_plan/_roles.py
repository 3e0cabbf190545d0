"""The plan beside the YAML: which of its roles an object serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.objects import Bundle, Object, mapping, sequence

WORKLOADS = "Deployment LeaderWorkerSet StatefulSet"
SOURCE = "The plan.yaml that stowplan renders beside the manifests."


def roles(bundle: Bundle) -> Iterator[Mapping[str, Any]]:
    """The roles of the plan."""
    yield from (mapping(role) for role in sequence((bundle.plan or {}).get("roles")))


def role_of(item: Object, bundle: Bundle) -> Mapping[str, Any]:
    """The role that an object serves; empty for every other object."""
    return next((role for role in roles(bundle) if made(role).get("name") == item.name), {})


def made(role: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the plan says of a role's objects."""
    return mapping(role.get("deployment"))


def resources(role: Mapping[str, Any]) -> Mapping[str, Any]:
    """What each of its pods asks for."""
    return mapping(made(role).get("resources"))
