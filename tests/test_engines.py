"""The engine profiles: where their statements come from, what is known to fail, and which flags a version knows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import planned, resolved

from stowplan import resources
from stowplan.canonical_yaml import dump
from stowplan.catalog import Catalog
from stowplan.check.profiles import check_profile
from stowplan.diagnostics import Refused
from stowplan.plan.gaps import gaps
from stowplan.plan.planner import plan
from stowplan.render.pairing import render_pairing


def sourced(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if isinstance(node, dict):
        if "source" in node:
            yield path, node
        for key, value in node.items():
            if key != "conflicts":
                yield from sourced(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from sourced(value, (*path, str(index)))


@pytest.fixture
def changed(tmp_path: Path, catalog: Catalog) -> Any:
    """The catalogue with one engine's file changed by a function."""

    def change(engine: str, edit: Any) -> Catalog:
        data = copy.deepcopy(catalog.engines.entry(engine).document.data)
        edit(data["spec"])
        path = tmp_path / "profiles" / "engines" / f"{engine}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(data), encoding="utf-8")
        return Catalog([resources.folder("profiles"), tmp_path / "profiles"])

    return change


def findings(catalog: Catalog, engine: str) -> list[str]:
    document = catalog.engines.entry(engine).document
    return [f"{d.code} {d.message}; {d.hint}" for d in check_profile(document, catalog)]


def test_everything_that_has_a_source_has_a_date_and_a_confidence(catalog: Catalog) -> None:
    found = 0
    for name in catalog.engines:
        for path, node in sourced(catalog.engines.entry(name).document.data["spec"]):
            found += 1
            assert {"as_of", "confidence"} <= {*node}, (name, path)
    assert found > 250


@pytest.mark.parametrize(
    "part",
    [
        ("rules",),
        ("layoutRules",),
        ("supports",),
        ("flagRules",),
        ("knownBad",),
        ("versions",),
        ("memory", "kvFormats"),
        ("memory", "capacity"),
    ],
)
@pytest.mark.parametrize("field", ["source", "as_of", "confidence"])
def test_a_statement_without_provenance_is_a_finding(part: tuple[str, ...], field: str, changed: Any) -> None:
    def edit(spec: dict[str, Any]) -> None:
        node: Any = spec
        for key in part:
            node = node[key]
        del node[0][field]

    with pytest.raises(Refused, match=f"the field '{field}' is missing"):
        findings(changed("vllm", edit), "vllm")


@pytest.mark.parametrize(
    ("variant", "server", "says"),
    [
        ("deepseek-v4-flash", "hgx-a100", "vllm-project/vllm issues 40851"),
        ("deepseek-v4-flash", "l40s-8x", "sgl-project/sglang pulls 33937 and 40566"),
        ("deepseek-v4.1-flash", "atlas-850-950dt", "vllm-project/vllm-ascend pull 17122"),
        ("deepseek-v4-pro", "cambricon-x8-mlu590", "Cambricon/vllm-mlu@b9925203"),
    ],
)
def test_a_documented_no_is_infeasible_with_its_source_and_no_gap(
    variant: str, server: str, says: str, catalog: Catalog
) -> None:
    made = planned(catalog, variant, server)
    assert made.verdict == "infeasible"
    said = next(r.message for r in made.reasons if r.code == "F040" and says in r.message)
    chip = catalog.servers[server].chip
    family = catalog.variants[variant].family
    assert said
    assert [g["name"] for g in gaps(catalog) if g["cells"] and f"support of {family} on {chip}" in g["name"]] == []


def test_pro_on_the_server_tier_of_950pr_takes_the_sixteen_chips_that_the_vendor_asks_for(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-pro", "atlas-850-950pr")
    assert (made.verdict, made.chosen and made.chosen.devices) == ("derived", 16)
    card = planned(catalog, "deepseek-v4-pro", "atlas-350-4p-8")
    assert card.verdict == "undocumented"
    assert {r.numbers.get("fact") for r in card.reasons} == {"vllm-ascend support of v4-pro on ascend-950pr-pcie"}


def test_a_draft_is_used_from_the_release_that_has_its_kernels(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-flash-0731", "rtx-pro-6000-8x", engine="vllm")
    assert made.chosen and (made.chosen.stack.version.version, made.chosen.stack.draft) == ("0.30.0", "dspark")
    older = planned(catalog, "deepseek-v4-flash-0731", "rtx-pro-6000-8x", engine="vllm@0.26.0")
    assert older.chosen and older.chosen.stack.draft is None


@pytest.mark.parametrize(
    ("server", "engine", "version"),
    [("hgx-h200", "vllm", "0.30.0"), ("atlas-800i-a3", "vllm-ascend", "0.27.0")],
)
def test_the_vision_model_is_planned_with_a_release_that_carries_it(
    server: str, engine: str, version: str, catalog: Catalog
) -> None:
    made = planned(catalog, "deepseek-v4-flash-vision-exp", server, engine=engine)
    assert made.chosen and made.chosen.stack.version.version == version
    assert planned(catalog, "deepseek-v4-flash-vision-exp", server, engine=f"{engine}@0.25.0").verdict == "infeasible"


def test_what_a_recipe_and_a_log_say_differently_is_told(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-flash", "rtx-pro-6000-8x", engine="vllm@0.26.0")
    assert made.chosen and made.chosen.stack.draft == "mtp"
    assert any("marks MTP as unsupported" in a for a in made.assumptions)


def test_releases_of_which_a_recipe_says_no_are_refused_and_later_ones_are_unknown(catalog: Catalog) -> None:
    stated = planned(catalog, "deepseek-v4-flash", "dgx-spark", engine="vllm@0.26.0")
    assert stated.verdict == "infeasible" and "community build" in stated.reasons[0].message
    assert planned(catalog, "deepseek-v4-flash", "dgx-spark", engine="vllm@0.33.0").verdict == "undocumented"


def test_a_no_of_one_engine_leaves_the_other_s_silence_a_missing_fact(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-pro", "mi300x-8x")
    assert made.verdict == "undocumented"
    assert [r.message for r in made.reasons if "no source shows sglang" in r.message]
    assert planned(catalog, "deepseek-v4-pro", "mi300x-8x", engine="vllm").verdict == "infeasible"


def test_a_version_that_is_known_to_fail_is_passed_over(changed: Any, catalog: Catalog) -> None:
    before = planned(catalog, "deepseek-v4-flash", "hgx-h200", engine="vllm")
    assert before.chosen
    default = before.chosen.stack.version.version
    bad = {
        "id": "x",
        "versions": f"=={default}",
        "reason": "it stops",
        "source": "measured by us, 2026-11-23",
        "as_of": "2026-11-23",
    }
    overlaid = changed("vllm", lambda spec: spec["knownBad"].append(bad | {"confidence": "primary"}))
    after = planned(overlaid, "deepseek-v4-flash", "hgx-h200", engine="vllm")
    assert after.chosen and after.chosen.stack.version.version != default
    pinned = planned(overlaid, "deepseek-v4-flash", "hgx-h200", engine=f"vllm@{default}")
    assert pinned.verdict == "infeasible"
    assert [r.message for r in pinned.reasons if r.code == "F040"] == [
        f"vllm {default}: it stops (measured by us, 2026-11-23)"
    ]


def test_what_fails_under_one_layout_only_leaves_the_others(catalog: Catalog) -> None:
    layout = {"tp": 8, "dp": 1, "ep": 1, "pp": 1}
    made = planned(catalog, "deepseek-v4-flash", "hgx-h100", engine="vllm", layout=layout)
    assert "vllm-project/vllm issue 41027" in " ".join(r.message for r in made.reasons if r.code == "F040")
    assert planned(catalog, "deepseek-v4-flash", "hgx-h100", engine="vllm").chosen


def test_what_only_degrades_is_an_assumption(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-pro", "atlas-800i-a3", "search")
    assert made.chosen
    assert [text for text in made.assumptions if "vllm-project/vllm-ascend issue 12345" in text]


def test_a_support_holds_for_the_formats_that_it_was_shown_with(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-flash", "mi300x-8x")
    assert made.chosen
    assert made.chosen.stack.checkpoint.format == "fp8"
    native = planned(catalog, "deepseek-v4-flash", "mi300x-8x", checkpoint="deepseek-ai/DeepSeek-V4-Flash")
    assert native.verdict == "undocumented"


def test_a_draft_counts_in_the_estimate_whatever_the_flag_is_called(catalog: Catalog) -> None:
    where = ("deepseek-v4-flash", "hgx-h200")
    pins: dict[str, Any] = {"engine": "sglang", "layout": {"tp": 4, "dp": 1, "ep": 1, "pp": 1}}
    off = dict.fromkeys(
        f"flags.--speculative-{x}" for x in ("algorithm", "num-steps", "eagle-topk", "num-draft-tokens")
    )
    drafted, plain = planned(catalog, *where, **pins), planned(catalog, *where, **pins, set=off)
    assert drafted.chosen and drafted.chosen.estimate and plain.chosen and plain.chosen.estimate
    assert drafted.chosen.estimate.tpot_ms[1] < plain.chosen.estimate.tpot_ms[1]


def test_dspark_runs_on_the_first_engine_version_that_has_it_and_not_with_data_parallel_attention(
    catalog: Catalog,
) -> None:
    alone = {"tp": 8, "dp": 1, "ep": 1, "pp": 1}
    made = planned(catalog, "deepseek-v4-flash-0731", "hgx-b200", engine="sglang", layout=alone)
    assert made.chosen and made.chosen.stack.draft == "dspark"
    assert made.chosen.roles[0].settings.get("flags", "--speculative-algorithm") == "DSPARK"
    spread = planned(
        catalog, "deepseek-v4-flash-0731", "hgx-b200", engine="sglang", layout={"tp": 1, "dp": 8, "ep": 8, "pp": 1}
    )
    assert spread.chosen and spread.chosen.roles[0].settings.get("flags", "--speculative-algorithm") is None
    forced = resolved(
        catalog,
        "deepseek-v4-flash-0731",
        "hgx-b200",
        engine="sglang",
        layout={"tp": 1, "dp": 8, "ep": 8, "pp": 1},
        set={"flags.--speculative-algorithm": "DSPARK"},
    )
    assert "does not go with data-parallel attention" in " ".join(r.message for r in plan(forced).reasons)


def test_v41_takes_the_sglang_release_that_carries_it(catalog: Catalog) -> None:
    made = planned(
        catalog, "deepseek-v4.1-flash", "hgx-b200", engine="sglang", layout={"tp": 4, "dp": 1, "ep": 4, "pp": 1}
    )
    assert made.chosen and made.chosen.stack.version.version == "0.5.21"
    flags = made.chosen.roles[0].settings.flags
    assert (flags["--ep-size"], flags["--reasoning-parser"]) == (4, "deepseek-v41")
    assert "--moe-a2a-backend" not in flags
    assert planned(catalog, "deepseek-v4.1-flash", "hgx-b200", engine="sglang@0.5.20").verdict == "undocumented"


def rule(flag: str, **when: Any) -> dict[str, Any]:
    return {
        "id": "ours",
        "when": when,
        "set": {"flags": {flag: 1}},
        "reason": "a test",
        "source": "measured by us, 2026-11-23",
        "as_of": "2026-11-23",
        "confidence": "estimate",
    }


@pytest.mark.parametrize(
    ("when", "lacking"),
    [
        ({}, "0.25.0"),
        ({"version": ">=0.25.0"}, "0.25.0"),
        ({"version": ">=0.26.0"}, ""),
        ({"chipFamily": "amd"}, ""),  # its first image is of 0.26.0
        ({"variantFamily": "v4.1-flash"}, ""),  # supported from 0.30.0 on
        ({"draft": "mtp"}, "0.25.0"),
    ],
)
def test_a_rule_s_flag_exists_at_every_version_at_which_the_rule_can_hold(
    when: dict[str, str], lacking: str, changed: Any
) -> None:
    def edit(spec: dict[str, Any]) -> None:
        spec["flags"]["--ours"] = {"type": "int", "versions": ">=0.26.0"}
        spec["rules"].append(rule("--ours", **when))

    found = findings(changed("vllm", edit), "vllm")
    sentence = (
        f"C006 rule 'ours' sets --ours, which the engine does not know at {lacking}; versions that know it: >=0.26.0"
    )
    assert [text for text in found if text.startswith(sentence)] == (found if lacking else [])
    assert len(found) == bool(lacking)


def test_a_plug_in_s_rule_is_held_against_the_engine_that_it_extends(changed: Any) -> None:
    found = findings(changed("vllm-ascend", lambda spec: spec["rules"].append(rule("--watermark"))), "vllm-ascend")
    assert found
    assert "the engine does not know at 0.23.0" in found[0]  # --watermark came with vLLM 0.24


def test_a_flag_rule_and_a_field_are_held_against_the_versions_too(changed: Any) -> None:
    limit = {k: v for k, v in rule("--x").items() if k not in ("set", "when")}

    def edit(spec: dict[str, Any]) -> None:
        spec["flags"]["--ours"] = {"type": "int", "versions": ">=0.30.0"}
        spec["flagRules"].append(limit | {"setting": "flags.--ours.inner", "allowed": [1]})
        spec["flagRules"].append(limit | {"id": "theirs", "setting": "env.NO_SUCH_NAME", "allowed": []})
        spec["fields"]["port"] = {"flag": "--ours"}
        spec["multiNode"]["flags"]["headless"] = "--no-such-flag"

    found = " ".join(findings(changed("vllm", edit), "vllm"))
    for words in (
        "flag rule 'ours' limits --ours, which the engine does not know at 0.25.0, 0.26.0",
        "flag rule 'theirs' limits NO_SUCH_NAME, which is not among the engine's variables",
        "'port' is --ours, which the engine does not know at 0.25.0, 0.26.0",
        "'headless' is --no-such-flag, which no version of the engine knows",
    ):
        assert words in found


def test_rules_for_two_sizes_of_one_dimension_never_disagree(changed: Any) -> None:
    def edit(spec: dict[str, Any]) -> None:
        first, second = rule("--seed", tp=4), rule("--seed", tp=8)
        second |= {"id": "ours-too", "set": {"flags": {"--seed": 2}}}
        spec["rules"] += [first, second]

    assert findings(changed("vllm", edit), "vllm") == []


def prerequisites(catalog: Catalog, *where: str, **pins: Any) -> str:
    made = planned(catalog, *where, **pins)
    return next(a.text for a in render_pairing(made) if a.path.endswith("PREREQUISITES.md"))


def test_the_oldest_driver_of_the_image_is_a_prerequisite(catalog: Catalog) -> None:
    text = prerequisites(catalog, "deepseek-v4-flash-0731", "hgx-h200")
    assert (
        "On each host a driver of version 580 or newer, or what the device layer asks for where that is newer: the engine's image is built with CUDA 13.0"
        in text
    )
    ascend = prerequisites(catalog, "deepseek-v4-flash", "atlas-800i-a3")
    assert "On each host a driver that its vendor lists for them: the engine's image is built with CANN 9.1.0" in ascend


def test_nothing_is_said_of_what_the_site_s_own_image_was_built_with(catalog: Catalog) -> None:
    text = prerequisites(catalog, "deepseek-v4-flash", "cambricon-x8-mlu590", "chat-short", site="mlu-example")
    assert "On each host" not in text
