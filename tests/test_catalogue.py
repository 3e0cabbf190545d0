"""The catalogue: every fact has a source, every name resolves, and new things are new files only."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Run, pairing_text

from stowplan import resources
from stowplan.canonical_yaml import dump
from stowplan.catalog import Catalog
from stowplan.catalog.facts import statements
from stowplan.check.profiles import check_profile
from stowplan.pairing import resolve
from stowplan.plan.model import Plan
from stowplan.plan.planner import plan
from stowplan.profiles.kinds import KINDS
from stowplan.profiles.pairing import PairingSpec
from stowplan.profiles.schema import json_schema

PROFILES = ROOT / "profiles"
FILES = sorted(PROFILES.rglob("*.yaml"))
WORDS = {kind.folder: kind.word for kind in KINDS.values()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_file_is_valid_and_its_references_resolve(path: Path, catalog: Catalog) -> None:
    entry = catalog.shelves[path.parent.name].entry(path.stem)
    assert [f"{d.location}: {d.message}" for d in check_profile(entry.document, catalog)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_file_points_editors_at_its_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    schema = f"../../schemas/v1/{WORDS[path.parent.name]}.json"
    assert first == f"# yaml-language-server: $schema={schema}"
    assert (path.parent / schema).resolve().is_file()


def test_every_file_lies_in_the_folder_of_a_kind() -> None:
    assert {path.parent.relative_to(PROFILES).as_posix() for path in FILES} <= {*WORDS}


def test_every_statement_has_source_date_and_confidence(catalog: Catalog) -> None:
    found = list(statements(catalog))
    assert len(found) > 500
    for statement in found:
        place = (statement.kind, statement.name, statement.key)
        assert str(statement.data["source"]).strip(), place
        assert statement.data["confidence"] in ("primary", "secondary", "estimate"), place
        if "value" in statement.data:
            assert re.match(r"20\d\d(-\d\d){0,2}$", str(statement.data["as_of"])), place


def test_no_mapping_with_a_value_goes_without_a_source(catalog: Catalog) -> None:
    lost = [
        (word, entry.name, path)
        for word, shelf in catalog.shelves.items()
        for entry in shelf.entries()
        for path, node in mappings(entry.document.data["spec"])
        if "value" in node
        and not {"source", "confidence"} <= {*node}
        and not {"key", "name"} & {*node}
        and not path.startswith(".published")  # the recipe's own sources say it
    ]
    assert lost == []


def mappings(data: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    if isinstance(data, dict):
        yield path, data
    for key, value in items:
        yield from mappings(value, f"{path}.{key}")


def test_no_fact_is_from_memory() -> None:
    assert [path for path in FILES if re.search(r"\brecall(ed)?\b|from memory", path.read_text(encoding="utf-8"))] == []


def test_an_unknown_fact_says_what_would_settle_it(catalog: Catalog) -> None:
    unknown = [s for s in statements(catalog) if "value" in s.data and s.data["value"] is None]
    assert unknown
    assert [(s.kind, s.name, s.key) for s in unknown if not s.data.get("settledBy")] == []


def test_a_conflict_is_kept_with_its_source_and_why_it_is_not_used(catalog: Catalog) -> None:
    disputed = [s for s in statements(catalog) if s.data.get("conflicts")]
    assert any(s.key == "memoryMib" and s.name.startswith("ascend-950pr") for s in disputed)
    for statement in disputed:
        assert statement.data.get("usedBecause"), (statement.kind, statement.name, statement.key)
        assert all(conflict["source"] for conflict in statement.data["conflicts"])


def test_every_server_is_served_by_a_device_layer_or_says_nothing_of_kubernetes(catalog: Catalog) -> None:
    served = {name for layer in catalog.device_layers.values() for name in layer.servers}
    assert served <= {*catalog.servers}
    assert len(served) > len(catalog.servers) / 2


NOT_ACCEPTED = {
    (
        "recipes-flash-0731-dgx-spark-gb10-mn-tp",
        "dgx-spark",
    ): "tensor parallel over two hosts, as below, with a community build of the engine under a floating tag",
    (
        "recipes-pro-0813-gb200-mn-tep",
        "gb200-nvl72-tray",
    ): "tensor parallel over two trays: vLLM's start by host number is not rendered",
    (
        "recipes-pro-0813-h200-dep",
        "hgx-h200",
    ): "the ledger is short of the documented 200,000 tokens with every attention weight on each device",
    (
        "recipes-pro-preview-h200-dep",
        "hgx-h200",
    ): "as 0813: one of ledger and command is wrong, and only a start-up log tells which",
}


def test_every_recipe_s_layout_is_accepted_where_it_was_shown(catalog: Catalog) -> None:
    refused = {}
    for name, recipe in catalog.recipes.items():
        if recipe.mode != "aggregated" or recipe.engine not in catalog.engines or "server" not in recipe.roles:
            continue
        for server in recipe.servers:
            if not {*catalog.engines[recipe.engine].chip_families} & {
                *catalog.chips[catalog.servers[server].chip].families
            }:
                continue  # shown with a build of the engine that the catalogue does not carry
            role, platform = recipe.roles["server"], catalog.engines[recipe.engine].platform
            use_case = recipe.use_cases[0] if recipe.use_cases else "chat-short"
            pins = {"layout": role.layout.model_dump(), "nodes": role.nodes, "checkpoint": recipe.checkpoint}
            pins |= {"platform": platform} if platform else {}
            made = planned_in(
                catalog, recipe.variant, server, use_case, site="mlu-example", engine=recipe.engine, **pins
            )
            if made.verdict != "documented":
                refused[name, server] = [made.verdict, *(reason.message for reason in made.reasons)]
    assert refused.keys() == NOT_ACCEPTED.keys(), refused


def planned_in(catalog: Catalog, variant: str, server: str, use_case: str, **pins: Any) -> Plan:
    spec = {"variant": variant, "server": server, "useCase": use_case, **pins}
    return plan(resolve("new", PairingSpec.model_validate(spec), catalog))


class Overlay:
    """A user's own folder of profiles, filled with changed copies of shipped files."""

    def __init__(self, folder: Path, shipped: Catalog) -> None:
        self.folder, self.shipped = folder, shipped

    def copy(self, shelf: str, name: str, new: str, **changes: Any) -> None:
        data = copy.deepcopy(self.shipped.shelves[shelf].entry(name).document.data)
        data["metadata"]["name"] = new
        data["spec"] |= changes
        path = self.folder / shelf / f"{new}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(data), encoding="utf-8")

    @property
    def catalog(self) -> Catalog:
        return Catalog([resources.folder("profiles"), self.folder])


@pytest.fixture
def overlay(tmp_path: Path, catalog: Catalog) -> Overlay:
    return Overlay(tmp_path / "profiles", catalog)


def test_a_new_chip_and_server_are_files(overlay: Overlay, catalog: Catalog) -> None:
    memory = {
        "value": 200_000,
        "unit": "MiB",
        "source": "estimate for a test",
        "as_of": "2026-11-23",
        "confidence": "estimate",
    }
    served = catalog.device_layers.entry("nvidia-device-plugin").document.data["spec"]["servers"]["hgx-h200"]
    overlay.copy("chips", "h200-sxm", "h999", memoryMib=memory)
    overlay.copy("servers", "hgx-h200", "hgx-h999", chip="h999")
    overlay.copy("device-layers", "nvidia-device-plugin", "plugin-of-ours", servers={"hgx-h999": served})
    made = planned_in(overlay.catalog, "deepseek-v4-flash-0731", "hgx-h999", "chat")
    assert made.verdict == "derived"
    assert made.chosen and made.chosen.roles[0].fit.device_bytes == 200_000 * 2**20
    assert made.layer and made.layer.name == "plugin-of-ours"


def test_tables_kept_in_the_host_s_memory_count_where_the_device_shares_it(overlay: Overlay, catalog: Catalog) -> None:
    pins = {"layout": {"tp": 4, "dp": 1, "ep": 1, "pp": 1}, "nodes": 1}
    apart = planned_in(catalog, "deepseek-v4.1-flash", "gb300-nvl72-tray", "chat-short", **pins)
    overlay.copy("chips", "gb300-nvl72", "gb300-nvl72", unifiedMemory=True)
    shared = planned_in(overlay.catalog, "deepseek-v4.1-flash", "gb300-nvl72-tray", "chat-short", **pins)
    before, after = apart.candidates[0].roles[0].fit, shared.candidates[0].roles[0].fit
    assert before.host_pinned > 190e9
    assert (after.host_pinned, "engram" in before.weights, "engram" in after.weights) == (0, False, True)
    assert after.weights_total - before.weights_total == before.host_pinned // 4


def test_a_new_variant_is_a_file(overlay: Overlay) -> None:
    overlay.copy("variants", "deepseek-v4-flash-0731", "deepseek-v4-flash-next", title="Next")
    made = planned_in(overlay.catalog, "deepseek-v4-flash-next", "hgx-h200", "chat")
    assert made.verdict == "derived"
    assert made.chosen and made.chosen.roles[0].settings.flags["--served-model-name"] == "deepseek-v4-flash-next"


def test_a_new_use_case_is_a_file(overlay: Overlay, catalog: Catalog) -> None:
    lengths = catalog.use_cases.entry("chat").document.data["spec"]["inputTokens"]
    overlay.copy(
        "use-cases", "chat", "letters", inputTokens={**lengths, "mean": 900, "p50": 800, "p90": 1500, "p99": 3000}
    )
    made = planned_in(overlay.catalog, "deepseek-v4-flash-0731", "hgx-h200", "letters")
    assert (
        made.chosen and made.chosen.roles[0].fit.tuning.max_model_len == 4352
    )  # 3,000 in and 1,120 out, in steps of 256


def test_a_use_case_of_one_s_own_is_ten_lines(overlay: Overlay) -> None:
    """As the how-to writes it; without the reuse it is nine, and nothing is reused."""
    text = (ROOT / "docs" / "how-to" / "own-use-case.md").read_text(encoding="utf-8")
    lines = text.split("```yaml\n# profiles/use-cases/ticket-triage.yaml\n")[1].split("```")[0].splitlines()
    assert len(lines) == 10
    assert max(map(len, lines)) <= 132
    folder = overlay.folder / "use-cases"
    folder.mkdir(parents=True)
    (folder / "ticket-triage.yaml").write_text("\n".join(lines), encoding="utf-8")
    least = "\n".join(line for line in lines if "prefixReuse" not in line)
    (folder / "least.yaml").write_text(least.replace("ticket-triage", "least"), encoding="utf-8")
    made = {n: planned_in(overlay.catalog, "deepseek-v4-flash", "hgx-h200", n) for n in ("ticket-triage", "least")}
    assert {plan.verdict for plan in made.values()} == {"documented"}
    assert overlay.catalog.use_cases["least"].prefix_reuse.value == 0
    first, second = (plan.chosen for plan in made.values())
    assert first and second
    assert first.estimate.ttft_ms[0] < second.estimate.ttft_ms[0]


def test_a_default_of_a_use_case_is_stated_in_its_schema() -> None:
    spec = json_schema("UseCase")["definitions"]["UseCaseSpec"]
    optional = [name for name in spec["properties"] if name not in spec["required"]]
    assert sorted(optional) == ["contextLimit", "description", "prefixReuse", "variantKinds"]
    assert all("Default: " in spec["properties"][name]["description"] for name in optional)


def test_a_new_engine_version_is_a_line_in_a_file(overlay: Overlay, catalog: Catalog) -> None:
    versions = catalog.engines.entry("vllm").document.data["spec"]["versions"]
    newest = {
        **versions[-1],
        "version": "0.99.0",
        "upstream": "0.99.0",
        "images": {"nvidia": "example.com/engine:0.99"},
    }
    overlay.copy("engines", "vllm", "vllm", versions=[*versions, newest])
    made = planned_in(overlay.catalog, "deepseek-v4-flash-0731", "hgx-h200", "chat", engine="vllm@0.99.0")
    assert made.chosen and made.chosen.stack.version.images == {"nvidia": "example.com/engine:0.99"}


def test_a_new_engine_is_a_file(overlay: Overlay) -> None:
    overlay.copy("engines", "vllm", "engine-of-ours", priority=99)
    made = planned_in(overlay.catalog, "deepseek-v4-flash-0731", "hgx-h200", "chat", engine="engine-of-ours")
    assert made.chosen and made.chosen.stack.engine_name == "engine-of-ours"


def test_new_files_are_rendered_and_checked_like_shipped_ones(overlay: Overlay, run: Run, tmp_path: Path) -> None:
    overlay.copy("variants", "deepseek-v4-flash-0731", "deepseek-v4-flash-next")
    pairing = tmp_path / "next.yaml"
    pairing.write_text(pairing_text("next", variant="deepseek-v4-flash-next", server="hgx-h200", useCase="chat"))
    out = tmp_path / "out"
    assert run("render", pairing, "--out", out, "--profiles", overlay.folder).code == 0
    ended = run("check", out, overlay.folder, pairing, "--profiles", overlay.folder)
    assert (ended.code, ended.out) == (0, "")
    refused = run("plan", pairing)
    assert (refused.code, "unknown variant 'deepseek-v4-flash-next'" in refused.err) == (1, True)


def test_a_bad_fact_of_one_s_own_is_told_at_its_place(overlay: Overlay, run: Run) -> None:
    overlay.copy("chips", "h200-sxm", "h200-sxm", memoryMib={"value": "lots"})
    ended = run(
        "plan",
        "--variant",
        "deepseek-v4-flash",
        "--server",
        "hgx-h200",
        "--use-case",
        "chat",
        "--profiles",
        overlay.folder,
    )
    assert ended.code in (1, 2)
    assert re.search(r"profiles/chips/h200-sxm\.yaml:\d+:\d+: error\[P004\]: expected a whole number", ended.err)


@pytest.mark.parametrize(
    ("shelf", "shipped", "field", "wrong", "use"),
    [
        ("servers", "hgx-h200", "chip", "h200-sxn", ("list", "servers")),
        ("variants", "deepseek-v4-flash-0731", "architectureOf", "deepseek-v4-flsh", ("list", "checkpoints")),
        ("engines", "vllm-ascend", "extends", "vlm", ("list", "engines")),
    ],
)
def test_a_file_that_names_one_that_is_not_there_is_told_wherever_it_is_used(
    shelf: str, shipped: str, field: str, wrong: str, use: tuple[str, str], overlay: Overlay, run: Run
) -> None:
    overlay.copy(shelf, shipped, "mine", **{field: wrong})
    told = rf"profiles/{shelf}/mine\.yaml:\d+:\d+: error\[C004\]: unknown [a-z]+ '{wrong}'"
    checked = run("check", overlay.folder, "--profiles", overlay.folder)
    assert len(re.findall(r"error\[", checked.out)) == 1 and re.search(told, checked.out)
    for command in (use, ("show", shelf, "mine"), ("list", "gaps")):
        ended = run(*command, "--profiles", overlay.folder)
        assert ended.code == 1 and re.search(told, ended.err), ended
        assert "did you mean" in ended.err


@pytest.mark.parametrize("moved", ["usecases/mine.yaml", "use-cases/mine.yml"])
def test_a_file_that_the_catalogue_does_not_read_is_told(moved: str, overlay: Overlay, run: Run) -> None:
    overlay.copy("sites", "default", "plant")
    overlay.copy("use-cases", "chat", "mine")
    to = overlay.folder / moved
    to.parent.mkdir(exist_ok=True)
    (overlay.folder / "use-cases/mine.yaml").rename(to)
    ended = run("check", overlay.folder, "--profiles", overlay.folder)
    assert ended.code == 1
    assert "error[C003]: the catalogue does not read this file" in ended.out
    assert "use-cases/mine.yaml" in ended.out.rpartition("hint:")[2]


def test_a_folder_of_profiles_one_level_off_is_told(overlay: Overlay, run: Run) -> None:
    overlay.copy("sites", "default", "plant")
    for folder, hint in (("profiles/sites", "give the folder above it"), (".", "did you mean")):
        ended = run("list", "sites", "--profiles", overlay.folder.parent / folder)
        assert ended.code == 2 and "error[P001]: is no folder of profiles" in ended.err and hint in ended.err
    assert "plant" in run("list", "sites", "--profiles", overlay.folder).out


def test_files_that_are_checked_together_know_each_other(
    overlay: Overlay, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay.copy("chips", "h200-sxm", "h200-next")
    overlay.copy("servers", "hgx-h200", "hgx-next", chip="h200-next")
    monkeypatch.chdir(overlay.folder.parent)
    overlay.folder.rename(overlay.folder.with_name("own"))
    assert run("check", "own").code == 0


def test_a_file_whose_name_differs_is_told(overlay: Overlay, run: Run) -> None:
    overlay.copy("sites", "default", "mine")
    (overlay.folder / "sites/mine.yaml").rename(overlay.folder / "sites/yours.yaml")
    ended = run("show", "sites", "yours", "--profiles", overlay.folder)
    assert ended.code == 1
    assert "error[C003]: the name 'mine' differs from the file's, 'yours'" in ended.err


ALLOWED = {
    "check/admission/quantities.py": {"nvidia"},  # a hint's example of a resource name
    "check/commands.py": {"vllm", "sglang", "atom", "xllm"},  # reads foreign engine commands
    "check/bundle/_references.py": {"nvidia"},  # an API group of a kind that a site may have
    "check/matches_plan/claims.py": {"nvidia", "vllm"},  # an example
    "check/domain/device_components.py": {"amd", "ascend"},  # examples
    "check/domain/_asking.py": {"ascend", "atlas-800i-a3", "huawei"},  # examples, sources
    "check/matches_plan/processes.py": {"vllm"},  # an example
    "check/matches_plan/role.py": {"vllm"},  # an example
    "check/workloads.py": {"nvidia"},  # reads foreign objects: what their short name for a device stands for
    "check/domain/engine_devices.py": {"ascend", "huawei", "nvidia", "vllm", "vllm-ascend"},  # examples
    "check/domain/engine_pods.py": {"ascend", "huawei", "nvidia", "vllm", "vllm-ascend"},  # examples
    "check/domain/engine_settings.py": {"nvidia", "vllm"},  # examples
    "check/domain/role_parity.py": {"ascend", "huawei", "vllm", "vllm-ascend"},  # examples
    "check/matches_plan/platform.py": {"vllm"},  # an example
    "check/domain/devices.py": {"nvidia"},  # examples: images by which owners are told apart
    "check/domain/serving.py": {
        "ascend",
        "atlas",
        "atlas-800i-a3",
        "huawei",
        "vllm",
        "vllm-ascend",
    },  # examples, sources
}
"""Words in src/stowplan outside docstrings and the examples of checks, with why."""
EXAMPLES = {"bad", "good", "source", "hint", "reason"}


def names_of_things(catalog: Catalog) -> re.Pattern[str]:
    words = {*catalog.chips, *catalog.servers, *catalog.engines}
    words |= {chip.vendor for chip in catalog.chips.values()} | {"hopper", "blackwell", "ascend", "atlas", "mlu"}
    words |= {family for chip in catalog.chips.values() for family in chip.families}
    joined = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    return re.compile(rf"(?<![a-z])(?:{joined})(?!64|[a-z])", re.IGNORECASE)


def code_words(path: Path) -> Iterator[str]:
    """Identifiers and texts of a module, without docstrings and without the examples of checks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                left_out.add(statement.value)
        for decorator in getattr(node, "decorator_list", ()):
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else ()
            left_out |= {inner for k in keywords if k.arg in EXAMPLES for inner in ast.walk(k.value)}
    for node in ast.walk(tree):
        if node not in left_out:
            yield from (
                str(v) for f in ("id", "attr", "name", "arg", "value") if isinstance(v := getattr(node, f, None), str)
            )


def test_no_chip_vendor_or_engine_is_named_in_python(catalog: Catalog) -> None:
    pattern, package = names_of_things(catalog), ROOT / "src" / "stowplan"
    found = {
        (path.relative_to(package).as_posix(), word.lower())
        for path in package.rglob("*.py")
        for text in code_words(path)
        for word in pattern.findall(text)
    }
    assert {(path, word) for path, word in found if word not in ALLOWED.get(path, ())} == set()


def test_no_chip_vendor_or_engine_is_named_in_a_template(catalog: Catalog) -> None:
    pattern, folder = names_of_things(catalog), ROOT / "templates"
    found = []
    for path in (p for p in folder.rglob("*") if p.is_file()):
        own = {path.name.partition(".")[0], *(part for part in path.relative_to(folder).parts)}
        text = re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for word in own:
            text = text.replace(f'"{word}"', "")  # its own component's key
        found += [(path.relative_to(folder).as_posix(), word) for word in pattern.findall(text)]
    assert [(path, word) for path, word in found if not path.startswith("quantization/")] == []


def test_check_finds_a_name_that_is_not_the_file_s(overlay: Overlay, run: Run) -> None:
    overlay.copy("chips", "l40s", "l40s-of-ours")
    (overlay.folder / "chips" / "l40s-of-ours.yaml").rename(overlay.folder / "chips" / "other.yaml")
    ended = run("check", overlay.folder)
    assert ended.code == 1
    assert "error[C003]: the name 'l40s-of-ours' differs from the file's, 'other'" in ended.out


def test_check_finds_a_flag_of_a_recipe_that_no_version_knows(overlay: Overlay, run: Run) -> None:
    roles = copy.deepcopy(overlay.shipped.recipes.entry("recipes-flash-0731-h200-dep").document.data["spec"]["roles"])
    roles["server"]["set"] = {"flags": {"--max-model-length": 4096}}
    overlay.copy("recipes", "recipes-flash-0731-h200-dep", "ours", roles=roles)
    ended = run("check", overlay.folder)
    assert ended.code == 1
    assert "error[C006]: vllm has no flag --max-model-length in any version" in ended.out
    assert "did you mean '--max-model-len'?" in ended.out


def test_check_finds_a_block_that_an_architecture_does_not_describe(overlay: Overlay, run: Run) -> None:
    checkpoints = copy.deepcopy(
        overlay.shipped.variants.entry("deepseek-v4-flash-0731").document.data["spec"]["checkpoints"]
    )
    checkpoints[0]["adds"] = ["draft_vocabularies"]
    overlay.copy("variants", "deepseek-v4-flash-0731", "ours", checkpoints=checkpoints)
    ended = run("check", overlay.folder)
    assert ended.code == 1
    assert "error[C004]: unknown block 'draft_vocabularies'" in ended.out
    assert "did you mean 'draft_vocabulary'?" in ended.out
