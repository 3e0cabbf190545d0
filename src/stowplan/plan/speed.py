"""A stack, its settings and the server in; what the estimate takes, out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from stowplan.estimate.roofline import Links, Station
from stowplan.estimate.work import Work
from stowplan.fit.cache import Cache
from stowplan.fit.weights import weights
from stowplan.plan.model import Stack
from stowplan.plan.settings import Settings, pin_path
from stowplan.profiles.hardware import ChipSpec, ServerSpec
from stowplan.profiles.recipe import Layout
from stowplan.profiles.variant import Architecture, Checkpoint, Draft


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """Hashable by identity of the files and the checkpoint's id: they are frozen."""

    architecture: Architecture
    checkpoint: Checkpoint
    draft: Draft | None
    chip: ChipSpec
    over_group: bool

    def __hash__(self) -> int:
        return hash((id(self.architecture), self.checkpoint.id, self.draft, id(self.chip), self.over_group))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and all(getattr(self, n) is getattr(other, n) for n in self.__slots__)


@lru_cache(maxsize=512)
def _work(key: _Key) -> Work:
    held = weights(key.architecture, key.checkpoint, key.draft)
    return Work(key.architecture, held, key.chip, key.draft, key.over_group)


def work(stack: Stack, architecture: Architecture, chip: ChipSpec) -> Work:
    """What a token of this stack costs on the chip."""
    return _work(_Key(architecture, stack.checkpoint, stack.draft, chip, stack.engine.memory.experts_over_group))


def links(server: ServerSpec, chip: ChipSpec) -> Links:
    """How the server's devices are joined."""
    domain = max(server.mesh.value or 1, server.scale_up_domain.value or 1)
    link, nic = chip.link.value, server.nic.value
    return Links(link * 1e9 if link else None, domain, nic * 1e9 / 8 if nic else None)


def station(
    stack: Stack, settings: Settings, layout: Layout, asked: Work, joined: Links, kept: Cache, chunk: int
) -> Station:
    """One instance of a role under a layout."""
    tokens = _draft_tokens(stack, settings)
    accepted = stack.engine.acceptance.get(stack.draft, {}).get(str(tokens)) if stack.draft else None
    yielded = (accepted.value if accepted else None) or 1.0
    return Station(asked, kept, layout, joined, chunk, tokens, yielded)


def _draft_tokens(stack: Stack, settings: Settings) -> int:
    """Tokens that the settings let the draft propose in each step; none where they turn it off."""
    path = stack.engine.draft_tokens.get(stack.draft) if stack.draft else None
    return int(settings.get(*pin_path(path)) or 0) if path else 0
