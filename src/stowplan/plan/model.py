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
from stowplan.profiles.engine import EngineSpec, Transfer, Version
from stowplan.profiles.hardware import ServerSpec
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
    transfer: Transfer | None = None
    """How caches go from prefill to decode; None: one role does both, or nothing documents it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The device layer of the pairing's server."""

    name: str
    spec: DeviceLayerSpec
    server: ServerLayer

    def devices_of(self, server: ServerSpec) -> int:
        """Devices of one host: what its profile says, else the most that one pod may take."""
        return server.devices.value or max(self.server.pod_counts.single)


@dataclass(frozen=True)
class Role:
    """One role under one layout: how it is started, where its bytes go, what speaks against it."""

    name: str
    placement: Placement
    settings: Settings
    fit: Fit
    reasons: tuple[Reason, ...]
    instances: int = 1
    """Instances of it in one replica of the whole."""

    @property
    def devices(self) -> int:
        """Devices of all its instances."""
        return self.placement.nodes * self.placement.devices_per_node * self.instances

    def carried(self, tokens: int) -> float:
        """Requests of that length in flight over all ranks of all instances."""
        return self.fit.requests(tokens) * self.placement.layout.dp * self.instances


@dataclass(frozen=True)
class Candidate:
    """One layout of every role that was considered, evaluated whole."""

    stack: Stack
    roles: tuple[Role, ...]
    nodes: int
    """Hosts of one replica."""
    estimate: Estimate | None
    recipe: Recipe | None
    meets: bool
    """Whether it meets the objective; a layout documented for this server does until the whole band says no."""
    misses: tuple[str, ...]
    """Objectives of the use case that it does not meet by the middle of the band."""
    miss_ratio: float
    """The worst of its latencies over the objective, at least 1."""
    headroom: float
    """Requests that fit, over the requests asked for."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What forbids it."""
        return tuple(reason for role in self.roles for reason in role.reasons)

    @property
    def feasible(self) -> bool:
        """Whether nothing forbids it."""
        return not any(role.reasons for role in self.roles)

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return sum(role.devices for role in self.roles)

    @property
    def shortfall(self) -> int:
        """Bytes that are missing on a device of the role that lacks most."""
        return max(role.fit.shortfall for role in self.roles)

    @property
    def replaced(self) -> dict[str, str]:
        """Pinned key to what it took the place of, over all roles."""
        return {key: text for role in self.roles for key, text in role.settings.replaced.items()}


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
