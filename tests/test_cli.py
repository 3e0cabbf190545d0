"""The command line's contracts: shapes of data, exit codes, help, streams."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from conftest import MANIFESTS, ROOT, Files, Run, in_process_of_its_own, pairing_text

from stowplan import __version__
from stowplan.catalog import Catalog

PAIRINGS = (
    "v4-flash.atlas-350-4p-8.chat",
    "v4-flash.atlas-800i-a3.chat.apart",
    "v4-flash.cambricon-x8-mlu590.chat-short",
    "v4-flash.hgx-b200.chat.dynamo",
    "v4-flash.mi355x-8x.recommendation",
    "v4-pro.gb200-nvl72-tray.chat",
)
"""One for each shape: a host, roles apart, a Job that converts, a platform, an autoscaler, a group with claims."""
COMMANDS = (
    "render",
    "check",
    "diff",
    "init",
    "new",
    "plan",
    "explain",
    "matrix",
    "list",
    "show",
    "schema",
    "fn",
    "version",
)
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
A3 = ("--variant", "deepseek-v4-flash", "--server", "atlas-800i-a3", "--use-case", "chat")
TOO_BIG = ("--variant", "deepseek-v4-pro", "--server", "atlas-800i-a2-910b3", "--use-case", "chat", "--nodes", "1")
UNKNOWN = ("--variant", "deepseek-v4-flash", "--server", "cambricon-x8-mlu690", "--use-case", "chat")

number = (int, float)
SHAPE: dict[str, Any] = {
    "apiVersion": str,
    "kind": str,
    "pairing": {"variant": str, "server": str, "useCase": str, "site": str},
    "verdict": str,
    "sources": [str],
    "assumptions": [str],
    "reasons": [{"code": str, "message": str}],
    "checkpoint": {"id": str, "quantization": str},
    "quantization": {"decision": str, "toolchain": (str, type(None)), "classes": [dict]},
    "engine": {"name": str, "version": str, "image": str},
    "deviceLayer": {"name": str, "resourceName": str},
    "roles": [
        {
            "name": str,
            "replicas": int,
            "nodes": int,
            "devicesPerNode": int,
            "parallelism": {"tp": int, "dp": int, "ep": int, "pp": int},
            "flags": dict,
            "env": dict,
            "memory": {
                "device": {
                    "total": int,
                    "reserved": int,
                    "weights": {"total": int},
                    "kvCache": int,
                    "activations": int,
                    "graphs": int,
                    "communication": int,
                    "overhead": int,
                    "free": int,
                },
                "host": {"pinned": int, "sharedMemory": int, "total": int},
            },
            "capacity": {
                "scope": str,
                "kvCacheBytes": int,
                "logTokens": int,
                "concurrencyAtMaxModelLen": number,
                "requestsAtUseCase": number,
                "longestContext": int,
                "maxModelLen": int,
            },
            "estimate": {"ttftMs": [number], "tpotMs": [number], "outputTokensPerSecondPerDevice": [number]},
        }
    ],
}


def has_shape(data: Any, shape: Any, path: str = "plan") -> None:
    if isinstance(shape, dict):
        assert isinstance(data, dict), path
        assert {*shape} <= {*data}, (path, {*shape} - {*data})
        for key, inner in shape.items():
            has_shape(data[key], inner, f"{path}.{key}")
    elif isinstance(shape, list):
        assert isinstance(data, list), path
        for item in data:
            has_shape(item, shape[0], f"{path}[]")
    else:
        assert isinstance(data, shape), (path, data)


@pytest.mark.parametrize("name", PAIRINGS)
def test_a_plan_as_json_has_its_documented_shape(name: str, run: Run) -> None:
    ended = run("plan", name, "-o", "json")
    assert ended.code == 0
    has_shape(ended.data, SHAPE)
    assert (ended.data["apiVersion"], ended.data["kind"]) == ("stowplan/v1", "Plan")
    assert ended.data["verdict"] in ("documented", "derived")
    for role in ended.data["roles"]:
        sizes = role["parallelism"]
        assert sizes["tp"] * sizes["dp"] * sizes["pp"] == role["nodes"] * role["devicesPerNode"]
        assert role["capacity"]["scope"] == "dp-rank"
        for low, middle, high in (band for band in role["estimate"].values() if isinstance(band, list)):
            assert 0 < low <= middle <= high


def test_options_and_a_file_are_the_same_thing(run: Run) -> None:
    by_file, by_option = (run("plan", *given, "-o", "json").data for given in (["v4-flash.atlas-800i-a3.chat"], A3))
    for key in ("verdict", "roles", "checkpoint", "engine", "deviceLayer", "sources"):
        one, other = (json.dumps(d[key]).replace(d["pairing"]["name"], "") for d in (by_file, by_option))
        if key != "roles":
            assert one == other
    assert [{k: v for k, v in r.items() if k != "deployment"} for r in by_file["roles"]] == [
        {k: v for k, v in r.items() if k != "deployment"} for r in by_option["roles"]
    ]


def test_every_option_reaches_the_plan(run: Run) -> None:
    options = (
        "--site",
        "default",
        "--nodes",
        "1",
        "--engine",
        "vllm-ascend@0.23.0",
        "--device-layer",
        "ascend-mindcluster",
    )
    more = ("--checkpoint", "deepseek-v4-flash-w8a8-mtp", "--layout", "tp=8,dp=2,ep=16,pp=1", "--set", "env.X=1")
    plan = run("plan", *A3, *options, *more, "--set", "server.flags.--max-num-seqs=8", "-o", "json").data
    (role,) = plan["roles"]
    assert role["parallelism"] == {"tp": 8, "dp": 2, "ep": 16, "pp": 1}
    assert (role["env"]["X"], role["flags"]["--max-num-seqs"]) == ("1", 8)
    assert plan["checkpoint"]["id"] == "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"


def test_a_layout_may_be_given_by_role(run: Run) -> None:
    plan = run("plan", *A3, "--layout", "server:tp=8,dp=2,ep=16,pp=1", "-o", "json").data
    assert plan["roles"][0]["parallelism"] == {"tp": 8, "dp": 2, "ep": 16, "pp": 1}


def test_all_lists_every_layout_with_rank_and_what_it_loses_by(run: Run) -> None:
    ended = run("plan", *A3, "--all", "-o", "json")
    assert ended.code == 0
    assert len(ended.data) > 5
    assert [plan["rank"] for plan in ended.data] == [*range(1, len(ended.data) + 1)]
    assert [plan["losesBy"] == "" for plan in ended.data] == [True, *[False] * (len(ended.data) - 1)]
    brief = {**SHAPE, "quantization": {"decision": str}}
    role = {**SHAPE["roles"][0], "estimate": (dict, type(None))}
    for plan in ended.data:
        has_shape(plan, {**brief, "roles": [role]})
    assert ended.data[0]["roles"][0]["parallelism"] == run("plan", *A3, "-o", "json").data["roles"][0]["parallelism"]


@pytest.mark.parametrize("output", ["table", "wide", "markdown"])
def test_all_as_a_table_has_a_row_for_each_layout(output: str, run: Run) -> None:
    rows = run("plan", *A3, "--all", "-o", output).out.splitlines()
    found = len(run("plan", *A3, "--all", "-o", "json").data)
    assert len(rows) == found + (2 if output == "markdown" else 1)


@pytest.mark.parametrize(("options", "verdict"), [(TOO_BIG, "infeasible"), (UNKNOWN, "undocumented")])
def test_a_no_ends_with_1_and_says_why_on_standard_output(options: tuple[str, ...], verdict: str, run: Run) -> None:
    ended = run("plan", *options)
    assert (ended.code, ended.err) == (1, "")
    assert verdict in ended.out.splitlines()[0]
    plan = run("plan", *options, "-o", "json")
    assert plan.code == 1
    assert plan.data["verdict"] == verdict
    assert all(reason["code"].startswith("F") and reason["message"] in ended.out for reason in plan.data["reasons"])


def test_a_shortfall_is_there_as_numbers(run: Run) -> None:
    (reason,) = (r for r in run("plan", *TOO_BIG, "-o", "json").data["reasons"] if r["code"] == "F001")
    assert reason["shortfallBytes"] == reason["cacheNeededBytes"] - reason["cacheAvailableBytes"] > 0


def test_a_plan_as_yaml_and_as_json_are_one(run: Run) -> None:
    assert yaml.safe_load(run("plan", *A3, "-o", "yaml").out) == run("plan", *A3, "-o", "json").data


def test_the_matrix_always_ends_with_0_and_has_its_documented_shape(run: Run) -> None:
    cut = ("--server", "atlas-800i-a2-910b3", "--server", "cambricon-x8-mlu690", "--variant", "deepseek-v4-pro")
    ended = run("matrix", *cut, "-o", "json")
    assert ended.code == 0
    assert len(ended.data) == 2 * len(run("list", "use-cases", "-o", "json").data)
    keys = {"variant", "server", "useCase", "verdict", "devices", "checkpoint", "engine", "reasons"}
    assert all({*cell} == keys for cell in ended.data)
    assert all(cell["reasons"] for cell in ended.data if cell["verdict"] in ("infeasible", "undocumented"))
    assert len(run("matrix", *cut).out.splitlines()) == len(ended.data) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_is_of_objects_with_names(kind: str, run: Run, catalog: Catalog) -> None:
    ended = run("list", kind, "-o", "json")
    assert ended.code == 0
    assert [row["name"] for row in ended.data] == list(catalog.shelves[kind])
    assert len(run("list", kind).out.splitlines()) == len(ended.data) + 1
    assert yaml.safe_load(run("list", kind, "-o", "yaml").out) is not None


def test_servers_and_variants_tell_what_scripts_ask_for(run: Run) -> None:
    servers = {row["name"]: row for row in run("list", "servers", "-o", "json").data}
    assert (servers["atlas-800i-a3"]["chip"], servers["atlas-800i-a3"]["devicesPerServer"]) == ("ascend-910c", 16)
    assert all("chip" in row and "devicesPerServer" in row for row in servers.values())
    for row in run("list", "variants", "-o", "json").data:
        assert row["checkpoints"] and all("/" in checkpoint for checkpoint in row["checkpoints"])


def test_a_list_can_be_narrowed_by_vendor_and_by_format(run: Run) -> None:
    assert {row["vendor"] for row in run("list", "chips", "--vendor", "cambricon", "-o", "json").data} == {"cambricon"}
    with_fp8 = run("list", "chips", "--supports", "fp8", "-o", "json").data
    assert 0 < len(with_fp8) < len(run("list", "chips", "-o", "json").data)
    assert all("fp8" in row["formats"] for row in with_fp8)


def test_gaps_name_the_fact_and_what_would_settle_it(run: Run) -> None:
    gaps = run("list", "gaps", "-o", "json").data
    assert any("mlu690" in gap["name"] for gap in gaps)
    assert [gap for gap in gaps if not gap["settledBy"]] == []


@pytest.mark.parametrize("server", ["hls-3", "hygon-bw1000-8x"])
def test_gaps_count_the_cells_that_are_undocumented(server: str, run: Run, catalog: Catalog) -> None:
    cells = run("matrix", "--server", server, "-o", "json").data
    undocumented = sum(cell["verdict"] == "undocumented" for cell in cells)
    assert 0 < undocumented < len(cells)
    chip = catalog.servers[server].chip
    named = (f"device layer of {server}", f"on {chip}")
    gaps = [gap for gap in run("list", "gaps", "-o", "json").data if gap["name"].endswith(named)]
    assert sum(gap["cells"] for gap in gaps) == undocumented


def test_a_gap_says_where_its_fact_would_go_and_who_has_run_it(run: Run) -> None:
    settled = {gap["name"]: gap["settledBy"] for gap in run("list", "gaps", "-o", "json").data}
    assert settled["device layer of hls-3"].endswith("`servers` of a device layer")
    assert settled["mlu590 formats.fp8"].endswith("`formats` of the chip")
    assert settled["vllm support of v4-flash on gb10"].endswith("stowplan show chips gb10")
    assert settled["vllm-mlu support of v4-flash on mlu690"].endswith("`supports` of an engine")


def test_images_name_their_user(run: Run) -> None:
    images = run("list", "images", "-o", "json").data
    assert {"name", "usedBy", "for"} <= {*images[0]}
    assert any(row["name"].startswith("vllm/vllm-openai") for row in images)


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_can_be_shown(kind: str, run: Run, catalog: Catalog) -> None:
    name = next(iter(catalog.shelves[kind]))
    shown = run("show", kind, name)
    assert shown.code == 0
    assert name in shown.out
    assert run("show", kind, name, "-o", "json").data["name"] == name


def test_a_shown_fact_has_source_date_and_confidence(run: Run) -> None:
    row = next(r for r in run("show", "chips", "h200-sxm").out.splitlines() if r.startswith("memoryMib"))
    assert "143771" in row and "nvidia-smi log" in row and "2025-01-30" in row and "primary" in row


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_draft_7_and_takes_every_shipped_file(kind: str, run: Run, catalog: Catalog) -> None:
    schema = run("schema", kind.removesuffix("s")).data
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.Draft7Validator(schema)
    for entry in catalog.shelves[kind].entries():
        assert [error.message for error in validator.iter_errors(entry.document.data)] == [], entry.name


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_refuses_an_unknown_field(kind: str, run: Run, catalog: Catalog) -> None:
    validator = jsonschema_rs.Draft7Validator(run("schema", kind.removesuffix("s")).data)
    data = next(catalog.shelves[kind].entries()).document.data
    assert not validator.is_valid({**data, "notAField": 1})
    assert not validator.is_valid({**data, "spec": {**data["spec"], "notAField": 1}})
    assert not validator.is_valid({**data, "metadata": {**data["metadata"], "notAField": 1}})


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_that_editors_read_are_the_printed_ones(kind: str, run: Run) -> None:
    word = kind.removesuffix("s")
    shipped = ("--profiles", ROOT / "profiles")
    assert (ROOT / "schemas/v1" / f"{word}.json").read_text(encoding="utf-8") == run("schema", word, *shipped).out


def test_editors_are_offered_the_names_of_the_catalogue_own_ones_included(run: Run, write_files: Files) -> None:
    text = (ROOT / "profiles/use-cases/chat.yaml").read_text(encoding="utf-8").replace("name: chat", "name: own-chat")
    root = write_files({"profiles/use-cases/own-chat.yaml": text})
    assert run("schema", "--out", root / "schemas", "--profiles", root / "profiles").code == 0
    schema = json.loads((root / "schemas/v1/pairing.json").read_text(encoding="utf-8"))
    spec = schema["definitions"]["PairingSpec"]["properties"]
    assert {"chat", "own-chat"} <= {*spec["useCase"]["anyOf"][0]["enum"]}
    assert "vllm@0.33.0" in spec["engine"]["anyOf"][0]["enum"]
    assert spec["set"]["properties"]["flags.--calculate-kv-scales"]["deprecated"] is True  # vllm <0.28.0
    assert "deprecated" not in spec["set"]["properties"]["flags.--max-model-len"]
    assert all((root / "schemas/v1" / f"{kind.removesuffix('s')}.json").is_file() for kind in KINDS)
    assert run("schema").code == run("schema", "pairing", "--out", root).code == 2


@pytest.mark.parametrize("word", ["Chip", "chip", "chips"])
def test_a_kind_may_be_named_as_in_the_file_or_as_the_folder(word: str, run: Run) -> None:
    assert run("schema", word).data["title"].endswith("Chip")


@pytest.mark.parametrize("name", PAIRINGS)
def test_explain_answers_with_numbers_and_sources(name: str, run: Run) -> None:
    ended = run("explain", name, "-o", "json")
    assert ended.code == 0
    told = ended.data
    assert {"Verdict", "Layout", "Checkpoint", "Precision by tensor class", "Settings"} <= {*told}
    assert all(row["set by"] and row["reason"] and row["source"] for row in told["Settings"])
    assert any(row["what"] == "source" for row in told["Verdict"])
    ledgers = [rows for part, rows in told.items() if part.startswith("Device memory")]
    assert ledgers
    for ledger in ledgers:
        assert all(row["source"] and row["GiB"] for row in ledger)
        parts = {row["part"]: float(row["GiB"]) for row in ledger}
        assert sum(size for part, size in parts.items() if part != "total") == pytest.approx(parts["total"], abs=0.2)
    assert len(told["Layout"]) > 1


@pytest.mark.parametrize("name", PAIRINGS)
def test_explain_answers_the_same_from_the_rendered_folder_alone(name: str, run: Run) -> None:
    assert run("explain", MANIFESTS / "pairings" / name, "-o", "json").data == run("explain", name, "-o", "json").data


def test_a_rendered_plan_of_another_release_is_refused_at_its_file(run: Run, write_files: Files) -> None:
    plan = yaml.safe_load((MANIFESTS / "pairings" / PAIRINGS[0] / "plan.yaml").read_text(encoding="utf-8"))
    del plan["quantization"]["kvCache"]
    folder = write_files({"plan.yaml": yaml.safe_dump(plan)})
    ended = run("explain", folder, "quantization")
    assert ended.code == 2
    assert "plan.yaml: error[P018]: is a plan of another release of stowplan: it has no 'kvCache'" in ended.err


def test_a_draft_that_is_left_off_is_not_held_against_the_checkpoint(run: Run, write_files: Files) -> None:
    """SGLang's draft for this checkpoint does not run on the chip, so the plan goes without it, and renders."""
    spec = {"variant": "deepseek-v4-pro-0813", "server": "mi355x-8x", "useCase": "long-context", "engine": "sglang"}
    folder = write_files({"p.yaml": pairing_text(**spec)})
    ended = run("render", folder / "p.yaml", "--out", folder / "out")
    assert (ended.code, ended.err.count("error")) == (0, 0)


def test_explain_answers_one_key(run: Run) -> None:
    ended = run("explain", "v4-flash.atlas-800i-a3.chat", "flags.--max-model-len")
    assert ended.code == 0
    assert "1048576" in ended.out and "ascend-flash-a3-dp4tp4-mtp" in ended.out
    assert "--port" not in ended.out


@pytest.mark.parametrize("part", ["memory", "layout", "quantization", "settings", "security"])
def test_explain_answers_one_part(part: str, run: Run) -> None:
    ended = run("explain", "v4-pro.atlas-800i-a3.search", part)
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) > 3


def test_explain_prints_the_page_of_a_check(run: Run) -> None:
    ended = run("explain", "--check", "M100")
    assert ended.code == 0
    assert "Write instead:" in ended.out and "Source: " in ended.out


@pytest.mark.parametrize("name", PAIRINGS)
def test_a_stream_is_kubernetes_objects_and_nothing_else(name: str, run: Run) -> None:
    ended = run("render", name, "--out", "-")
    assert (ended.code, ended.err) == (0, "")
    objects = list(yaml.safe_load_all(ended.out))
    assert ended.out.count("\n---\n") + ended.out.startswith("---\n") == len(objects)
    assert all(o["apiVersion"] and o["kind"] and o["metadata"]["name"] for o in objects)
    assert {"Namespace", "Service"} <= {o["kind"] for o in objects}
    assert "Kustomization" not in {o["kind"] for o in objects}
    assert objects[0]["kind"] == "Namespace"
    checked = run("check", "-", "--format", "json", stdin=ended.out.encode())
    assert checked.code == 0, checked.out


def test_a_render_says_where_it_wrote(run: Run, tmp_path: Path) -> None:
    name = "v4-flash.mi355x-8x.recommendation"
    ended = run("render", name, "--out", tmp_path)
    assert ended.code == 0
    assert ended.out == f"{tmp_path}/pairings/{name}\n"
    assert "written" in ended.err
    again = run("render", name, "--out", tmp_path)
    assert ": 0 written, 0 removed," in again.err
    assert run("render", name, "--out", tmp_path, "--check").code == 0


def test_a_stale_tree_is_named_file_by_file_and_left_alone(run: Run, tmp_path: Path) -> None:
    name = "v4-flash.mi355x-8x.recommendation"
    run("render", name, "--out", tmp_path)
    service = tmp_path / "pairings" / name / "serving" / "service.yaml"
    service.write_text("changed: 1\n")
    (service.parent / "weights.yaml").unlink()
    ended = run("render", name, "--out", tmp_path, "--check")
    assert ended.code == 1
    assert f"{service}: error[W010]: differs from what is rendered" in ended.err
    assert f"{service.parent}/weights.yaml: error[W010]: is missing" in ended.err
    assert service.read_text() == "changed: 1\n"


def test_the_committed_tree_is_fresh(run: Run) -> None:
    ended = run("render", "--check", "--out", MANIFESTS)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("minor", ["1.33", "1.35", "1.37"])
def test_the_committed_tree_has_no_error_on_any_minor(minor: str, run: Run) -> None:
    """But for objects of an API that the minor does not serve: claims of devices as `v1` came with 1.34."""
    ended = run("check", MANIFESTS, "--kubernetes-version", minor, "--format", "json")
    errors = [f for f in ended.data["findings"] if f["severity"] == "error"]
    not_yet = {f["file"] for f in errors if f["code"] == "M002" and "resource.k8s.io/v1 " in f["message"]}
    assert [f for f in errors if f["file"] not in not_yet] == []
    assert bool(not_yet) is (minor == "1.33")
    assert ended.code == int(minor == "1.33")


def test_findings_as_json_have_their_documented_shape(run: Run, write_files: Files) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: S_1}\nspec: {ports: [{port: 0}], prots: []}\n"
    folder = write_files({"a.yaml": service, "b.yaml": "apiVersion: x.example.com/v1\nkind: X\nmetadata: {name: x}\n"})
    ended = run("check", folder, "--format", "json")
    assert ended.code == 1
    findings, counts = ended.data["findings"], ended.data["counts"]
    keys = {"code", "level", "severity", "message", "file", "line", "column", "object"}
    levels = {"profile", "syntax", "schema", "admission", "bundle", "plan", "domain"}
    assert findings
    for finding in findings:
        assert keys <= {*finding}
        assert finding["level"] in levels
        assert finding["severity"] in ("error", "warning", "info", "unchecked")
        assert Path(finding["file"]).is_file() and finding["line"] >= 1 and finding["column"] >= 1
    assert {severity: sum(f["severity"] == severity for f in findings) for severity in counts} == counts
    assert counts["unchecked"] == 1


def test_what_could_not_be_checked_fails_only_when_strict(run: Run, write_files: Files) -> None:
    folder = write_files({"b.yaml": "apiVersion: x.example.com/v1\nkind: X\nmetadata: {name: x}\n"})
    assert run("check", folder).code == 0
    assert run("check", folder, "--strict").code == 1


def test_codes_can_be_selected_and_ignored(run: Run, write_files: Files) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: S_1}\nspec: {ports: [{port: 80}], prots: []}\n"
    folder = write_files({"a.yaml": service})
    every = {f["code"] for f in run("check", folder, "--format", "json").data["findings"]}
    assert "M004" in every and len(every) > 1
    assert {f["code"] for f in run("check", folder, "--select", "M004", "--format", "json").data["findings"]} == {
        "M004"
    }
    assert "M004" not in {
        f["code"] for f in run("check", folder, "--ignore", "M004", "--format", "json").data["findings"]
    }


def test_a_finding_as_text_has_place_line_caret_and_hint(run: Run, write_files: Files) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports: [{port: 80}]\n  selektor: {a: b}\n"
    ended = run("check", write_files({"a.yaml": service}) / "a.yaml")
    assert ended.code == 1
    first = ended.out.splitlines()
    assert "a.yaml:6:3: error[M004]:" in first[0]
    assert first[1:3] == ["      selektor: {a: b}", "      ^"]
    assert "did you mean 'selector'?" in ended.out


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_its_help(command: str, option: str, run: Run) -> None:
    ended = run(command, option)
    assert (ended.code, ended.err) == (0, "")
    assert f"stowplan {command}" in ended.out
    assert "\033[" not in ended.out
    assert len(ended.out.splitlines()) > 5


def test_the_help_lists_every_command(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    listed = ended.out.partition("Commands:")[2].split("\n")
    assert {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "} >= {*COMMANDS}


def test_version_tells_the_tool_its_facts_and_its_schemas(run: Run) -> None:
    assert run("version").out.startswith(f"stowplan {__version__}\nfacts up to 2026-")
    data = run("version", "-o", "json").data
    assert data["stowplan"] == __version__
    assert data["kubernetes"] == ["1.33", "1.34", "1.35", "1.36", "1.37"]
    assert len(data["facts"]["digest"]) == 12


def test_the_module_is_the_command() -> None:
    ended = in_process_of_its_own(["-m", "stowplan", "version"])
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_pipe_gets_no_colour(run: Run) -> None:
    assert "\033[" not in run("plan", "nothing").err


def test_a_terminal_gets_colour_unless_it_asks_for_none() -> None:
    script = (
        "import pty, sys, os\n"
        "os.environ.update(TERM='xterm')\n"
        "sys.exit(pty.spawn([sys.executable, '-m', 'stowplan', 'plan', 'nothing']) and 0)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    assert "\033[31m" in in_process_of_its_own(["-c", script], **environment).stdout
    assert "\033[31m" not in in_process_of_its_own(["-c", script], NO_COLOR="1").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chips", "--fits", "deepseek-v4-pro"), "--fits: error[P013]: is not for this kind"),
        (("servers", "--fits", "deepseek-v4-po"), "did you mean 'deepseek-v4-pro'?"),
        (("chips", "--vendor", "Huawei"), "did you mean 'huawei'?"),
        (("chips", "--supports", "bogus"), "--supports: error[P013]: no entry has 'bogus'"),
        (("variants", "--vendor", "huawei"), "--vendor: error[P013]: is not for this kind"),
    ],
)
def test_a_filter_that_can_match_nothing_is_a_mistake(arguments: tuple[str, ...], words: str, run: Run) -> None:
    ended = run("list", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_a_variant_is_shown_with_its_checkpoints_and_their_sizes(run: Run) -> None:
    shown = run("show", "variants", "deepseek-v4-flash").out
    row = next(line for line in shown.splitlines() if line.startswith("Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"))
    assert row.split()[:3] == ["Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp", "w8a8", "int8"]
    assert "296.2" in row
