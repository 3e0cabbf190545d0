"""A fitting layout and a use case in; bands for TTFT, TPOT, throughput and cost out.

Method: a roofline for each phase (Williams et al., 2009) over the bytes that a step really touches,
collectives over the scale-up link, a floor for what no roofline explains, and the M/D/1 waiting time
(Pollaczek-Khinchine) for prefills that queue on a data-parallel rank. Shares of the peak come from the
engine's profile as low, middle, high; the answer is a band, never a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stowplan.fit.cache import Cache
from stowplan.fit.weights import Weights
from stowplan.profiles.engine import Efficiency
from stowplan.profiles.recipe import Layout
from stowplan.profiles.use_case import UseCaseSpec
from stowplan.profiles.variant import Architecture

Band = tuple[float, float, float]
_MOST_LOADED = 0.95


@dataclass(frozen=True, slots=True)
class Rates:
    """Peaks of one device, in SI units; None where the catalogue does not know."""

    flops: float | None
    bandwidth: float | None
    link: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bands of one replica, low to high."""

    ttft_ms: Band
    tpot_ms: Band
    output_tokens_per_second_per_device: Band
    concurrency: int
    """Requests in flight that the figures are for."""

    def may_meet(self, use_case: UseCaseSpec) -> bool:
        """Whether the best of the bands meets them: short of that the estimate refutes the layout."""
        objectives = use_case.objectives
        return self.ttft_ms[0] <= objectives.ttft_ms and self.tpot_ms[0] <= objectives.tpot_ms


@dataclass(frozen=True, slots=True)
class Work:
    """What one pairing asks of a device, apart from the layout."""

    architecture: Architecture
    weights: Weights
    cache: Cache
    active_parameters: int
    use_case: UseCaseSpec
    experts_over_group: bool
    draft_tokens: int
    batch_tokens: int
    """Tokens that one prefill step takes; several short requests share a step."""
    accepted: float
    """Tokens that a decode step yields for each request (1 without a draft)."""


def estimate(work: Work, layout: Layout, rates: Rates, efficiency: Efficiency, concurrency: int) -> Estimate | None:
    """Bands for a replica with that many requests in flight, or None where a peak is unknown."""
    if not (rates.flops and rates.bandwidth) or concurrency < 1:
        return None
    bands = [_point(work, layout, rates, efficiency, concurrency, i) for i in (2, 1, 0)]
    ttft, tpot, rate = (tuple(column) for column in zip(*bands, strict=True))
    low, middle, high = sorted(rate)
    return Estimate(_band(ttft), _band(tpot), (low, middle, high), concurrency)


def _band(values: Sequence[float]) -> Band:
    low, middle, high = sorted(round(v, 1) for v in values)
    return low, middle, high


def _point(
    work: Work, layout: Layout, rates: Rates, efficiency: Efficiency, concurrency: int, level: int
) -> tuple[float, float, float]:
    """TTFT ms, TPOT ms and output tokens/s per device at one level of efficiency.

    A closed loop: the requests of a rank take turns at its prefill, and each of them decodes in a step
    that all share, so that the others' prefills stretch a request's decode.
    """
    step = _decode_step(work, layout, rates, efficiency, concurrency, level)
    prefill = _prefill(work, layout, rates, efficiency, level)
    output = max(work.use_case.output_tokens.mean, 2)
    on_rank = max(concurrency / layout.dp, 1.0)
    decode = step / work.accepted
    tpot = decode + (on_rank - 1) * prefill / output
    load = min(on_rank * prefill / (on_rank * prefill + output * decode), _MOST_LOADED)
    ttft = prefill + prefill * load / (2 * (1 - load)) + step
    rate = concurrency * output / (ttft + (output - 1) * tpot) / layout.devices
    return ttft * 1e3, tpot * 1e3, round(rate, 1)


def _decode_step(
    work: Work, layout: Layout, rates: Rates, efficiency: Efficiency, concurrency: int, level: int
) -> float:
    """Seconds of one decode step of the whole replica."""
    flops, bandwidth = float(rates.flops or 0), float(rates.bandwidth or 0)
    numbers = work.architecture.numbers
    tokens = concurrency * (1 + work.draft_tokens)
    touched = 1 - (1 - numbers["experts_per_token"] / numbers["experts"]) ** tokens
    on_device = work.weights.on_device(layout, experts_over_group=work.experts_over_group)
    routed = on_device.get("routed_experts", 0)
    weight_bytes = sum(on_device.values()) - routed + routed * touched
    length = work.use_case.input_tokens.mean + work.use_case.output_tokens.mean // 2
    cache_bytes = concurrency / layout.dp * _cache_read(work, length)
    memory = (weight_bytes + cache_bytes) / (bandwidth * efficiency.bandwidth[level])
    compute = 2 * work.active_parameters * tokens / layout.devices / (flops * efficiency.compute[level])
    floor = efficiency.step_floor_ms[2 - level] / 1e3
    return max(memory, compute) + _collectives(work, layout, rates, efficiency, tokens, level) + floor


def _prefill(work: Work, layout: Layout, rates: Rates, efficiency: Efficiency, level: int) -> float:
    """Seconds to read one median request's new tokens on its data-parallel rank."""
    flops = float(rates.flops or 0) * efficiency.compute[level]
    use_case = work.use_case
    tokens = use_case.input_tokens.p50 * (1 - (use_case.prefix_reuse.value or 0))
    compute = 2 * work.active_parameters * tokens / (layout.tp * layout.pp) / flops
    floor = efficiency.step_floor_ms[2 - level] / 1e3 * max(tokens / work.batch_tokens, 0.1)
    return compute + _collectives(work, layout, rates, efficiency, tokens, level) + floor


def _cache_read(work: Work, length: int) -> float:
    """Bytes of the cache that one decode step reads for one request: selected and dense entries, and the index scan."""
    kept, numbers = work.cache, work.architecture.numbers
    indexed = sum(n * length / ratio * kept.index for ratio, n in kept.index_layers.items())
    main = 0.0
    for ratio, count in kept.main_layers.items():
        entries = length / ratio
        selected = min(entries, numbers["index_topk"]) if ratio in kept.index_layers else entries
        main += count * selected * kept.main
    return indexed + main + kept.layers * min(length, kept.window) * kept.window_entry


def _collectives(work: Work, layout: Layout, rates: Rates, efficiency: Efficiency, tokens: float, level: int) -> float:
    """Seconds of all-reduce over tensor parallel and all-to-all over expert parallel, all layers."""
    if not rates.link or layout.devices == 1:
        return 0.0
    numbers = work.architecture.numbers
    per_rank = tokens / layout.dp
    row = numbers["hidden"] * 2
    reduce = 2 * 2 * (layout.tp - 1) / layout.tp * per_rank * row
    share = (layout.ep - 1) / layout.ep
    exchange = per_rank / layout.tp * numbers["experts_per_token"] * row * 1.5 * share
    return numbers["layers"] * (reduce + exchange) / (rates.link * efficiency.link[level])


@dataclass(frozen=True, slots=True)
class PairLoad:
    """Prefill and decode apart: the work, layout and instances of both."""

    prefill: Work
    prefill_layout: Layout
    prefills: int
    decode: Work
    decode_layout: Layout
    decodes: int


def estimate_pair(
    load: PairLoad, rates: Rates, efficiency: tuple[Efficiency, Efficiency], concurrency: int
) -> Estimate | None:
    """Bands of one replica whose prefill and decode run apart, or None where a peak is unknown."""
    if not (rates.flops and rates.bandwidth) or concurrency < 1:
        return None
    bands = [_pair_point(load, rates, efficiency, concurrency, i) for i in (2, 1, 0)]
    ttft, tpot, rate = (tuple(column) for column in zip(*bands, strict=True))
    low, middle, high = sorted(rate)
    return Estimate(_band(ttft), _band(tpot), (low, middle, high), concurrency)


def _pair_point(
    load: PairLoad, rates: Rates, efficiency: tuple[Efficiency, Efficiency], concurrency: int, level: int
) -> tuple[float, float, float]:
    """TTFT ms, TPOT ms and output tokens/s per device at one level of efficiency.

    A closed loop through two stations: requests wait at the prefill ranks (M/D/1), their caches cross the
    link, and each then decodes in the steps of its rank, which no prefill stretches.
    """
    on_decode = max(concurrency // load.decodes, 1)
    step = _decode_step(load.decode, load.decode_layout, rates, efficiency[1], on_decode, level)
    service = _prefill(load.prefill, load.prefill_layout, rates, efficiency[0], level)
    ranks = load.prefills * load.prefill_layout.dp
    use_case = load.decode.use_case
    output = max(use_case.output_tokens.mean, 2)
    decode = output * step / load.decode.accepted
    moved = load.decode.cache.payload(use_case.input_tokens.p50) / (
        (rates.link or rates.bandwidth or 1) * efficiency[0].link[level]
    )
    utilization = min(concurrency * service / (ranks * (service + moved + decode)), _MOST_LOADED)
    waiting = service * utilization / (2 * (1 - utilization))
    saturated = concurrency * service / ranks - decode  # Little's law where prefill is what limits the rate
    ttft = max(service + waiting + moved, saturated) + step
    tpot = step / load.decode.accepted
    devices = load.prefills * load.prefill_layout.devices + load.decodes * load.decode_layout.devices
    rate = concurrency * output / (ttft + (output - 1) * tpot) / devices
    return ttft * 1e3, tpot * 1e3, round(rate, 1)
