"""The estimate: physics that must hold, figures that are published, and what a site's prices make of it."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from math import log
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import Files, Run, resolved

from stowplan.catalog import Catalog
from stowplan.estimate import Load, demands, disaggregated, estimate, levels, load_of
from stowplan.estimate import Pair as Roles
from stowplan.estimate.roofline import Links, Station
from stowplan.fit.cache import cache
from stowplan.plan.model import Plan
from stowplan.plan.speed import links, station, work
from stowplan.profiles.measurement import Measurement
from stowplan.profiles.recipe import Layout

SCRIPT = Path(__file__).parents[1] / "scripts" / "calibration.py"
MEDIAN, P90, COVERED = 0.25, 0.65, 0.75
"""Stated bounds: log ratio of a figure that the fit had not seen (0.25 is a factor of 1.28), and share inside the band."""


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(calibration: ModuleType, catalog: Catalog) -> Any:
    return calibration.runs(catalog)


@pytest.fixture(scope="module")
def fitted(calibration: ModuleType, runs: Any) -> Any:
    return calibration.fit(runs)


@pytest.fixture(scope="module")
def tested(calibration: ModuleType, runs: Any, fitted: Any) -> Any:
    return calibration.left_out(runs, fitted)


def placed(plans: dict[str, Plan], name: str) -> Station:
    """The chosen layout of a shipped pairing, as the estimate sees it."""
    chosen = plans[name].chosen
    assert chosen
    pairing, stack = plans[name].pairing, chosen.stack
    asked = work(stack, pairing.architecture, pairing.chip)
    joined = links(pairing.server, pairing.chip)
    kept = cache(pairing.architecture, main="fp8_ds_mla", index="fp8", draft=stack.draft)
    return Station(asked, kept, Layout(tp=8, ep=8), joined, 8192)


@pytest.fixture(scope="module")
def b200(plans: dict[str, Plan]) -> Station:
    return placed(plans, "v4-pro-0813.hgx-b200.chat")


# --- calibration --------------------------------------------------------------------------------


def test_the_left_out_runs_are_met_within_the_stated_bounds(calibration: ModuleType, tested: Any) -> None:
    error = calibration.errors(tested)["all"]
    half = calibration.width(error.misses)
    print(f"\n{len(error.misses)} figures: median {error.median:.2f}, p90 {error.p90:.2f}")
    assert len(error.misses) > 150
    assert error.median < MEDIAN
    assert error.p90 < P90
    assert calibration.covered(tested, half) > COVERED


def test_the_engine_profiles_hold_the_fitted_factors(
    calibration: ModuleType, catalog: Catalog, runs: Any, fitted: Any, tested: Any
) -> None:
    half = calibration.width(calibration.errors(tested)["all"].misses)
    for name, lines in calibration.entries(catalog, runs, fitted, half).items():
        text = catalog.engines.files[name].read_text(encoding="utf-8")
        assert calibration.rewrite(text, lines) == text, f"{name}: run scripts/calibration.py --write"


def test_a_family_without_runs_says_so_and_has_the_widest_band(catalog: Catalog) -> None:
    for engine in catalog.engines.values():
        for entry in engine.efficiency:
            spread = log(entry.layer_floor_us[2] / entry.layer_floor_us[0])
            measured = "published runs:" in entry.source
            assert measured or "no run of this engine on such a chip" in entry.source
            assert measured or spread > 1.3


def test_a_fit_forgets_what_is_left_out(calibration: ModuleType, runs: Any, fitted: Any) -> None:
    strange = [replace(run, measured=run.measured.model_copy(update={"tpot_ms": 1e5})) for run in runs[-1:]]
    without = calibration.fit(runs[:-1], fitted, steps=2)
    again = calibration.left_out([*runs[:-1], *strange], fitted)[-1][1]
    assert again.factors == pytest.approx(without.factors)


def test_the_order_of_the_runs_does_not_matter(calibration: ModuleType, runs: Any, fitted: Any) -> None:
    assert calibration.fit(runs[::-1]).factors == pytest.approx(fitted.factors, abs=1e-3)


def test_an_output_rate_is_the_outputs_share_of_all_tokens() -> None:
    given = {"inputTokens": 8192, "outputTokens": 1024, "concurrency": 1, "totalTokensPerSecondPerDevice": 900.0}
    assert Measurement.model_validate(given).output_rate == pytest.approx(100)


def test_both_rates_at_once_are_a_mistake() -> None:
    rates = {"totalTokensPerSecondPerDevice": 9.0, "outputTokensPerSecondPerDevice": 1.0}
    with pytest.raises(ValueError, match="only where the source prints nothing else"):
        Measurement.model_validate({"inputTokens": 8, "outputTokens": 1, "concurrency": 1, **rates})


# --- physics ------------------------------------------------------------------------------------


def test_parameters_at_work_in_a_token_are_the_published_active_ones(catalog: Catalog, plans: dict[str, Plan]) -> None:
    """All classes at the same rate: seconds times rate over two is the number of parameters that a token meets."""
    for name, variant in (
        ("v4-flash.atlas-800i-a3.chat", "deepseek-v4-flash"),
        ("v4-pro.atlas-800i-a3.search", "deepseek-v4-pro"),
    ):
        asked = placed(plans, name).work
        chip = asked.chip.model_copy(update={"formats": asked.chip.formats.model_copy(update={"native": ("bf16",)})})
        plain = replace(asked, chip=chip)
        parameters = plain.linear.on(1) * plain.rate("bf16") / 2
        assert parameters == pytest.approx(catalog.variants[variant].active_parameters.value, rel=0.08)


def test_a_class_runs_at_the_rate_of_its_own_format(b200: Station) -> None:
    rates = b200.work.chip.dense_rates
    assert b200.work.rate("mxfp4") == (rates["fp4"].value or 0) * 1e12
    assert b200.work.rate("fp8-block") == (rates["fp8"].value or 0) * 1e12
    assert b200.work.rate("f32") == (rates["bf16"].value or 0) * 1e12


def test_the_index_scan_grows_with_the_length_and_what_it_selects_does_not(b200: Station) -> None:
    near, far = b200.work.attention(100_000), b200.work.attention(800_000)
    assert far.repeated == pytest.approx(8 * near.repeated)
    assert far.divided < 8 * near.divided


def test_a_prompt_twice_as_long_takes_more_than_twice_as_long(b200: Station) -> None:
    short, long = b200.prefill(200_000, 0).compute, b200.prefill(400_000, 0).compute
    assert 2 * short < long < 4 * short


def test_a_cached_prefix_is_not_computed_but_attended_to(b200: Station) -> None:
    whole, reused, short = b200.prefill(64_000, 0), b200.prefill(64_000, 0.9), b200.prefill(6_400, 0)
    assert short.compute < reused.compute < whole.compute / 5


def test_a_step_reads_more_experts_the_more_tokens_it_has(b200: Station) -> None:
    one, many, all_ = (b200.decode_step(n, 1000).memory for n in (1, 64, 4096))
    assert one < many < all_


def test_a_layout_over_several_domains_pays_the_network(b200: Station) -> None:
    wide = replace(b200, layout=Layout(tp=1, dp=16, ep=16))
    inside = replace(wide, links=Links(b200.links.scale_up, 16, b200.links.scale_out))
    assert wide.links.domain == 8
    assert wide.decode_step(64, 1000).links > 2 * inside.decode_step(64, 1000).links


def test_tensor_parallel_over_hosts_is_slower_than_inside_one(b200: Station) -> None:
    over = replace(b200, layout=Layout(tp=16, ep=16))
    inside = replace(over, links=Links(b200.links.scale_up, 16, b200.links.scale_out))
    assert over.prefill(8192, 0).links > inside.prefill(8192, 0).links


def test_a_draft_costs_its_own_layers_and_yields_tokens(b200: Station, catalog: Catalog) -> None:
    drafting = replace(b200, draft_tokens=5)
    assert drafting.decode_step(8, 1000).layers > b200.decode_step(8, 1000).layers
    assert drafting.decode_step(8, 1000).memory > b200.decode_step(8, 1000).memory
    load = Load(8192, 8192, 1024, 0.0, 8)
    efficiency = catalog.engines["vllm"].efficiency[0]
    slow, fast = (estimate(replace(drafting, accepted=n), load, efficiency) for n in (1.0, 3.0))
    assert slow and fast
    assert fast.tpot_ms[1] < slow.tpot_ms[1]


def test_depth_is_read_from_each_engines_own_setting(runs: Any) -> None:
    depth = {run.deployment: run.station.draft_tokens for run in runs if isinstance(run.station, Station)}
    assert depth["sglang-flash-fp4-b200-low-latency"] == 3
    assert depth["sglang-flash-fp4-b200-balanced"] == 1
    assert depth["sglang-pro-fp4-b200-high-throughput"] == 0
    assert depth["ascend-ci-flash-a3-single"] == 1


def test_a_chip_without_rates_has_no_estimate(catalog: Catalog, b200: Station) -> None:
    fact = b200.work.chip.memory_bandwidth.model_copy(update={"value": None})
    asked = replace(b200.work, chip=b200.work.chip.model_copy(update={"memory_bandwidth": fact}))
    load = load_of(catalog.use_cases["chat"], 8)
    assert estimate(replace(b200, work=asked), load, catalog.engines["vllm"].efficiency[0]) is None


# --- closed loop --------------------------------------------------------------------------------


def test_output_tokens_follow_littles_law(b200: Station, catalog: Catalog) -> None:
    load = Load(8192, 8192, 1024, 0.0, 32)
    made = estimate(b200, load, catalog.engines["vllm"].efficiency[0])
    assert made
    each = made.ttft_ms[1] / 1e3 + 1023 * made.tpot_ms[1] / 1e3
    assert made.output_tokens_per_second_per_device[1] == pytest.approx(32 * 1024 / each / 8, rel=0.01)


def test_more_in_flight_means_more_tokens_and_longer_waits(b200: Station, catalog: Catalog) -> None:
    efficiency = catalog.engines["vllm"].efficiency[0]
    made = [estimate(b200, Load(4096, 4096, 512, 0.0, n), efficiency) for n in (1, 16, 128)]
    rates, waits = zip(*((e.output_tokens_per_second_per_device[1], e.tpot_ms[1]) for e in made if e), strict=True)
    assert list(rates) == sorted(rates)
    assert list(waits) == sorted(waits)


def test_prefill_apart_leaves_the_decode_alone(b200: Station, catalog: Catalog) -> None:
    shares = levels(catalog.engines["vllm"].efficiency[0])[1]
    load = Load(16_384, 16_384, 256, 0.0, 64)
    apart = disaggregated(Roles(b200, 2, b200, 2), load, (shares, shares))
    step = demands(b200, replace(load, concurrency=32))[0].seconds(shares)
    assert apart.tpot <= step * 1.01
    assert apart.rate * 32 <= 2 / b200.prefill(16_384, 0).seconds(shares) * 256


def test_more_prefill_instances_shorten_the_queue(b200: Station, catalog: Catalog) -> None:
    shares = levels(catalog.engines["vllm"].efficiency[0])[1]
    load = Load(65_536, 65_536, 128, 0.0, 64)
    one, four = (disaggregated(Roles(b200, n, b200, 1), load, (shares, shares)) for n in (1, 4))
    assert four.ttft < one.ttft


# --- cost ---------------------------------------------------------------------------------------

SITE = """
apiVersion: stowplan/v1
kind: Site
metadata: {name: priced}
spec:
  title: A site that pays
  kubernetes: "1.35"
  currency: EUR
"""


def priced(write_files: Files, run: Run, extra: str, *options: str) -> Any:
    folder = write_files({"profiles/sites/priced.yaml": SITE + extra})
    pairing = ("--variant", "deepseek-v4-flash", "--server", "hgx-h200", "--use-case", "chat", "--site", "priced")
    return run("plan", *pairing, *options, "--profiles", folder / "profiles")


def test_a_million_tokens_cost_what_the_devices_cost_while_they_are_made(write_files: Files, run: Run) -> None:
    made = priced(write_files, run, "  prices: {hgx-h200: 3.6}\n  power: {hgx-h200: 700}\n", "-o", "json").data
    bands, use_case = made["roles"][0]["estimate"], 12035 + 343
    low, middle, high = bands["outputTokensPerSecondPerDevice"]
    assert bands["costPerMillionOutputTokens"] == pytest.approx([1000 / high, 1000 / middle, 1000 / low], abs=1e-3)
    assert bands["costPerMillionTokens"][1] == pytest.approx(1000 / middle * 343 / use_case, rel=1e-2)
    assert bands["joulesPerOutputToken"] == pytest.approx([700 / high, 700 / middle, 700 / low], abs=1e-3)
    assert bands["currency"] == "EUR"


def test_a_servers_price_is_shared_by_its_devices(write_files: Files, run: Run) -> None:
    by_device = priced(write_files, run, "  prices: {hgx-h200: 3}\n", "-o", "json").data["roles"][0]["estimate"]
    by_server = priced(write_files, run, "  serverPrices: {hgx-h200: 24}\n", "-o", "json").data["roles"][0]["estimate"]
    assert by_device["costPerMillionOutputTokens"] == by_server["costPerMillionOutputTokens"]


def test_two_prices_of_one_server_are_a_mistake(write_files: Files, run: Run) -> None:
    ended = priced(write_files, run, "  prices: {hgx-h200: 3}\n  serverPrices: {hgx-h200: 24}\n")
    assert ended.code != 0
    assert "hgx-h200 is given by device and by server" in ended.err + ended.out


def test_no_price_is_assumed(write_files: Files, run: Run) -> None:
    made = priced(write_files, run, "", "-o", "json").data["roles"][0]["estimate"]
    assert not {key for key in made if "cost" in key or "joules" in key or key == "currency"}


def test_people_read_the_cost_and_what_a_layout_loses_by(write_files: Files, run: Run) -> None:
    extra = "  prices: {hgx-h200: 3}\n  power: {hgx-h200: 700}\n"
    assert "EUR for a million output tokens" in priced(write_files, run, extra, "--objective", "cost").out
    assert "J for each output token" in priced(write_files, run, extra).out
    assert (
        "EUR per million output tokens against"
        in priced(write_files, run, extra, "--objective", "cost", "--all", "-o", "wide").out
    )


def test_the_station_of_a_plan_is_that_of_its_settings(catalog: Catalog, plans: dict[str, Plan]) -> None:
    made = plans["v4-flash-0731.hgx-h200.coding-agent"]
    chosen = made.chosen
    assert chosen
    pairing = resolved(catalog, "deepseek-v4-flash-0731", "hgx-h200", "coding-agent")
    (role,) = chosen.roles
    asked, joined = work(chosen.stack, pairing.architecture, pairing.chip), links(pairing.server, pairing.chip)
    found = station(chosen.stack, role.settings, role.placement.layout, asked, joined, role.fit.cache, 4096)
    assert found.draft_tokens == 7
    assert found.accepted == 3.73
