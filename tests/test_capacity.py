"""The cache's size in tokens is what engines print when they start."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from stowplan.catalog import Catalog
from stowplan.fit.cache import Cache, cache
from stowplan.fit.capacity import METHODS
from stowplan.fit.paging import Batch, Capacity, Situation
from stowplan.fit.units import GIB
from stowplan.profiles.variant import Draft
from stowplan.versions import in_range

MI = 2**20


class Log(NamedTuple):
    """One start-up log: what the engine had, what we predict, what it printed."""

    where: str
    version: str
    gib: float
    length: int
    batch: int
    predicted: int
    reported: int
    index: str = "fp8"
    draft: Draft | None = None


LOGS = (
    Log("canada-quant, RTX PRO 6000, 16,384", "0.21.1", 29.1, 16_384, 16_384, 81_609, 81_623),
    Log("canada-quant, RTX PRO 6000, 4,096", "0.21.1", 30.8, 4_096, 8_192, 86_205, 86_210),
    Log("vllm issue 51041, 2 x H20", "0.26.0", 7.7, 121_344, 8_192, 150_982, 150_000),
    Log("luka-loehr, B300", "0.26.0", 79.3, MI, 32_768, int(2.842 * MI), int(2.84 * MI), "fp4", "dspark"),
)


def kept(catalog: Catalog, variant: str, main: str, index: str, draft: Draft | None = None) -> Cache:
    return cache(catalog.architecture(variant), main=main, index=index, draft=draft)


def figures(
    catalog: Catalog,
    version: str,
    available: int,
    length: int,
    batch: int,
    index: str = "fp8",
    draft: Draft | None = None,
) -> Capacity:
    """Flash's capacity by the engine profile's method of that version."""
    rule = next(m for m in catalog.engines["vllm"].memory.capacity if in_range(version, m.versions))
    settings = Batch(length, batch)
    held = kept(catalog, "deepseek-v4-flash", "fp8_ds_mla", index, draft)
    return METHODS[rule.method](held, rule.numbers, Situation()).capacity(available, settings)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.where)
def test_the_token_number_of_the_log_is_predicted(log: Log, catalog: Catalog) -> None:
    found = figures(catalog, log.version, int(log.gib * GIB), log.length, log.batch, log.index, log.draft)
    assert found.starts
    assert found.log_tokens == pytest.approx(log.predicted, rel=0.0005)
    assert found.log_tokens == pytest.approx(log.reported, rel=0.01)


def test_a_fork_is_off_by_no_more_than_is_known(catalog: Catalog) -> None:
    found = figures(catalog, "0.25.2", int(15.55 * GIB), MI, 16_384, draft="dspark")
    assert found.log_tokens == pytest.approx(1_598_877, rel=0.013)


def test_an_engine_that_refused_its_length_is_predicted_not_to_start(catalog: Catalog) -> None:
    found = figures(catalog, "0.22.0", int(5.44 * GIB), 30_000, 16_384)
    assert not found.starts
    assert found.needed / GIB == pytest.approx(6.66, abs=0.005)


def test_the_length_that_the_same_engine_offered_is_predicted_to_need_what_it_had(catalog: Catalog) -> None:
    found = figures(catalog, "0.22.0", int(5.4404 * GIB), 13_528, 16_384)
    assert found.starts
    assert found.needed / GIB == pytest.approx(5.4404, abs=0.0001)
    assert not figures(catalog, "0.22.0", found.needed - 1, 13_528, 16_384).starts


@pytest.mark.parametrize(
    ("variant", "main", "index", "per_token"),
    [
        ("deepseek-v4-flash", "fp8_ds_mla", "fp8", 3850),
        ("deepseek-v4-flash", "fp8_ds_mla", "fp4", 3514),
        ("deepseek-v4-pro", "fp8_ds_mla", "fp8", 5511),
        ("deepseek-v4-pro", "fp8_ds_mla", "fp4", 5031),
        ("deepseek-v4-pro", "bf16", "bf16", 9848),
        ("deepseek-v4.1-flash", "nvfp4", "fp4", 890),
        ("deepseek-v4.1-flash", "mxfp8", "fp4", 1490),
        ("deepseek-v4.1-flash", "fp8_ds_mla", "fp4", 1630),
    ],
)
def test_a_token_of_a_long_sequence_costs_its_known_bytes(
    variant: str, main: str, index: str, per_token: int, catalog: Catalog
) -> None:
    assert int(kept(catalog, variant, main, index).bytes_per_token) == per_token


@pytest.mark.parametrize(
    ("variant", "main", "index", "gib"),
    [
        ("deepseek-v4-flash", "fp8_ds_mla", "fp8", 3.76),
        ("deepseek-v4-flash", "fp8_ds_mla", "fp4", 3.43),
        ("deepseek-v4-pro", "fp8_ds_mla", "fp8", 5.38),
        ("deepseek-v4-pro", "fp8_ds_mla", "fp4", 4.91),
        ("deepseek-v4-pro", "bf16", "bf16", 9.617),
        ("deepseek-v4.1-flash", "nvfp4", "fp4", 0.869),
    ],
)
def test_a_sequence_of_a_million_tokens_costs_its_known_bytes(
    variant: str, main: str, index: str, gib: float, catalog: Catalog
) -> None:
    assert kept(catalog, variant, main, index).bytes_per_token * MI / GIB == pytest.approx(gib, abs=0.006)


@pytest.mark.parametrize(("variant", "mib"), [("deepseek-v4-flash", 11.6), ("deepseek-v4-pro", 17.8)])
def test_the_running_state_of_the_compressors_has_its_known_bytes(variant: str, mib: float, catalog: Catalog) -> None:
    assert kept(catalog, variant, "fp8_ds_mla", "fp8").state_bytes / MI == pytest.approx(mib, abs=0.05)


def test_a_payload_is_growth_and_window_and_state(catalog: Catalog) -> None:
    held = kept(catalog, "deepseek-v4-pro", "bf16", "bf16")
    window = held.payload(MI) - int(held.bytes_per_token * MI) - held.state_bytes
    assert window / MI == pytest.approx(7.6, abs=0.05)


def test_every_version_of_an_engine_has_one_capacity_method(catalog: Catalog) -> None:
    for name, engine in catalog.engines.items():
        for version in engine.versions:
            rules = [m for m in engine.memory.capacity if in_range(version.version, m.versions)]
            assert rules, (name, version.version)
            assert all(rule.method in METHODS for rule in rules)


@pytest.mark.parametrize(
    ("version", "index", "draft", "block_bytes"),
    [
        ("0.22.0", "fp8", None, 22 * 47_808),
        ("0.22.0", "fp4", "dspark", 23 * 47_808),
        ("0.26.0", "fp8", None, 1_039_680),
        ("0.26.0", "fp4", "dspark", 1_077_120),
        ("0.33.0", "fp8", None, 1_002_240),
        ("0.33.0", "fp4", None, 917_568),
    ],
)
def test_a_block_of_the_pool_has_its_known_bytes(
    version: str, index: str, draft: Draft | None, block_bytes: int, catalog: Catalog
) -> None:
    found = figures(catalog, version, 10 * block_bytes, 4096, 2048, index, draft)
    assert found.kv_cache_bytes == 10 * block_bytes
    assert figures(catalog, version, 10 * block_bytes - 1, 4096, 2048, index, draft).kv_cache_bytes == 9 * block_bytes
