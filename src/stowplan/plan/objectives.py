"""What of a use case's objectives a layout misses, by the middle of its estimate."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.estimate import Estimate
from stowplan.profiles.use_case import UseCaseSpec


def missed(use_case: UseCaseSpec, bands: Estimate | None, carried: float, served: int, required: int) -> Iterator[str]:
    """A sentence for each: served and required are tokens, carried is requests in flight."""
    if served < required:
        yield f"serves {served:,} tokens, the longest requests have {required:,}"
    if carried < use_case.load.concurrency:
        yield f"carries {carried:.0f} of {use_case.load.concurrency} requests"
    if bands is not None:
        for name, band, limit in (
            ("TTFT", bands.ttft_ms, use_case.objectives.ttft_ms),
            ("TPOT", bands.tpot_ms, use_case.objectives.tpot_ms),
        ):
            if band[1] > limit:
                yield f"{name} about {band[1]:,.0f} ms against {limit:,.0f} ms"


def miss_ratio(use_case: UseCaseSpec, bands: Estimate | None) -> float:
    """The worst latency over its objective, at least 1."""
    objectives = use_case.objectives
    if bands is None:
        return 1.0
    return max(1.0, bands.ttft_ms[1] / objectives.ttft_ms, bands.tpot_ms[1] / objectives.tpot_ms)
