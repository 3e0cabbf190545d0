"""Work, layout and links in; seconds of one decode step and of one prefill, out.

A roofline for each phase (Williams, Waterman and Patterson, 2009): a step takes the longer of its memory
traffic and its arithmetic, each at a share of the peak, then the collectives that it waits for, then a
floor for launches. Collectives are counted by bytes: ring all-reduce over tensor parallel, all-to-all over
expert parallel, and what leaves the scale-up domain at the speed of the scale-out network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

from stowplan.estimate.work import Held, Work
from stowplan.fit.cache import Cache
from stowplan.profiles.recipe import Layout

_DISPATCHED, _COMBINED = 0.5, 1.0
"""Bytes of a routed token over those of its 16-bit row: 8 bit there, 16 bit back."""


@dataclass(frozen=True, slots=True)
class Links:
    """How the devices of a layout are joined; None where the catalogue does not know."""

    scale_up: float | None
    """Bytes/s of one device."""
    domain: int
    """Devices that share the scale-up link."""
    scale_out: float | None
    """Bytes/s of one device between domains."""

    def seconds(self, inside: float, outside: float) -> float:
        """For bytes that one device sends inside its domain and out of it; an unknown link costs nothing."""
        up = inside / self.scale_up if self.scale_up else 0.0
        return up + (outside / self.scale_out if self.scale_out else 0.0)


@dataclass(frozen=True, slots=True)
class Shares:
    """One level of the calibrated factors."""

    compute: float
    bandwidth: float
    link: float
    layer_floor: float
    """Seconds of one layer that neither roofline nor links explain."""
    chunk_floor: float
    """Seconds of one prefill chunk that they do not explain."""
    stall: float
    """Share of a prefill for which the other data-parallel ranks of the replica wait: they step together."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One step or one prefill in seconds at the peaks, which no level of the factors changes."""

    memory: float
    compute: float
    links: float
    layers: float = 0.0
    """Layers whose floor it pays."""
    chunks: float = 0.0
    """Prefill chunks whose floor it pays."""
    times: float = 1.0
    """Pipeline stages that it passes one after another."""

    def seconds(self, shares: Shares) -> float:
        """At these shares of the peaks."""
        roof = max(self.memory / shares.bandwidth, self.compute / shares.compute)
        floor = self.layers * shares.layer_floor + self.chunks * shares.chunk_floor
        return self.times * (roof + self.links / shares.link + floor)


@dataclass(frozen=True)
class Station:
    """One instance of a role: a stack under a layout with the settings that move its speed."""

    work: Work
    cache: Cache
    layout: Layout
    links: Links
    chunk: int
    """Tokens of one prefill step of a data-parallel rank."""
    draft_tokens: int = 0
    """Tokens that are drafted for each step and request."""
    accepted: float = 1.0
    """Tokens that a step yields for each request."""

    @cached_property
    def _held(self) -> Held:
        return self.work.held(self.layout)

    def _collectives(self, tokens: float) -> float:
        """Seconds at full link speed for the tokens of one data-parallel rank, all layers."""
        layout, links, work = self.layout, self.links, self.work
        reduced = work.row * tokens * (1 if layout.ep > 1 else 2)
        inner = min(layout.tp, links.domain)
        outer = ceil(layout.tp / inner)
        inside = 2 * reduced * (inner - 1) / inner
        outside = 2 * reduced / inner * (outer - 1) / outer
        if layout.ep > 1:
            copies = work.row * (_DISPATCHED + _COMBINED) * tokens / layout.tp
            domains = ceil(layout.ep / links.domain)
            taken = work.architecture.numbers["experts_per_token"]
            inside += copies * _elsewhere(min(layout.ep, links.domain), taken)
            outside += copies * _elsewhere(domains, taken)
        return work.layers * links.seconds(inside, outside)

    def decode_step(self, requests: float, length: float) -> Demand:
        """One step of the whole replica with that many requests of that length in flight."""
        layout, work = self.layout, self.work
        in_stage = requests / layout.pp
        verified = 1 + self.draft_tokens
        on_rank = in_stage / layout.dp
        passes = (1 if work.draft == "dspark" else self.draft_tokens) if self.draft_tokens else 0
        held, touched = self._held, work.touched(layout, in_stage * verified)
        read = held.fixed + held.experts * touched + passes * (held.draft + held.draft_experts * touched)
        read += on_rank * work.cache_read(self.cache, length) / layout.pp
        compute = verified * (work.linear.on(layout.tp) + work.attention(length).on(layout.tp))
        compute += self.draft_tokens * work.draft_linear.on(layout.tp)
        return Demand(
            memory=read / work.bandwidth,
            compute=on_rank * compute / layout.pp,
            links=self._collectives(on_rank * verified) / layout.pp,
            layers=work.layers / layout.pp + passes * work.draft_layers,
            times=layout.pp,
        )

    def prefill(self, tokens: float, reuse: float, sharing: float = 1.0) -> Demand:
        """A prompt of that many tokens on one rank, that share of which its prefix cache holds.

        Where several wait, up to `sharing` short ones are read in one chunk.
        """
        layout, work = self.layout, self.work
        fresh = max(tokens * (1 - reuse), 1.0)
        chunks = max(fresh / self.chunk, 1.0 / sharing)
        share = work.prefill_share / layout.pp
        each = work.linear.on(layout.tp) + work.attention(tokens * (1 + reuse) / 2).on(layout.tp)
        read = self._held.fixed + self._held.experts * work.touched(layout, fresh / chunks)
        return Demand(
            memory=chunks * read * work.prefill_share / work.bandwidth,
            compute=fresh * each * share,
            links=self._collectives(fresh) * share,
            chunks=chunks,
            times=1 + (layout.pp - 1) / chunks,
        )


def _elsewhere(places: int, taken: int) -> float:
    """Expected number of other places that a token with that many experts is sent to."""
    return places * (1 - (1 - 1 / places) ** taken) * (places - 1) / places
