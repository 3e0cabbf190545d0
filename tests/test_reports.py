"""Findings in every format, ignores in files, and baselines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest
from conftest import Files, Run

from stowplan.check.pages import pages

BAD = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: "a: 100%, b"}
data: {mode: 1}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
"""
GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
SARIF = os.environ.get("STOWPLAN_SARIF_SCHEMA", "")


@pytest.fixture
def bad(write_files: Files) -> Path:
    return write_files({"bad file.yaml": BAD}) / "bad file.yaml"


def codes(run: Run, *arguments: str | Path) -> list[str]:
    return [f["code"] for f in run("check", *arguments, "--format", "json").data["findings"]]


def test_several_reports_at_once(run: Run, bad: Path, tmp_path: Path) -> None:
    files = [f"{name}={tmp_path / name}" for name in ("json", "sarif", "junit", "text")]
    ended = run("check", bad, *(word for file in files for word in ("--format", file)), "--format", "github")
    assert ended.code == 1
    assert "a: 100%25, b" in ended.out
    found = json.loads((tmp_path / "json").read_text())["findings"]
    assert ended.out.count("\n") == len(found) == 3
    assert [line.split(" ")[0] for line in ended.out.splitlines()] == ["::error", "::error", "::notice"]
    results = json.loads((tmp_path / "sarif").read_text())["runs"][0]["results"]
    assert [r["ruleId"] for r in results] == [f["code"] for f in found]
    suite = ET.fromstring((tmp_path / "junit").read_text()).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "2", "1")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    "given", [["text", "json"], ["yaml"], ["sarif="], ["json=/x", "text=/x"], ["json=/no/such/folder/x"]]
)
def test_reports_that_cannot_be_written_are_refused(run: Run, bad: Path, given: list[str]) -> None:
    ended = run("check", bad, *(word for name in given for word in ("--format", name)))
    assert (ended.code, "Traceback" in ended.err) == (2, False)


def test_sarif_names_rules_places_and_fingerprints(run: Run, bad: Path) -> None:
    log = run("check", bad, "--format", "sarif").data
    (ran,) = log["runs"]
    rules = ran["tool"]["driver"]["rules"]
    for result in ran["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        where = result["locations"][0]["physicalLocation"]
        assert where["artifactLocation"]["uri"].startswith("file:///")
        assert where["artifactLocation"]["uri"].endswith("/bad%20file.yaml")
        assert where["region"]["startLine"] > 0
    moved = run("check", "-", "--format", "sarif", stdin=b"# moved\n" + BAD.encode()).data["runs"][0]["results"]
    again = run("check", "-", "--format", "sarif", stdin=BAD.encode()).data["runs"][0]["results"]
    assert [r["partialFingerprints"] for r in moved] == [r["partialFingerprints"] for r in again]
    assert [r["locations"] for r in moved] != [r["locations"] for r in again]


@pytest.mark.skipif(not SARIF, reason="STOWPLAN_SARIF_SCHEMA does not name the official sarif-schema-2.1.0.json")
def test_sarif_is_valid_by_the_official_schema(run: Run, bad: Path) -> None:
    schema = jsonschema_rs.validator_for(json.loads(Path(SARIF).read_text(encoding="utf-8")))
    assert [str(e) for e in schema.iter_errors(run("check", bad, "--format", "sarif").data)] == []
    assert [str(e) for e in schema.iter_errors(run("check", "-", "--format", "sarif", stdin=GOOD.encode()).data)] == []


def test_a_clean_run_is_a_passed_test(run: Run) -> None:
    ended = run("check", "-", "--format", "junit", stdin=GOOD.encode())
    assert (ended.code, 'tests="1" failures="0"' in ended.out) == (0, True)


@pytest.mark.parametrize("comment", ["M106, M004 because the mirror renames it", "M because it is a test"])
def test_a_file_ignores_codes_with_a_reason(run: Run, write_files: Files, comment: str) -> None:
    root = write_files({"a.yaml": f"# stowplan: ignore {comment}\n{BAD}", "b.yaml": BAD})
    assert {"M106", "M004"} & set(codes(run, root / "a.yaml")) == set()
    assert {"M106", "M004"} <= set(codes(run, root))


def test_an_object_ignores_codes_with_a_reason(run: Run, write_files: Files) -> None:
    noted = BAD.replace(
        '"a: 100%, b"}', '"a: 100%, b", annotations: {stowplan.dev/ignore: "M106 because\\nM004 because it is a test"}}'
    )
    assert codes(run, write_files({"a.yaml": noted}) / "a.yaml") == ["M106", "M009", "M003"]


@pytest.mark.parametrize(
    ("comment", "code"),
    [("M106", "M009"), ("because of all", "M009"), ("", "M009"), ("D102 because it was so once", "M008")],
)
def test_an_ignore_without_reason_or_use_is_told_at_its_line(
    run: Run, write_files: Files, comment: str, code: str
) -> None:
    root = write_files({"a.yaml": f"{BAD}# stowplan: ignore {comment}\n"})
    found = run("check", root / "a.yaml", "--format", "json").data["findings"]
    assert {"M106", "M004", "M003"} <= {f["code"] for f in found}
    assert [f["line"] for f in found if f["code"] == code] == [9]


def test_a_baseline_leaves_out_what_was_there(run: Run, bad: Path, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    assert run("check", bad, "--write-baseline", file).code == 0
    bad.write_text("# a line more\n" + BAD)
    assert run("check", bad, "--baseline", file, "--strict").code == 0
    bad.write_text(BAD.replace("mode: 1", "mode: 1, more: 2"))
    assert [f["message"] for f in run("check", bad, "--baseline", file, "--format", "json").data["findings"]] == [
        "expected text, got the number 2"
    ]
    bad.write_text(GOOD)
    ended = run("check", bad, "--baseline", file)
    assert (ended.code, "3 findings" in ended.err) == (0, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"findings/v1": [{"code": "M1"}]}'])
def test_what_is_no_baseline_is_refused(run: Run, bad: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "b").write_text(text)
    assert run("check", bad, "--baseline", tmp_path / "b").code == 2


def test_every_code_has_a_page_and_its_examples_are_told_apart(run: Run) -> None:
    for code in ("M001", "M002", "M003", "M004", "M008", "M009"):
        page = pages()[code]
        found = run("check", "-", "--format", "json", stdin=page.bad.encode()).data["findings"]
        assert [f["severity"] for f in found if f["code"] == code] == [page.severity], code
        found = run("check", "-", "--format", "json", stdin=page.good.encode()).data["findings"]
        assert code not in {f["code"] for f in found}
    assert run("explain", "M106").out == run("explain", "--check", "M106").out
    assert "namespace" in run("explain", "m106").out
    assert run("explain", "M999").code == 2


def test_a_baseline_calls_gone_only_what_was_looked_at(run: Run, write_files: Files) -> None:
    bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: None}\n"
    folder = write_files({"tree/a.yaml": bad, "tree/b.yaml": bad.replace("settings", "others")})
    known = folder / "known.json"
    run("check", folder / "tree", "--write-baseline", known)
    assert "gone" not in run("check", folder / "tree" / "a.yaml", "--baseline", known).err
    assert "gone" not in run("check", folder / "tree", "--baseline", known, "--select", "D1").err
    write_files({"tree/b.yaml": bad.replace("settings", "others").replace("None", "serving")})
    assert "1 findings of" in run("check", folder / "tree", "--baseline", known).err


@pytest.mark.parametrize("codes", ["NOSUCH", "M999", "m1"])
def test_codes_that_no_check_has_are_refused(codes: str, run: Run, write_files: Files) -> None:
    file = write_files({"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}) / "a.yaml"
    assert run("check", file, "--ignore", codes).code == 2
    assert run("check", file, "--ignore", "M1,D102").code == 0
