"""What a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from stowplan.estimate import Estimate
from stowplan.fit.ledger import Fit
from stowplan.pairing import Pairing
from stowplan.plan.layouts import Placement
from stowplan.plan.settings import Settings
from stowplan.profiles.device_layer import DeviceLayerSpec, ServerLayer
from stowplan.profiles.engine import EngineSpec, Version
from stowplan.profiles.recipe import RecipeSpec
from stowplan.profiles.variant import Checkpoint, Draft

Verdict = Literal["documented", "derived", "infeasible", "undocumented"]


Recipe = tuple[str, RecipeSpec]
"""A recipe with its name."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a code, a sentence, the numbers."""

    code: str
    message: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """Engine version, checkpoint and draft module that go together."""

    engine_name: str
    engine: EngineSpec
    version: Version
    checkpoint: Checkpoint
    draft: Draft | None
    notes: tuple[str, ...] = ()
    """Assumptions that this choice makes."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The device layer of the pairing's server."""

    name: str
    spec: DeviceLayerSpec
    server: ServerLayer


@dataclass(frozen=True)
class Candidate:
    """One layout that was considered, evaluated whole."""

    stack: Stack
    placement: Placement
    settings: Settings
    fit: Fit
    estimate: Estimate | None
    recipe: Recipe | None
    reasons: tuple[Reason, ...]
    meets: bool
    """Whether it meets the objective; a layout documented for this server does until the whole band says no."""
    misses: tuple[str, ...]
    """Objectives of the use case that it does not meet by the middle of the band."""
    miss_ratio: float
    """The worst of its latencies over the objective, at least 1."""
    headroom: float
    """Requests that fit, over the requests asked for."""

    @property
    def feasible(self) -> bool:
        """Whether nothing forbids it."""
        return not self.reasons

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.placement.nodes * self.placement.devices_per_node


@dataclass(frozen=True)
class Plan:
    """The answer for one pairing; nothing after it decides anything."""

    pairing: Pairing
    verdict: Verdict
    chosen: Candidate | None
    layer: Layer | None
    reasons: tuple[Reason, ...]
    assumptions: tuple[str, ...]
    sources: tuple[str, ...]
    candidates: tuple[Candidate, ...] = field(default=(), repr=False)
