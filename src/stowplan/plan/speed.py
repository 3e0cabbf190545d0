"""A stack, its settings and the server in; what the estimate takes, out."""

from __future__ import annotations

from functools import lru_cache

from stowplan.estimate.roofline import Links, Station
from stowplan.estimate.work import Work
from stowplan.fit.cache import Cache
from stowplan.fit.held import Held
from stowplan.fit.weights import weights
from stowplan.plan.model import Stack
from stowplan.plan.settings import Settings, pin_path
from stowplan.profiles.hardware import ChipSpec, ServerSpec
from stowplan.profiles.recipe import Layout
from stowplan.profiles.variant import Architecture, Checkpoint, Draft


@lru_cache(maxsize=512)
def _work(
    architecture: Held[Architecture],
    checkpoint: Held[Checkpoint],
    draft: Draft | None,
    chip: Held[ChipSpec],
    *,
    over_group: bool,
) -> Work:
    held = weights(architecture.value, checkpoint.value, draft)
    return Work(architecture.value, held, chip.value, draft, over_group)


def work(stack: Stack, architecture: Architecture, chip: ChipSpec) -> Work:
    """What a token of this stack costs on the chip."""
    over_group = stack.engine.memory.experts_over_group
    return _work(Held(architecture), Held(stack.checkpoint), stack.draft, Held(chip), over_group=over_group)


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
