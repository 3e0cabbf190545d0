"""Shared fixtures: the shipped catalogue, the command line in process, and the flags that accept new output."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stowplan import resources
from stowplan.catalog import Catalog, Entry, Shelf
from stowplan.pairing import Pairing, read_pairing, resolve
from stowplan.plan.model import Plan
from stowplan.plan.planner import plan
from stowplan.profiles.pairing import PairingSpec

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "manifests"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-manifests", action="store_true", help="Rewrite manifests/ from profiles/pairings.")
    parser.addoption("--update-error-pages", action="store_true", help="Rewrite the answers in tests/errors.")


def pytest_collection_finish() -> None:
    """The tests and the modules stay to the end: collecting garbage looks only at what came after, and less often."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


IN_SUMMARY = "in summary"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lines that tests put into the summary, whichever process they ran in."""
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.getreports(outcome)]
    for line in (text for r in reports for name, text in r.user_properties if name == IN_SUMMARY):
        terminalreporter.write_line(str(line))


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]
Files = Callable[[Mapping[str, str | bytes]], Path]
InSummary = Callable[[str], None]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog([resources.folder("profiles")])


@pytest.fixture(autouse=True, scope="session")
def shipped_profiles_are_read_once() -> Iterator[None]:
    """Every command of these tests makes a catalogue of its own; what it reads of the shipped files is the same bytes."""
    shipped, read, kept = resources.folder("profiles"), Shelf._read, dict[tuple[Path, Path], Entry[Any]]()

    def once(shelf: Shelf[Any], name: str, path: Path) -> Entry[Any]:
        key = path, path.absolute()  # messages name the path as it was given, which may begin in the current folder
        if shipped not in key[1].parents:
            return read(shelf, name, path)
        if key not in kept:
            kept[key] = read(shelf, name, path)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shelf, "_read", once)
        yield


@pytest.fixture(scope="session")
def plans(catalog: Catalog) -> dict[str, Plan]:
    """The plan of every shipped pairing."""
    return {name: plan(read_pairing(path, catalog)) for name, path in sorted(catalog.pairings.files.items())}


@pytest.fixture
def in_summary(record_property: Callable[[str, object], None]) -> InSummary:
    """Put a line into the summary of the run; what a test prints is lost with several processes."""
    return lambda line: record_property(IN_SUMMARY, line)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: `run("plan", NAME, stdin=b"")`."""
    from stowplan.cli import app
    from stowplan.cli.outcome import guarded

    def ran(*arguments: str | Path, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["stowplan", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = guarded(app)
        return Ended(code, *capsys.readouterr())

    return ran


@pytest.fixture
def write_files(tmp_path: Path) -> Files:
    """Write files below the test's own folder, and say where that is."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def in_process_of_its_own(arguments: Iterable[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, away from the checkout's folder."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=environment.pop("cwd", None),
        env={**os.environ, **environment},
    )


def pairing_text(name: str = "p", **spec: Any) -> str:
    """A pairing's file."""
    data = {"apiVersion": "stowplan/v1", "kind": "Pairing", "metadata": {"name": name}, "spec": spec}
    return json.dumps(data, indent=1)


def resolved(catalog: Catalog, variant: str, server: str, use_case: str = "chat", **pinned: Any) -> Pairing:
    """A pairing without a file."""
    spec = {"variant": variant, "server": server, "useCase": use_case, **pinned}
    return resolve("test", PairingSpec.model_validate(spec), catalog)


def planned(catalog: Catalog, variant: str, server: str, use_case: str = "chat", **pinned: Any) -> Plan:
    """The plan of a pairing without a file."""
    return plan(resolved(catalog, variant, server, use_case, **pinned))
