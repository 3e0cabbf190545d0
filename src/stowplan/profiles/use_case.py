"""Use cases: how long, how alike, how many, how fast."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from stowplan.profiles.fact import Fact, Items, Model, Sourced, Text
from stowplan.profiles.variant import VariantKind


class Lengths(Sourced):
    """Distribution of lengths, tokens."""

    mean: int
    p50: int
    p90: int
    p99: int

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.p50 <= self.p90 <= self.p99:
            raise ValueError("lengths must not fall from p50 to p90 to p99")
        return self


class Load(Sourced):
    """What one replica must carry."""

    concurrency: int
    """Requests in flight."""


class Objectives(Sourced):
    """Latency objectives: TTFT of the median request, TPOT = (end to end - TTFT) / (output - 1)."""

    ttft_ms: float
    tpot_ms: float


NOTHING_REUSED = Fact[float](
    value=0.0, source="assumption: nothing is reused", as_of="2026-11-23", confidence="estimate"
)


class UseCaseSpec(Model):
    """One use of a served model; title, lengths, load and objectives must be given, the rest has defaults."""

    title: Text
    description: str = ""
    """What is asked and who waits for it. Default: nothing beyond the title; no plan depends on it."""
    input_tokens: Lengths
    output_tokens: Lengths
    prefix_reuse: Fact[float] = NOTHING_REUSED
    """Share of the input tokens that a prefix cache holds, 0 to 1. Default: 0, the slowest first token."""
    load: Load
    objectives: Objectives
    variant_kinds: Items[VariantKind] = ("chat", "vision")
    """Kinds of variant that can serve it. Default: those that answer a chat; not base models."""
    context_limit: int | None = None
    """Requests are cut to this many tokens, input and output together. Default: the p99 lengths, uncut."""

    @property
    def mean_request(self) -> int:
        """Tokens of the mean request, input and output."""
        return self.input_tokens.mean + self.output_tokens.mean
