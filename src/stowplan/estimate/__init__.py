"""A fitting layout and a use case in; bands for TTFT, TPOT and throughput out.

`work` counts what a token costs, `roofline` turns it into seconds of a step; here requests share the steps.
A closed loop: as many requests are in flight as the use case has, each of which starts again when it ends.
Its prefills queue on their data-parallel rank (M/D/1, Pollaczek-Khinchine), and stretch the decodes beside
them where one role does both. The factors come from the engine's profile as low, middle, high: the answer is
a band, never a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from stowplan.estimate.roofline import Demand, Shares, Station
from stowplan.profiles.engine import Efficiency
from stowplan.profiles.use_case import UseCaseSpec

Band = tuple[float, float, float]
_MOST_LOADED = 0.95
_FEWEST_OUTPUT = 2
_ROUNDS = 3
"""Until the batch of the decodes and the rate of the requests agree."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests as one replica sees them."""

    input_tokens: float
    """Mean."""
    median_input_tokens: float
    output_tokens: float
    """Mean."""
    reuse: float
    """Share of the input that a prefix cache holds."""
    concurrency: float
    """Requests in flight."""

    @property
    def length(self) -> float:
        """Tokens of a sequence half way through its answer."""
        return self.input_tokens + self.output_tokens / 2


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
class Pair:
    """Prefill and decode apart, with the instances of both in one replica."""

    prefill: Station
    prefills: int
    decode: Station
    decodes: int

    @property
    def devices(self) -> int:
        """Devices of all instances."""
        return self.prefills * self.prefill.layout.devices + self.decodes * self.decode.layout.devices


@dataclass(frozen=True, slots=True)
class Point:
    """The figures at one level of the factors."""

    ttft: float
    """Seconds."""
    tpot: float
    """Seconds."""
    rate: float
    """Output tokens per second and device."""


def load_of(use_case: UseCaseSpec, concurrency: float) -> Load:
    """The use case with that many requests in flight."""
    lengths, output = use_case.input_tokens, use_case.output_tokens
    return Load(lengths.mean, lengths.p50, output.mean, use_case.prefix_reuse.value or 0.0, concurrency)


def levels(efficiency: Efficiency) -> tuple[Shares, Shares, Shares]:
    """The factors from slow to fast."""
    slow, middle, fast = (
        Shares(
            efficiency.compute[level],
            efficiency.bandwidth[level],
            efficiency.link[level],
            efficiency.layer_floor_us[2 - level] / 1e6,
            efficiency.chunk_floor_ms[2 - level] / 1e3,
            efficiency.stall,
        )
        for level in range(3)
    )
    return slow, middle, fast


def estimate(station: Station, load: Load, efficiency: Efficiency) -> Estimate | None:
    """Bands for a replica that prefills and decodes, or None where a peak is unknown."""
    if not station.work.known or load.concurrency < 1:
        return None
    asked = demands(station, load)
    return _bands([aggregated(station, load, asked, shares) for shares in levels(efficiency)], load)


def estimate_pair(pair: Pair, load: Load, efficiency: tuple[Efficiency, Efficiency]) -> Estimate | None:
    """Bands for a replica whose prefill and decode run apart, or None where a peak is unknown."""
    if not (pair.prefill.work.known and pair.decode.work.known) or load.concurrency < 1:
        return None
    each = zip(levels(efficiency[0]), levels(efficiency[1]), strict=True)
    return _bands([disaggregated(pair, load, shares) for shares in each], load)


Demands = tuple[Demand, Demand, Demand]
"""A decode step, the prefill of a mean prompt among others, the prefill of the median prompt alone."""


def demands(station: Station, load: Load) -> Demands:
    """What a station that does both phases is asked for, the same at every level of the factors."""
    on_rank = max(load.concurrency / station.layout.dp, 1.0)
    mean = station.prefill(load.input_tokens, load.reuse, on_rank)
    median = station.prefill(load.median_input_tokens, load.reuse)
    return station.decode_step(load.concurrency, load.length), mean, median


def aggregated(station: Station, load: Load, asked: Demands, shares: Shares) -> Point:
    """Both phases in one: the requests of a rank take turns at its prefill, and their decodes wait for it."""
    output = max(load.output_tokens, _FEWEST_OUTPUT)
    step, prefill, own = (demand.seconds(shares) for demand in asked)
    on_rank = max(load.concurrency / station.layout.dp, 1.0)
    decode = step / station.accepted
    beside = on_rank - 1 + shares.stall * (load.concurrency - on_rank)
    tpot = decode + beside * prefill / output
    busy = on_rank * prefill
    ttft = _wait(prefill, busy / (busy + output * decode)) + own + step
    rate = load.concurrency * output / (ttft + (output - 1) * tpot) / station.layout.devices
    return Point(ttft, tpot, rate)


def disaggregated(pair: Pair, load: Load, shares: tuple[Shares, Shares]) -> Point:
    """Two stations: nothing stretches a decode but its batch, and the slower station sets the rate."""
    output = max(load.output_tokens, _FEWEST_OUTPUT)
    service, own = (
        pair.prefill.prefill(tokens, load.reuse).seconds(shares[0])
        for tokens in (load.input_tokens, load.median_input_tokens)
    )
    moved = pair.prefill.cache.payload(int(load.input_tokens)) / (pair.prefill.links.scale_out or float("inf"))
    ranks = pair.prefills * pair.prefill.layout.dp
    decoding, tpot, decode, ttft = load.concurrency, 0.0, 0.0, 0.0
    for _ in range(_ROUNDS):
        step = pair.decode.decode_step(max(decoding / pair.decodes, 1.0), load.length).seconds(shares[1])
        tpot = step / pair.decode.accepted
        decode = (output - 1) * tpot
        busy = _closed_loop(load.concurrency, ranks, service, own + moved + step + decode)
        requests = busy * ranks / service
        ttft = load.concurrency / requests - decode
        decoding = requests * decode
    return Point(ttft, tpot, load.concurrency * output / (ttft + decode) / pair.devices)


def _closed_loop(requests: float, ranks: int, service: float, elsewhere: float) -> float:
    """Share of the time that prefill ranks are busy with requests that come back after `elsewhere` seconds.

    The root of Little's law with the M/D/1 wait: requests = rate x (elsewhere + wait(rate)).
    """
    spread = ranks / service * elsewhere
    return 2 * requests / (spread + requests + sqrt((spread - requests) ** 2 + 2 * requests * ranks))


def _wait(service: float, busy: float) -> float:
    """Mean wait for a server that is busy that share of the time, all services being equally long (M/D/1)."""
    busy = min(busy, _MOST_LOADED)
    return service * busy / (2 * (1 - busy))


def _bands(points: Sequence[Point], load: Load) -> Estimate:
    rates = sorted(round(p.rate, 1) for p in points)
    return Estimate(
        _band([p.ttft * 1e3 for p in points]),
        _band([p.tpot * 1e3 for p in points]),
        (rates[0], rates[1], rates[2]),
        int(load.concurrency),
    )


def _band(values: Sequence[float]) -> Band:
    low, middle, high = sorted(round(v, 1) for v in values)
    return low, middle, high
