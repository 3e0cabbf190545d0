"""The pages show what the program does: their commands run, their files are valid, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, Run

DOCS = ROOT / "docs"
AT_ROOT = sorted(ROOT.glob("*.md"))
PAGES = [*AT_ROOT, *sorted(p for p in DOCS.rglob("*.md") if "reference" not in p.parts)]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (profiles/\S+\.yaml|[\w-]+\.yaml)\n")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
REST = "..."


class Shown(NamedTuple):
    """A command of a page, how it ends there, and the lines that it prints there."""

    command: str
    code: int
    lines: tuple[str, ...]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(language: str, block: str) -> Iterator[Shown]:
    """In a console block a command follows `$ ` and its output follows it; `$ echo $?` tells the exit code."""
    if language == "sh":
        yield from (Shown(line, 0, ()) for line in block.splitlines() if line.startswith("stowplan "))
        return
    steps = [step.splitlines() for step in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]]
    for step, after in zip(steps, [*steps[1:], [""]], strict=True):
        if step[0].startswith("stowplan "):
            code = int(after[1]) if after[0] == "echo $?" else 0
            yield Shown(step[0], code, tuple(line for line in step[1:] if line.strip() and line != REST))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def is_printed(line: str, printed: list[str]) -> bool:
    """Whether the program prints the line, or a line that goes on where `...` stands; blanks do not count."""
    start = squeezed(line)
    if start.endswith(REST):
        return any(p.startswith(start.removesuffix(REST).rstrip()) for p in printed)
    return start in printed


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages at the root stand in a checkout, the others begin in an empty folder; files are made as they are shown."""
    blocks = BLOCK.findall(page.read_text("utf-8"))
    if page in AT_ROOT and any("stowplan " in block for _, block in blocks):
        for name in ("profiles", "manifests"):
            shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for language, block in blocks:
        if language == "yaml" and (named := FILE.match(block)):
            file = tmp_path / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block, "utf-8")
        if language not in ("console", "sh"):
            continue
        for shown in commands(language, block):
            ended = run(*shlex.split(shown.command.split(" | ")[0], comments=True)[1:])
            assert ended.code == shown.code, f"{shown.command}\n{ended.out}{ended.err}"
            printed = [squeezed(line) for line in (ended.out + ended.err).splitlines()]
            missing = [line for line in shown.lines if not is_printed(line, printed)]
            assert not missing, f"{shown.command} prints\n{ended.out}{ended.err}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text("utf-8"))
    assert not [target for target in LINK.findall(text) if not (page.parent / target).exists()]


def test_the_reference_is_what_the_program_writes() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.stale(reference.pages()) == [], "run: python scripts/reference.py"
