"""Laws of the ledger and of capacity, over every engine's rules and every variant's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import planned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laws.strategies import CATALOG, cells
from stowplan.fit.cache import Cache, cache
from stowplan.fit.capacity import METHODS
from stowplan.fit.paging import Batch, Paging, Situation
from stowplan.fit.weights import weights
from stowplan.profiles.recipe import Layout

slow = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FLAGS: list[dict[str, Any]] = [
    {},
    {"--swa-full-tokens-ratio": 0.3},
    {"--speculative-algorithm": "EAGLE", "--speculative-num-draft-tokens": 4},
    {"--disable-radix-cache": True, "--max-total-tokens": 1_000_000},
    {"--async-scheduling": False},
]


def pagings() -> Iterator[tuple[str, Any, Cache]]:
    """Each capacity rule of each engine with each cache that it may have to page."""
    for name, engine in CATALOG.engines.items():
        for rule in engine.memory.capacity:
            for variant in CATALOG.variants:
                families = rule.when.variant_family
                if families and CATALOG.variants[variant].family not in families:
                    continue
                spec = CATALOG.architecture(variant)
                newer = CATALOG.variants[variant].family == "v4.1-flash"
                if rule.method == "blocks" and newer is not bool(families):
                    continue  # the general rule of blocks is for the older family
                for draft in (None, *spec.drafts):
                    for formats in engine.memory.kv_formats:
                        if formats.main in spec.kv.main and formats.index in spec.kv.index:
                            yield name, rule, cache(spec, main=formats.main, index=formats.index, draft=draft)


PAGINGS = list(pagings())
stages, flags = st.sampled_from([1, 2, 4]), st.sampled_from(FLAGS)
lengths, batches, sequences = st.integers(1, 2**20), st.integers(1, 2**16), st.integers(1, 2048)
sizes = st.integers(0, 2**38)


def made(entry: tuple[str, Any, Cache], given_flags: dict[str, Any], of_stages: int = 1) -> Paging:
    _, rule, held = entry
    return METHODS[rule.method](held, rule.numbers, Situation(given_flags, {}, of_stages))


@many
@given(st.sampled_from(PAGINGS), flags, stages, sizes, sizes, lengths, batches, sequences)
def test_more_bytes_never_mean_fewer_tokens(
    entry: Any, given_flags: dict[str, Any], of: int, size: int, more: int, length: int, batch: int, running: int
) -> None:
    paging, limits = made(entry, given_flags, of), Batch(length, batch, running)
    small, large = paging.capacity(size, limits), paging.capacity(size + more, limits)
    assert 0 <= small.log_tokens <= large.log_tokens
    assert 0 <= small.kv_cache_bytes <= size
    assert small.concurrency <= large.concurrency
    assert large.starts or not small.starts
    assert paging.requests(size, length, limits) <= paging.requests(size + more, length, limits)


@many
@given(st.sampled_from(PAGINGS), flags, stages, lengths, lengths, batches, sequences)
def test_a_longer_maximum_never_needs_less(
    entry: Any, given_flags: dict[str, Any], of: int, one: int, other: int, batch: int, running: int
) -> None:
    paging = made(entry, given_flags, of)
    short, long = (Batch(length, batch, running) for length in sorted((one, other)))
    assert paging.capacity(2**34, short).needed <= paging.capacity(2**34, long).needed
    assert paging.requests(2**36, short.max_model_len, long) >= paging.requests(2**36, long.max_model_len, long)


@many
@given(st.sampled_from(PAGINGS), flags, lengths, batches, batches, sequences, sequences)
def test_larger_limits_never_need_less(
    entry: Any, given_flags: dict[str, Any], length: int, one: int, other: int, few: int, some: int
) -> None:
    paging = made(entry, given_flags)
    (small, large), (fewer, more) = sorted((one, other)), sorted((few, some))
    least = paging.capacity(2**34, Batch(length, small, fewer)).needed
    assert least <= paging.capacity(2**34, Batch(length, large, fewer)).needed
    assert least <= paging.capacity(2**34, Batch(length, small, more)).needed


@many
@given(st.sampled_from([entry for entry in PAGINGS if entry[1].method == "payload"]), lengths)
def test_a_stage_keeps_no_more_than_the_whole(entry: Any, length: int) -> None:
    one, four = (made(entry, {}, of).capacity(2**34, Batch(length, 1)).needed for of in (1, 4))
    assert four <= one <= 4 * four


def test_a_request_that_needs_a_capacity_gets_it() -> None:
    """What a rule says is needed is the least with which it serves the length."""
    for entry in PAGINGS:
        paging, limits = made(entry, {}), Batch(100_000, 8192, 16)
        needed = paging.capacity(2**34, limits).needed
        assert paging.capacity(needed, limits).starts
        assert not paging.capacity(needed - 1, limits).starts
        tokens = paging.capacity(needed, limits).log_tokens
        assert tokens >= limits.max_model_len * (entry[1].method != "blocks"), entry[:2]


CHECKPOINTS = [(name, c) for name, variant in CATALOG.variants.items() for c in variant.checkpoints]
powers = st.sampled_from([1, 2, 4, 8])


@slow
@given(st.sampled_from(CHECKPOINTS), powers, powers, st.sampled_from([1, 2, 3, 4]), st.booleans())
def test_no_byte_of_the_weights_is_lost(named: tuple[str, Any], tp: int, dp: int, pp: int, over: bool) -> None:
    name, checkpoint = named
    held = weights(CATALOG.architecture(name), checkpoint, checkpoint.draft)
    for ep in (1, tp * dp):
        layout = Layout(tp=tp, dp=dp, ep=ep, pp=pp)
        device = held.on_device(layout, experts_over_group=over)
        assert sum(device.values()) * layout.devices >= held.total
        assert sum(device.values()) <= held.total + len(device)
        wider = held.on_device(layout.model_copy(update={"tp": 2 * tp}), experts_over_group=over)
        assert sum(wider.values()) <= sum(device.values())


@slow
@given(cells)
def test_the_lines_of_the_ledger_are_its_parts(cell: tuple[str, str, str]) -> None:
    for candidate in planned(CATALOG, *cell).candidates[:5]:  # none where nothing documents the cell
        fit = candidate.roles[0].fit
        assert all(line.formula and line.source for line in fit.lines)
        assert sum(line.bytes for line in fit.lines) + fit.free == fit.device_bytes
        counted = {line.name: line.bytes for line in fit.host_lines if line.name != "page cache"}
        assert sum(counted.values()) == fit.host_pinned + fit.host_shared + fit.host_process
        assert bool(fit.shortfall) or fit.free >= 0


@pytest.mark.parametrize("value", [True, None, {"cpu_offload": True}, {"cpu_offload": False}])
def test_engram_tables_are_in_one_memory(value: Any) -> None:
    """The tables are on the devices, divided over tensor parallel, or once in the host's memory."""
    pins = {} if value is True else {"flags.--engram-config": value}
    plan = planned(
        CATALOG, "deepseek-v4.1-flash", "hgx-b300", engine="vllm@0.30.0", layout={"tp": 4, "dp": 1, "ep": 1}, set=pins
    )
    fit = (plan.chosen or plan.candidates[0]).roles[0].fit
    on_device = value == {"cpu_offload": False}
    tables = 188.83 * 2**30
    assert ("engram" in fit.weights) is on_device
    if on_device:
        assert fit.host_pinned == 0
        assert fit.weights["engram"] == pytest.approx(tables / 4, rel=0.001)
    else:
        assert fit.host_pinned == pytest.approx(tables, rel=0.001)
