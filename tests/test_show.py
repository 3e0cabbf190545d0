"""`show` and `list checkpoints` as people read them: nothing that a file says is lost, whatever the shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import pytest
from conftest import Files, Run
from hypothesis import given
from hypothesis import strategies as st

from stowplan.catalog import Catalog
from stowplan.catalog.facts import statements
from stowplan.cli.entry import entry_page
from stowplan.cli.tables import COLUMNS, markdown_table
from stowplan.profiles.recipe import EVIDENCE, Evidence

KINDS = (
    "chips",
    "device-layers",
    "engines",
    "pairings",
    "platforms",
    "quantizers",
    "recipes",
    "servers",
    "sites",
    "use-cases",
    "variants",
)
ENDS_A_CELL = re.compile(r"(?<!\\)(?:\\\\)*\|")


def squeezed(text: str) -> str:
    return " ".join(text.split())


def entries(catalog: Catalog) -> Iterator[tuple[str, str]]:
    for kind, shelf in catalog.shelves.items():
        for name in shelf:
            yield kind, name
    for spec in catalog.variants.values():
        for checkpoint in spec.checkpoints:
            yield "checkpoints", checkpoint.id


def sourced(data: Any) -> Iterator[dict[str, Any]]:
    """Mappings of a file that say who says so."""
    if isinstance(data, dict):
        if "source" in data:
            yield data
        for value in data.values():
            yield from sourced(value)
    elif isinstance(data, list):
        for value in data:
            yield from sourced(value)


def words(value: Any) -> Iterator[str]:
    """The scalars below a value, as they are shown."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if str(key).startswith("--"):
                yield str(key)
            yield from words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, float):
        yield f"{value:.15g}"
    elif value is not None:
        yield squeezed(str(value))


def table_rows(lines: list[str]) -> Iterator[list[str]]:
    """Cells of the rows of a Markdown table, split where a reader of GitHub's flavour splits."""
    for line in lines:
        ends = [match.end() for match in ENDS_A_CELL.finditer(line)]
        yield [line[a : b - 1].strip() for a, b in pairwise(ends)]


def unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", r"\1", cell).replace("&lt;", "<")


def test_every_fact_with_a_source_is_shown_with_its_value_and_its_source(catalog: Catalog) -> None:
    pages = {key: squeezed(entry_page(*key, catalog).text(fold=True)) for key in entries(catalog)}
    lost = []
    for statement in statements(catalog):
        shown, data = pages[statement.kind, statement.name], statement.data
        said = [*words(data.get("value")), *words(data.get("note")), *words(data.get("settledBy"))]
        said += [*words(data["source"]), *words(data.get("as_of")), data["confidence"], *words(data.get("unit"))]
        said += [
            *words(data.get("usedBecause")),
            *(w for c in data.get("conflicts", ()) for w in words(list(c.values()))),
        ]
        lost += [(statement.kind, statement.name, statement.key, word) for word in said if word not in shown]
        if "value" in data and data["value"] is None and "unknown" not in shown:
            lost.append((statement.kind, statement.name, statement.key, "unknown"))
    assert lost == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_an_entry_says_is_lost(kind: str, catalog: Catalog) -> None:
    """Flags alone are counted and not listed; JSON inside a line has its quotes."""
    lost = []
    for entry in catalog.shelves[kind].entries():
        shown = (
            squeezed(entry_page(kind, entry.name, catalog).text(fold=True)).replace("\\\\", "\\").replace('\\"', '"')
        )
        data = {key: value for key, value in entry.document.data["spec"].items() if key != "flags"}
        leaves = {word for value in data.values() for word in words(value)}
        lost += [(entry.name, word) for word in leaves if word not in shown]
    assert lost == []


@pytest.mark.parametrize("kind", [*KINDS, "checkpoints"])
def test_every_name_of_a_list_can_be_shown(kind: str, run: Run, catalog: Catalog) -> None:
    names = [row["name"] for row in run("list", kind, "-o", "json").data]
    assert names == [name for word, name in entries(catalog) if word == kind]
    for name in (names[0], names[-1]):
        ended = run("show", kind, name)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == entry_page(kind, name, catalog).text(fold=True)
        assert ended.out.startswith("name") and name in ended.out


def test_text_is_folded_and_no_word_of_it_is_broken(catalog: Catalog) -> None:
    for key in entries(catalog):
        page = entry_page(*key, catalog)
        wide = [line for line in page.text(fold=True).splitlines() if len(line) > COLUMNS]
        assert [line for line in wide if len(line.split()) > 2] == [], key
        assert squeezed(page.text(fold=True)) == squeezed(page.text(fold=False)), key


@pytest.mark.parametrize("kind", [*KINDS, "checkpoints"])
def test_tables_in_markdown_parse_and_keep_every_source(kind: str, catalog: Catalog) -> None:
    for word, name in entries(catalog):
        if word != kind:
            continue
        lines = entry_page(kind, name, catalog).markdown().splitlines()
        assert lines[0] == f"## {name}"
        cells: list[str] = []
        for block in "\n".join(lines).split("\n\n"):
            table = block.splitlines()
            if table[0].startswith("|"):
                rows = list(table_rows(table))
                assert {len(row) for row in rows} == {len(rows[0])}, (name, table[0])
                cells += [unescaped(cell) for row in rows for cell in row]
        data = {} if kind == "checkpoints" else catalog.shelves[kind].entry(name).document.data["spec"]
        missing = [s["source"] for s in sourced(data) if not any(squeezed(s["source"]) in cell for cell in cells)]
        assert missing == [], name


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=3))
def test_any_text_comes_back_out_of_a_markdown_table(rows: list[list[str]]) -> None:
    _, _, *made = table_rows(list(markdown_table(["a", "b"], rows)))
    assert [[unescaped(cell) for cell in row] for row in made] == [
        [squeezed(text.replace("&lt;", "<")) for text in row] for row in rows
    ]


@pytest.mark.parametrize("kind", [*KINDS, "checkpoints"])
def test_markdown_on_the_command_line_is_the_page_of_the_reference(kind: str, run: Run, catalog: Catalog) -> None:
    name = next(name for word, name in entries(catalog) if word == kind)
    assert run("show", kind, name, "-o", "markdown").out == entry_page(kind, name, catalog).markdown()


def test_data_for_programs_is_whole(run: Run, catalog: Catalog) -> None:
    for kind, shelf in catalog.shelves.items():
        name = next(iter(shelf))
        data = run("show", kind, name, "-o", "json").data
        assert {*shelf.entry(name).document.data["spec"]} < {*data}
        assert {"name", "computed"} <= {*data}
    kept = run("show", "variants", "deepseek-v4-flash", "-o", "json").data["computed"]["KV cache of one sequence"]
    assert {"entries", "indexer", "B/token"} <= {*kept[0]}


PUBLISHED = {
    ("deepseek-v4-flash", "fp8_ds_mla", "fp8"): ("3,850.25", "3.760"),
    ("deepseek-v4-flash", "fp8_ds_mla", "fp4"): ("3,514.25", "3.432"),
    ("deepseek-v4-pro", "fp8_ds_mla", "fp8"): ("5,511.44", "5.382"),
    ("deepseek-v4-pro", "fp8_ds_mla", "fp4"): ("5,031.44", "4.914"),
    ("deepseek-v4-pro", "bf16", "bf16"): ("9,848.00", "9.617"),
    ("deepseek-v4.1-flash", "nvfp4", "fp4"): ("890.00", "0.869"),
    ("deepseek-v4.1-flash", "mxfp8", "fp4"): ("1,490.00", "1.455"),
    ("deepseek-v4.1-flash", "fp8_ds_mla", "fp4"): ("1,630.00", "1.592"),
}
"""Bytes of a token and GiB of 1,048,576 tokens, as the model cards, the launch posts and engine logs give them."""


@pytest.mark.parametrize(("variant", "main", "index"), PUBLISHED)
def test_the_cache_of_a_variant_is_the_published_one(variant: str, main: str, index: str, run: Run) -> None:
    rows = [line.split() for line in run("show", "variants", variant).out.splitlines()]
    (row,) = (row for row in rows if row[:2] == [main, index])
    assert tuple(row[2:4]) == PUBLISHED[variant, main, index]


def test_a_variant_tells_what_runs_it_with_which_parsers_and_drafts(run: Run) -> None:
    shown = squeezed(run("show", "variants", "deepseek-v4-flash-0731").out)
    assert "license MIT" in shown
    assert "runs.vllm-ascend from 0.25.0 chipFamilies ascend-a2, ascend-a3; draft dspark; versions >=0.25.0" in shown
    assert "parsers.sglang --tool-call-parser deepseekv4, --reasoning-parser deepseek-v4" in shown
    assert "draftModules.dspark 10.863 GB" in shown
    assert "routed_experts int8-channel-offset" in shown
    assert "namedBy.pairings v4-flash-0731.atlas-850-950pr.coding-agent, v4-flash-0731.hgx-h200.coding-agent" in shown


def test_an_engine_shows_what_only_its_file_used_to(run: Run) -> None:
    shown = squeezed(run("show", "engines", "vllm-ascend").out)
    for part in (
        "versions.0.23.0.stack.ascend libraries: CANN 9.1.0, torch 2.10.0, torch_npu 2.10.0.post4,",
        "ascend-a3 quay.io/ascend/vllm-ascend:v0.23.0-a3",
        "knownBad.a3-pd-0-26-rc1",
        "rules.int8-weights when: chipFamily ascend-int8, checkpointFormat w8a8 or w4a8",
        "set.flags: --quantization ascend",
        "layoutRules.no-pipeline method: pp-at-most numbers: 1",
        "flagRules.native-950-quantization setting: flags.--quantization",
        "allowed: none",
        "memory.capacity.0 versions: >=0.23.0,<0.25.0 method: blocks",
        "entries with those of vllm",
    ):
        assert part in shown, part
    upstream = run("show", "engines", "vllm")
    flags = len(run("show", "engines", "vllm", "-o", "json").data["flags"])
    assert f"{flags} entries" in upstream.out
    assert "flagsRead.0.20.0" in upstream.out


def test_a_recipe_shows_its_layout_its_settings_and_its_differences(run: Run) -> None:
    shown = squeezed(run("show", "recipes", "dynamo-flash-h200-pd-4p3d").out)
    assert (
        "roles.decode nodes: 1 layout: tp 1, dp 4, ep 4, pp 1 instances: 3 set.flags: --attention-backend FLASHINFER_MLA"
        in shown
    )
    assert "evidence vendor_recipe_benchmarked" in shown
    assert "published.measurements. dataset agentic; inputTokens 65536; outputTokens 400; concurrency 128;" in shown
    assert "differences.image documented:" in shown and "a release candidate in a staging registry" in shown


def test_a_server_tells_how_devices_are_asked_for_and_what_runs_there(run: Run) -> None:
    shown = squeezed(run("show", "servers", "atlas-800i-a3").out)
    assert "chip.memoryMib 65536 MiB" in shown
    assert "devices.ascend-mindcluster huawei.com/Ascend910" in shown
    assert "runs.v4-pro.vllm-ascend from 0.23.0" in shown
    assert "namedBy.recipes" in shown


def test_a_conflict_says_who_says_what_and_why_the_value_is_used(run: Run) -> None:
    shown = squeezed(run("show", "chips", "ascend-950pr-pcie").out)
    assert "memoryMib 114688 MiB [primary, 2026-11-23] CANN platform_config" in shown
    assert "others say: 131072 MiB [primary, 2026-08-12] vllm-project/recipes pull 793" in shown
    assert "used because: it is the figure of the SoC that the Atlas 350 card carries" in shown


def test_checkpoints_are_listed_over_all_variants(run: Run, catalog: Catalog) -> None:
    rows = {row["name"]: row for row in run("list", "checkpoints", "-o", "json").data}
    assert len(rows) == sum(len(spec.checkpoints) for spec in catalog.variants.values())
    native, quantized = rows["deepseek-ai/DeepSeek-V4-Flash-0731"], rows["Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"]
    assert (native["gb"], native["size"], native["computedGb"]) == (166.9, "published", 166.9)
    assert (quantized["variant"], quantized["gb"], quantized["size"]) == ("deepseek-v4-flash", 296.2, "computed")
    assert quantized["hubs"] == ["modelscope"]
    assert {row["size"] for row in rows.values()} == {"published", "published, rounded", "computed"}


def test_a_checkpoint_is_shown_by_its_short_name_too(run: Run) -> None:
    short = run("show", "checkpoint", "deepseek-v4-flash-w8a8-mtp")
    assert short.code == 0
    assert short.out == run("show", "checkpoints", "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp").out
    data = run("show", "checkpoint", "deepseek-v4-flash-w8a8-mtp", "-o", "json").data
    assert (data["variant"], data["storage"]["attention.o_a"]) == ("deepseek-v4-flash", "bf16")


def test_an_unknown_checkpoint_is_a_mistake_with_the_nearest_name(run: Run) -> None:
    ended = run("show", "checkpoints", "deepseek-ai/DeepSeek-V4-Flahs")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean 'deepseek-ai/DeepSeek-V4-Flash'?" in ended.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("checkpoints", "--vendor", "huawei"), "--vendor"),
        (("checkpoints", "--supports", "mxfp4"), "--supports"),
        (("checkpoints", "--fits", "deepseek-v4-pro"), "--fits"),
        (("gaps", "--vendor", "huawei"), "--vendor"),
        (("images", "--fits", "deepseek-v4-pro"), "--fits"),
    ],
)
def test_a_filter_of_another_kind_is_a_mistake(arguments: tuple[str, ...], option: str, run: Run) -> None:
    ended = run("list", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"{option}: error[P013]: is not for this kind" in ended.err


def test_a_list_has_headings_in_words_and_cuts_only_prose(run: Run, catalog: Catalog) -> None:
    heading, *rows = run("list", "use-cases").out.splitlines()
    assert "TOKENS IN P50" in heading and "TTFT MS" in heading
    assert len(rows) == len(catalog.use_cases)
    title = catalog.engines["xllm"].title
    assert title not in run("list", "engines").out
    assert title in run("list", "engines", "-o", "wide").out
    listed = run("list", "recipes").out
    assert [name for name in catalog.recipes if f"\n{name} " not in listed] == []


def test_a_level_of_evidence_is_explained(run: Run, catalog: Catalog) -> None:
    assert {recipe.evidence for recipe in catalog.recipes.values()} <= {*EVIDENCE} == {*get_args(Evidence)}
    shown = squeezed(run("show", "recipe", "ascend-v41-a3-2node").out)
    assert "evidence vendor_doc" in shown and EVIDENCE["vendor_doc"] in shown


def test_a_list_of_engines_says_what_is_planned_with_each(run: Run) -> None:
    rows = {row["name"]: row for row in run("list", "engines", "-o", "json").data}
    assert rows["vllm"]["plansFor"] == "v4-flash, v4-pro, v4.1-flash"
    assert rows["xllm"]["plansFor"] == "nothing"
    assert rows["vllm-ascend"]["flags"] >= rows["vllm"]["flags"] > 400


def test_a_new_field_of_a_users_file_is_shown_without_a_line_of_code(run: Run, write_files: Files) -> None:
    site = """\
apiVersion: stowplan/v1
kind: Site
metadata: {name: plant}
spec:
  title: Plant
  kubernetes: "1.35"
  registryMirrors: {docker.io: registry.plant.example/hub}
  tolerations: [{key: dedicated, operator: Exists}]
"""
    folder = write_files({"own/sites/plant.yaml": site}) / "own"
    shown = squeezed(run("show", "site", "plant", "--profiles", folder).out)
    assert "registryMirrors docker.io registry.plant.example/hub" in shown
    assert "tolerations.0 key dedicated; operator Exists" in shown
    assert "maxNodes 8" in shown
