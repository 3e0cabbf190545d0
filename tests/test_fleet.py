"""Many pairings in one tree: a display on a terminal only, nothing written twice."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count

import pytest
from conftest import Files, Run, pairing_text

from stowplan.cli import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at the clock is two seconds after the one before."""
    ticks = count(0, 2)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))
    return


@pytest.mark.usefixtures("clock")
def test_a_terminal_sees_how_far_it_is_and_a_pipe_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        monkeypatch.setattr("sys.stderr", stream)
        assert list(progress.shown(["a", "b", "c"], "planned")) == ["a", "b", "c"]
    assert "planned: 2 of 3" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\033[K"), "the line is taken away at the end"
    assert pipe.getvalue() == ""


def test_a_second_render_of_many_writes_nothing(run: Run, write_files: Files) -> None:
    spec = {"variant": "deepseek-v4-flash", "server": "mi355x-8x", "useCase": "chat"}
    files = {f"profiles/pairings/p{i}.yaml": pairing_text(f"p{i}", **spec, replicas=i + 1) for i in range(8)}
    root = write_files(files)
    arguments = ("render", "--profiles", root / "profiles", "--out", root / "out")
    first = run(*arguments)
    assert (first.code, len(first.out.splitlines())) == (0, 8)
    times = {p: p.stat().st_mtime_ns for p in (root / "out").rglob("*") if p.is_file()}
    assert " 0 written, 0 removed" in run(*arguments).err
    assert {p: p.stat().st_mtime_ns for p in (root / "out").rglob("*") if p.is_file()} == times
