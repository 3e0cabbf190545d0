"""`errors/*.md`: each mistake beside the exact answer it gets.

A page holds cases: prose, a `yaml` block, an `error` block with what `stowplan plan` prints (for a block
marked `yaml check`: what `stowplan check` prints). `--update-error-pages` writes the answers anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Run

PAGES = sorted((Path(__file__).parent / "errors").glob("*.md"))
_CASE = re.compile(
    r"^```yaml(?P<command>[ a-z]*)\n(?P<yaml>.*?)^```\n+```error\n(?P<error>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Case(NamedTuple):
    """One mistake on a page."""

    page: Path
    number: int
    command: str
    yaml: str
    error: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.number}"


def cases() -> list[Case]:
    return [
        Case(page, number, found["command"].strip() or "plan", found["yaml"], found["error"])
        for page in PAGES
        for number, found in enumerate(_CASE.finditer(page.read_text(encoding="utf-8")), start=1)
    ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(case: Case, run: Run, folder: Path) -> str:
    name = "pairing.yaml" if case.command == "plan" else "file.yaml"
    (folder / name).write_text(case.yaml, encoding="utf-8")
    ended = run(case.command, name)
    assert ended.code in (1, 2), ended
    return ended.out if case.command == "check" else ended.out + ended.err


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_mistake_gets_the_answer_of_its_page(
    case: Case, run: Run, here: Path, request: pytest.FixtureRequest
) -> None:
    said = answer(case, run, here)
    if request.config.getoption("--update-error-pages"):
        text = case.page.read_text(encoding="utf-8")
        old, new = f"{case.yaml}```\n\n```error\n{case.error}```", f"{case.yaml}```\n\n```error\n{said}```"
        case.page.write_text(text.replace(old, new), encoding="utf-8")
    else:
        assert said == case.error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_a_title_and_an_answer_for_each_mistake(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert text.count("```yaml") == text.count("```error") == len(_CASE.findall(text)) > 0


@pytest.mark.parametrize("case", cases(), ids=str)
def test_an_answer_names_a_place_a_code_and_a_line_of_the_file(case: Case) -> None:
    first, *rest = case.error.splitlines()
    place = re.match(r"(pairing|file)\.yaml:(\d+):(\d+): error\[[A-Z]\d{3}\]: ", first)
    assert place, first
    line = case.yaml.splitlines()[int(place[2]) - 1]
    assert int(place[3]) <= len(line) + 1
    assert rest[0].strip() == line.strip()
