"""Pairings: what a user writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from stowplan.profiles.fact import Model, Name, Settings, Text
from stowplan.profiles.recipe import Layout


def _layout_or_roles(value: object) -> str:
    by_role = isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values())
    return "roles" if by_role else "layout"


Layouts = Annotated[
    Annotated[Layout, Tag("layout")] | Annotated[dict[Name, Layout], Tag("roles")], Discriminator(_layout_or_roles)
]


class PairingSpec(Model):
    """Variant x hardware x use case; what is left out is planned, what is given is pinned and checked."""

    variant: Text
    server: Text
    use_case: Text
    site: Text = "default"
    nodes: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Hosts of one replica."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Most replicas to which an autoscaler may go; none: nothing scales."""
    engine: Text | None = None
    """`NAME` or `NAME@VERSION`."""
    checkpoint: Text | None = None
    device_layer: Text | None = None
    mode: Literal["aggregated", "disaggregated"] | None = None
    platform: Text | None = None
    """None: the site's."""
    objective: Literal["devices", "latency", "throughput", "cost"] | None = None
    """What to choose the layout by; none: documented, then fewest devices that meet the use case's objective."""
    at_least: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Output tokens per second that all replicas together must give; sizes `replicas`."""
    layout: Layouts | None = None
    """Of every role, or by role."""
    set: Settings = {}
    """Key of the plan to value, for example `flags.--max-model-len: 131072`."""
