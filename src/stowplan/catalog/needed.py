"""A spec in; the other files without which it means nothing, by kind, name and place, out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stowplan.located_yaml import Path_
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.hardware import ServerSpec
from stowplan.profiles.site import SiteSpec
from stowplan.profiles.variant import VariantSpec


def needed(spec: Any) -> Iterator[tuple[str, str, Path_]]:
    """Kind, name and place of each file that is looked up wherever this one is used."""
    if isinstance(spec, ServerSpec):
        yield "Chip", spec.chip, ("chip",)
    elif isinstance(spec, VariantSpec) and spec.architecture_of:
        yield "Variant", spec.architecture_of, ("architectureOf",)
    elif isinstance(spec, SiteSpec):
        yield "Platform", spec.platform, ("platform",)
    elif isinstance(spec, EngineSpec):
        if spec.extends:
            yield "Engine", spec.extends, ("extends",)
        if spec.platform:
            yield "Platform", spec.platform, ("platform",)
