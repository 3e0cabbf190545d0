"""Starting is cheap: what a fresh interpreter imports, not how long it takes."""

from __future__ import annotations

import pytest
from conftest import ROOT, in_process_of_its_own

HEAVY = {"pydantic", "jinja2", "yaml", "jsonschema_rs", "kubernetes", "rich"}
_SCRIPT = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\n".join(sys.modules)))
sys.argv = ["stowplan", *sys.argv[1:]]
from stowplan.cli import main
main()
"""


def imported(*arguments: str) -> set[str]:
    ended = in_process_of_its_own(["-c", _SCRIPT, *arguments])
    assert ended.returncode == 0, ended.stderr
    return {name.partition(".")[0] for name in ended.stderr.split("\n")}


def test_help_imports_no_heavy_library() -> None:
    names = imported("--help")
    assert "typer" in names
    assert names & HEAVY == set()


@pytest.mark.parametrize("command", ["plan", "render", "check"])
def test_the_help_of_a_command_imports_none_but_what_the_parser_does(command: str) -> None:
    assert imported(command, "--help") & HEAVY <= {"pydantic"}  # typer coerces parameters with it


def test_planning_imports_neither_templates_nor_schemas_nor_the_client() -> None:
    names = imported("list", "chips")
    assert "pydantic" in names
    assert names & {"jsonschema_rs", "kubernetes", "rich"} == set()


def test_rendering_imports_no_client(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out")
    names = imported("render", "v4-flash.mi355x-8x.recommendation", "--out", str(out))
    assert "jinja2" in names
    assert names & {"kubernetes", "rich"} == set()


def test_checking_imports_no_client() -> None:
    assert imported("check", "-") & {"kubernetes", "rich"} == set()


@pytest.mark.parametrize("program", ["benchmarks/pipeline.py", "scripts/reference.py", "scripts/engine_flags.py"])
def test_what_maintainers_run_can_be_imported(program: str) -> None:
    ended = in_process_of_its_own(["-c", f"import runpy; runpy.run_path({str(ROOT / program)!r}, run_name='imported')"])
    assert ended.returncode == 0, ended.stderr
