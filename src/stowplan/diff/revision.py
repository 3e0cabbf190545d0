"""A revision of the Git repository around the working directory in; its files below a folder out.

Git is asked for names and contents only: nothing is checked out, no filter and no hook runs, nothing is fetched.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stowplan.diagnostics import Diagnostic, Location, Refused

_ENVIRONMENT = {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
_FILES = ("100644", "100755")
"""Modes of regular files; links and submodules are left out."""
_SUFFIXES = (".yaml", ".yml", ".json", ".md")
"""What a comparison reads."""


class Revision(NamedTuple):
    """A tree (or one file) of a commit."""

    given: str
    commit: str
    path: str
    """Below the top of the repository, `/` between its parts; empty: all of it."""


def find_revision(given: str) -> Revision | None:
    """`REV` (its tree at the working directory) or `REV:PATH` (from the top, or from here where it begins with `./`); None: neither."""
    name, colon, path = given.partition(":")
    asked = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}") if name else None
    if asked is None:
        return None
    prefix = (_git("rev-parse", "--show-prefix") or b"").decode("utf-8", "replace").strip()
    below = str(PurePosixPath(prefix, path)) if not colon or path.startswith("./") else path
    return Revision(given, asked.decode().strip(), "" if below == "." else below.strip("/"))


def write_files(revision: Revision, folder: Path) -> Path:
    """The revision's files written below an empty folder; the path of what was named.

    Raises:
        Refused: the commit has nothing at that path, or a name in it would leave the folder.
    """
    listed = _git(
        "ls-tree", "-r", "-z", "--full-tree", revision.commit, "--", *([revision.path] if revision.path else [])
    )
    files = [
        (name, digest)
        for mode, digest, name in _entries(listed or b"")
        if mode in _FILES and (name.endswith(_SUFFIXES) or name == revision.path)
    ]
    if not files:
        message = f"has nothing to compare at '{revision.path}'" if revision.path else "has nothing to compare"
        raise Refused([Diagnostic("P001", message, Location(revision.given))], unreadable=True)
    contents = _contents([digest for _, digest in files])
    for (name, _), content in zip(files, contents, strict=True):
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise Refused(
                [Diagnostic("P001", f"holds a file named '{name}'", Location(revision.given))], unreadable=True
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder / revision.path


def _entries(listed: bytes) -> Iterator[tuple[str, str, str]]:
    """Mode, digest and name of each."""
    for entry in listed.split(b"\0"):
        facts, tab, name = entry.partition(b"\t")
        if tab:
            mode, _, digest = facts.decode().split()
            yield mode, digest, name.decode("utf-8", "surrogateescape")


def _contents(digests: list[str]) -> Iterator[bytes]:
    """What Git holds under each digest, as `cat-file --batch` writes it: a line with the size, the bytes, a line end."""
    told = _git("cat-file", "--batch", stdin="".join(f"{digest}\n" for digest in digests).encode()) or b""
    start = 0
    for digest in digests:
        end = told.index(b"\n", start)
        size = told[start:end].split()[-1]
        if not size.isdigit():
            message = f"object {digest[:12]} is not in this clone"
            hint = "fetch the whole history: git fetch --unshallow"
            raise Refused([Diagnostic("P001", message, Location("git"), hint=hint)], unreadable=True)
        yield told[end + 1 : end + 1 + int(size)]
        start = end + 2 + int(size)


def _git(*arguments: str, stdin: bytes = b"") -> bytes | None:
    """What git prints; None where it refuses or is not installed."""
    try:
        ended = subprocess.run(  # noqa: S603 - a list of arguments, and names of revisions stand behind --end-of-options
            ["git", *arguments],  # noqa: S607 - the user's own git
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, **_ENVIRONMENT},
        )
    except FileNotFoundError:
        return None
    return ended.stdout if ended.returncode == 0 else None
