"""The cache's size in tokens is what engines print when they start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from conftest import planned

from stowplan.catalog import Catalog
from stowplan.fit.cache import Cache, cache
from stowplan.fit.capacity import METHODS
from stowplan.fit.paging import Batch, Capacity, Situation
from stowplan.fit.units import GIB
from stowplan.profiles.variant import Draft
from stowplan.versions import in_range

MI = 2**20
V41 = "deepseek-v4.1-flash"


class Log(NamedTuple):
    """One start-up log: what the engine had, and what it printed."""

    where: str
    version: str
    gib: float
    length: int
    batch: int
    reported: int
    within: float = 0.001
    index: str = "fp8"
    draft: Draft | None = None


LOGS = (
    Log("canada-quant, two RTX PRO 6000, 16,384", "0.21.1", 29.1, 16_384, 16_384, 81_623),
    Log("canada-quant, two RTX PRO 6000, 4,096", "0.21.1", 30.8, 4_096, 8_192, 86_210),
    Log("vllm issue 51041, two H20", "0.26.0", 7.71, 121_344, 8_192, 150_992, draft="mtp"),
    Log("luka-loehr, B300", "0.26.0", 79.3, MI, 32_768, int(2.84 * MI), 0.002, "fp4", "dspark"),
    Log("two RTX PRO 6000 with MTP, 2026-07-12", "0.25.0", 10.29, MI, 4_096, 1_993_100, draft="mtp"),
    Log(
        "a harness's log (version not given; the rule of 0.20 to 0.24)",
        "0.21.1",
        14.45,
        MI,
        4_096,
        2_765_705,
        draft="mtp",
    ),
    Log("two GB10 with DSpark, 2026-09-28", "0.29.0rc6", 10.0, MI, 2_048, 1_941_478, 1e-9, draft="dspark"),
    Log("two B300 without a draft, 2026-09-30", "0.30.0", 160.15, MI, 16_384, 10_319_638),
    Log("two RTX PRO 6000 with DSpark, a build of 2026-08-29", "0.28.0", 8.28, MI, 4_096, 1_249_001, draft="dspark"),
)
FORKS = (
    Log("MiaAI-Lab, two GB10 (a fork of 0.25.2)", "0.25.2", 15.55, MI, 16_384, 1_598_877, 0.013, draft="dspark"),
    Log(
        "two GB10 with MTP (a build of 0.21.1, 2026-06-21)",
        "0.21.1",
        18.65,
        200_000,
        8_192,
        1_001_650,
        0.013,
        draft="mtp",
    ),
)
"""Builds whose rules are not known: no further off than is known."""


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
    found = paging(catalog, "vllm", version, "deepseek-v4-flash", index=index, draft=draft)
    return found.capacity(available, Batch(length, batch))


def paging(
    catalog: Catalog,
    engine: str,
    version: str,
    variant: str,
    *,
    main: str = "fp8_ds_mla",
    index: str = "fp8",
    draft: Draft | None = None,
    given: tuple[str, ...] = (),
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    stages: int = 1,
) -> Any:
    """A variant's paging by the engine profile's method of that version, for what is `given` (families)."""
    fitting = [
        rule
        for rule in catalog.engines[engine].memory.capacity
        if in_range(version, rule.versions)
        and all({*getattr(rule.when, key)} & {*given} for key in rule.when.model_fields_set)
    ]
    rule = max(fitting, key=lambda rule: len(rule.when.model_fields_set))
    held = kept(catalog, variant, main, index, draft)
    return METHODS[rule.method](held, rule.numbers, Situation(flags or {}, env or {}, stages))


@pytest.mark.parametrize("log", [*LOGS, *FORKS], ids=lambda log: log.where)
def test_the_token_number_of_the_log_is_predicted(log: Log, catalog: Catalog) -> None:
    found = figures(catalog, log.version, int(log.gib * GIB), log.length, log.batch, log.index, log.draft)
    assert found.starts
    assert found.log_tokens == pytest.approx(log.reported, rel=log.within)


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


@pytest.mark.parametrize(
    ("flags", "env", "stages", "batches"),
    [
        ({}, {}, 1, 2),
        ({"--async-scheduling": False}, {}, 1, 1),
        ({}, {}, 4, 4),
        ({}, {"VLLM_USE_V2_MODEL_RUNNER": "1"}, 4, 5),
        ({"--async-scheduling": False}, {"VLLM_USE_V2_MODEL_RUNNER": "1"}, 4, 4),
    ],
)
def test_batches_in_flight_follow_the_settings_and_the_stages(
    flags: dict[str, Any], env: dict[str, str], stages: int, batches: int, catalog: Catalog
) -> None:
    found = paging(catalog, "vllm", "0.33.0", "deepseek-v4-flash", flags=flags, env=env, stages=stages)
    assert found.in_flight == batches


def test_before_asynchronous_scheduling_one_batch_is_in_flight(catalog: Catalog) -> None:
    assert paging(catalog, "vllm", "0.25.0", "deepseek-v4-flash").in_flight == 1


@pytest.mark.parametrize("draft", [None, "dspark"])
def test_pages_of_the_new_variant_are_those_of_the_engine_code(draft: Draft | None, catalog: Catalog) -> None:
    given = ("v4.1-flash", "nvidia-sm100")
    found = paging(catalog, "vllm", "0.33.0", V41, main="nvfp4", index="fp4", draft=draft, given=given)
    assert found._group_bytes == (227_840,)
    assert found.block_bytes == 228_096
    assert (found._window_page, found._window_groups) == (16_896, 4)
    tokens, flight = 100_000, 2 * 8_192
    window = -(-(127 + flight) // 32) + 1
    assert found.capacity(GIB, Batch(tokens, 8_192)).needed == 228_096 * (-(-tokens // 256) + 4 * window + 1)


@pytest.mark.parametrize(
    ("version", "variant", "flags", "stages", "bytes_per_token"),
    [
        ("0.5.12", "deepseek-v4-flash", {}, 1, 15_955.85),
        ("0.5.12.post1", "deepseek-v4-pro", {}, 4, 23_749.84),
        ("0.5.13", "deepseek-v4-pro", {"--swa-full-tokens-ratio": 0.15}, 1, 32_781.44),
        ("0.5.15.post1", "deepseek-v4-pro", {"--swa-full-tokens-ratio": 0.15}, 1, 13_735.04),
        ("0.5.18", "deepseek-v4-flash", {}, 1, 7_705.45),
        ("0.5.17", "deepseek-v4-flash", {"--speculative-algorithm": "DSPARK"}, 1, 9_259.90),
    ],
)
def test_a_token_of_the_pool_costs_what_the_log_says(
    version: str, variant: str, flags: dict[str, Any], stages: int, bytes_per_token: float, catalog: Catalog
) -> None:
    found = paging(catalog, "sglang", version, variant, flags=flags, stages=stages)
    assert found.bytes_per_token == pytest.approx(bytes_per_token, abs=0.005)


def test_a_token_of_a_pool_with_rings_of_drafts_costs_what_the_log_says(catalog: Catalog) -> None:
    flags = {"--swa-full-tokens-ratio": 0.8, "--speculative-algorithm": "EAGLE"}
    found = paging(catalog, "sglang", "0.5.12", "deepseek-v4-flash", flags=flags)
    before_release = replace(found, drafts=0)  # MI300X, 2026-05-13: the draft's layer was not yet added
    assert before_release.bytes_per_token == pytest.approx(176_983.05, abs=0.005)


DRAFTED = {"--speculative-algorithm": "DSPARK", "--speculative-num-draft-tokens": 6}


def test_a_token_of_the_new_variant_s_pool_costs_what_the_log_says(catalog: Catalog) -> None:
    found = paging(catalog, "sglang", "0.5.21", V41, index="fp4", draft="dspark", given=("v4.1-flash",), flags=DRAFTED)
    assert found.bytes_per_token == pytest.approx(1_670.75, abs=0.005)


@pytest.mark.parametrize(("batch", "slots"), [(Batch(MI, 8_192, 256), 707_840), (Batch(MI, 1_024, 4), 13_312)])
def test_the_window_is_reserved_by_requests_where_no_share_is_given(batch: Batch, slots: int, catalog: Catalog) -> None:
    given = ("v4.1-flash",)
    found = paging(catalog, "sglang", "0.5.21", V41, index="fp4", draft="dspark", given=given, flags=DRAFTED)
    assert found.cap.tokens(found.cache.window, found.page_tokens, batch) == slots
    shared = paging(
        catalog, "sglang", "0.5.21", V41, index="fp4", given=given, flags={**DRAFTED, "--swa-full-tokens-ratio": 0.1}
    )
    assert shared.cap is None


@pytest.mark.parametrize(
    ("version", "variant", "flags", "stages", "gib", "requests", "reported"),
    [
        ("0.5.12.post1", "deepseek-v4-pro", {}, 4, 35.57, 256, 1_607_936),
        ("0.5.12.post1", "deepseek-v4-pro", {}, 2, 34.81, 256, 1_573_888),
        ("0.5.15.post1", "deepseek-v4-pro", {"--swa-full-tokens-ratio": 0.15}, 1, 91.24, 64, 7_053_056),
        ("0.5.15.post1", "deepseek-v4-pro", {"--swa-full-tokens-ratio": 0.15}, 1, 118.93, 64, 9_217_792),
        ("0.5.15.post1", "deepseek-v4-pro", {"--swa-full-tokens-ratio": 0.15}, 1, 124.47, 64, 9_650_944),
        ("0.5.18", "deepseek-v4-flash", {}, 1, 6.16, 1, 852_992),
        ("0.5.12", "deepseek-v4-flash", {}, 1, 19.58, 256, 1_317_632),
    ],
)
def test_the_pool_has_the_tokens_of_the_log(
    version: str,
    variant: str,
    flags: dict[str, Any],
    stages: int,
    gib: float,
    requests: int,
    reported: int,
    catalog: Catalog,
) -> None:
    found = paging(catalog, "sglang", version, variant, flags=flags, stages=stages)
    capacity = found.capacity(int(gib * GIB), Batch(65_536, 8_192, requests))
    assert capacity.log_tokens % 256 == 0
    assert capacity.log_tokens == pytest.approx(reported, rel=0.0005)


def test_the_pool_is_no_larger_than_the_setting_allows(catalog: Catalog) -> None:
    found = paging(catalog, "sglang", "0.5.18", "deepseek-v4-flash", flags={"--max-total-tokens": 32_768})
    assert found.capacity(int(6.16 * GIB), Batch(32_768, 8_192, 1)).log_tokens == 32_768


@pytest.mark.parametrize(
    ("variant", "draft", "tuples"),
    [("deepseek-v4-flash", None, 22), ("deepseek-v4-flash", "mtp", 23), ("deepseek-v4-pro", "mtp", 32)],
)
def test_a_block_of_the_plug_in_is_its_layer_tuples(
    variant: str, draft: Draft | None, tuples: int, catalog: Catalog
) -> None:
    found = paging(catalog, "vllm-ascend", "0.23.0", variant, main="bf16", index="int8", draft=draft)
    assert found.block_bytes == tuples * (128 * 1024 + 128 * 130)


@pytest.mark.parametrize(
    ("ahead", "needed", "reported"),
    [(False, 10.55, 1_098_000), (None, 12.06, None)],
    ids=["before the patch of 2026-08-06", "as released"],
)
def test_the_plug_in_counts_every_batch_in_flight(
    ahead: bool | None, needed: float, reported: int | None, catalog: Catalog
) -> None:
    # vllm-project/vllm-ascend issue 14678: V4-Pro with MTP, 11.35 GiB; length and batch are the only round ones that give all three.
    flags = {} if ahead is None else {"--async-scheduling": ahead}
    found = paging(
        catalog, "vllm-ascend", "0.23.0", "deepseek-v4-pro", main="bf16", index="int8", draft="mtp", flags=flags
    )
    capacity = found.capacity(int(11.35 * GIB), Batch(MI, 2_048))
    assert capacity.needed / GIB == pytest.approx(needed, abs=0.006)
    assert capacity.starts == (reported is not None)
    if reported:
        assert capacity.log_tokens == pytest.approx(reported, rel=0.001)


def test_graphs_that_are_captured_last_take_nothing_from_the_cache(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-flash", "atlas-800i-a3", nodes=1)
    assert made.chosen
    fit = made.chosen.roles[0].fit
    left = fit.device_bytes - int(fit.device_bytes * fit.tuning.utilization)
    assert fit.graphs and fit.reserved + fit.graphs == left
    crowded = planned(
        catalog, "deepseek-v4-flash", "atlas-800i-a3", nodes=1, set={"flags.--gpu-memory-utilization": 0.99}
    )
    assert any("graphs need 1.5 GiB" in reason.message for reason in crowded.reasons)


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_pipeline_stages_share_the_layers(stages: int, catalog: Catalog) -> None:
    whole = kept(catalog, "deepseek-v4-pro", "fp8_ds_mla", "fp8")
    stage = whole.stage(stages)
    assert stage.layers == -(-whole.layers // stages)
    assert sum(stage.main_layers.values()) >= sum(whole.main_layers.values()) / stages
