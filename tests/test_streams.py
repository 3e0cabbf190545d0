"""Long streams: `check` reads them part by part, in memory and time that grow with the documents and no faster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import MANIFESTS

from stowplan.check.custom_resources.definitions import Definitions
from stowplan.check.runner import check_bundle
from stowplan.located_yaml import read_bytes
from stowplan.located_yaml.careful import Reader
from stowplan.plain_scalars import kubernetes_scalar

FOLDERS = ("v4-flash.hgx-h200.chat.gateway", "v4-flash.mi355x-8x.recommendation", "v4-flash.atlas-800i-a3.chat")
MIB = 2**20


def stream(documents: int) -> str:
    """At least so many serving objects of several pairings, again and again, each time in namespaces of their own."""
    files = [f for folder in FOLDERS for f in sorted((MANIFESTS / "pairings" / folder / "serving").rglob("*.yaml"))]
    parts = [part for f in files if f.name != "kustomization.yaml" for part in f.read_text("utf-8").split("\n---\n")]
    parts = [part for part in parts if "\nkind: " in f"\n{part}"]
    copies = [
        part.removeprefix("---\n").replace("namespace: ", f"namespace: n{number}-").rstrip("\n")
        for number in range(-(-documents // len(parts)))
        for part in parts
    ]
    return "\n---\n".join(copies) + "\n"


class Measured(NamedTuple):
    code: int
    mib: float


LAUNCH = """
import resource, subprocess, sys
ended = subprocess.run([sys.executable, "-m", "stowplan", *sys.argv[1:]], stdout=subprocess.DEVNULL)
print(ended.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
"""A process begins as large as its parent: so the parent is a small one."""


def measured(*arguments: str, stdin: Path | None = None) -> Measured:
    """A command in a process of its own: its exit code and the most memory that it held."""
    command = [sys.executable, "-c", LAUNCH, *arguments]
    with (stdin or Path(os.devnull)).open("rb") as given:
        ended = subprocess.run(command, stdin=given, capture_output=True, text=True, check=True, timeout=300)
    code, mib = ended.stdout.split()
    return Measured(int(code), float(mib))


@pytest.mark.skipif(sys.platform == "darwin", reason="memory is counted in other units")
def test_a_long_stream_is_read_in_bounded_memory(tmp_path: Path) -> None:
    short, long = tmp_path / "short.yaml", tmp_path / "long.yaml"
    short.write_text(stream(50), encoding="utf-8")
    long.write_text(stream(1000), encoding="utf-8")
    one, many = measured("check", str(short)), measured("check", "-", stdin=long)
    assert (one.code, many.code) == (0, 0)
    assert many.mib - one.mib < (200 - one.mib) * 1000 / 10_000 * 1.5, (one, many)


def test_a_stream_without_findings_is_never_read_with_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "documents", None)
    text = stream(200).encode()
    assert len(list(read_bytes(text, "a.yaml", scalar=kubernetes_scalar))) >= 200


def test_the_two_readers_read_the_same() -> None:
    text = stream(100)
    plain = [d.data for d in read_bytes(text.encode(), "a.yaml", scalar=kubernetes_scalar)]
    assert plain == [d.data for d in Reader(text, "a.yaml", kubernetes_scalar).documents()]


@pytest.mark.parametrize("before", ["", "# a comment\n", "\n---\n# two\n", "---\na: 1\n...\n", "%YAML 1.1\n", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_counted_over_parts(before: str, end: str) -> None:
    text = f"{before}---\nc: [1]\n---\n{{}}\n---\nlast: here\n".replace("\n", end)
    last = list(read_bytes(text.encode(), "a.yaml", scalar=kubernetes_scalar))[-1]
    place = last.locate(("last",))
    assert (place.line, place.column) == (text[: text.index("last")].count(end) + 1, 7)
    assert place.text.rstrip("\r") == "last: here"


def test_definitions_that_no_document_needs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stowplan.check.custom_resources.definitions._files", None)
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Nothing\nmetadata: {name: a}\n"
    documents = list(read_bytes(text.encode(), "a.yaml", scalar=kubernetes_scalar))
    assert check_bundle(documents[:1], "1.36", crds=Definitions([tmp_path])) == []
    with pytest.raises(TypeError):
        check_bundle(documents, "1.36", crds=Definitions([tmp_path]))
