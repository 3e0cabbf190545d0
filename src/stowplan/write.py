"""Artifacts in, files out: all of them or none, and only files that stowplan wrote are ever removed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.render.artifact import Artifact

INDEX = ".stowplan-index"
"""Digest and path of each file that stowplan wrote, as `sha256sum -c` reads it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a render would do to a folder."""

    written: tuple[str, ...]
    """Paths that are new or differ."""
    removed: tuple[str, ...]
    """Paths that stowplan wrote once and no longer renders."""
    same: int

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.written or self.removed)


def changes(out: Path, artifacts: Iterable[Artifact], owned: Iterable[str]) -> Changes:
    """Compare a folder with what is rendered; `owned` are the path prefixes that this render covers."""
    wanted = {artifact.path: artifact.text.encode() for artifact in artifacts}
    prefixes = tuple(owned)
    written = tuple(sorted(path for path, text in wanted.items() if _content(out / path) != text))
    removed = tuple(
        sorted(p for p in _index(out) if p not in wanted and p.startswith(prefixes) and (out / p).is_file())
    )
    return Changes(written, removed, len(wanted) - len(written))


def write(out: Path, artifacts: Iterable[Artifact], owned: Iterable[str]) -> Changes:
    """Bring a folder to what is rendered.

    Everything is staged inside the folder first; then the files change places. A file that cannot be
    moved puts the others back, Ctrl-C waits until all have moved; a machine that stops between two moves
    leaves the old files in `.stowplan-stage-*/old`.

    Raises:
        Refused: the folder cannot be written, or another render is writing to it.
    """
    artifacts = list(artifacts)
    if out.exists() and not out.is_dir():
        raise Refused([Diagnostic("W001", "is a file; a folder is expected", Location(str(out)))], unreadable=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            found = changes(out, artifacts, owned)
            if found or not (out / INDEX).is_file():
                _replace(out, {a.path: a.text.encode() for a in artifacts}, found)
    except OSError as error:
        place = str(error.filename or out)
        message = f"cannot be written: {error.strerror or error}; the old tree is as it was"
        raise Refused([Diagnostic("W001", message, Location(place))], unreadable=True) from None
    return found


def add(out: Path, artifacts: Iterable[Artifact]) -> Changes:
    """Write the files that are not there; what is there stays as it is. They are the user's, and never pruned.

    Raises:
        Refused: the folder cannot be written.
    """
    written, same = [], 0
    try:
        for artifact in artifacts:
            _refuse_outside(out, artifact.path)
            target = out / artifact.path
            if os.path.lexists(target):
                same += 1
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(artifact.text)
            written.append(artifact.path)
    except OSError as error:
        place = str(error.filename or out)
        message = f"cannot be written: {error.strerror or error}"
        raise Refused([Diagnostic("W001", message, Location(place))], unreadable=True) from None
    return Changes(tuple(written), (), same)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Refused(
            [
                Diagnostic(
                    "W002", "another render is writing to this folder", Location(str(out)), hint="wait for it to end"
                )
            ],
            unreadable=True,
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def _replace(out: Path, wanted: dict[str, bytes], found: Changes) -> None:
    index = {p: d for p, d in _index(out).items() if p not in found.removed}
    index |= {path: hashlib.sha256(text).hexdigest() for path, text in wanted.items()}
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(index.items()))
    new = {path: wanted[path] for path in found.written} | {INDEX: lines.encode()}
    for path in (*new, *found.removed):
        _refuse_outside(out, path)
    stage = Path(tempfile.mkdtemp(prefix=".stowplan-stage-", dir=out))
    try:
        for path, text in new.items():
            _write_one(stage / "new" / path, text)
        with _uninterrupted():
            _swap(out, stage, list(new), found.removed)
        _drop_empty_folders(out, found.removed)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_one(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _swap(out: Path, stage: Path, new: list[str], removed: Iterable[str]) -> None:
    """Old files out of the way, new ones in; undone in reverse when one step fails."""
    done: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        done.append((source, target))

    try:
        for path in (*new, *removed):
            if (out / path).exists():
                move(out / path, stage / "old" / path)
        for path in new:
            move(stage / "new" / path, out / path)
    except OSError:
        for source, target in reversed(done):
            target.replace(source)
        raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the files have changed places."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pending:
        raise KeyboardInterrupt


def _refuse_outside(out: Path, path: str) -> None:
    root, target = out.resolve(), (out / path).parent.resolve()
    if not target.is_relative_to(root):
        message = f"{path} would be written to {target}, outside of the output folder"
        raise Refused([Diagnostic("W003", message, Location(str(out)), hint="remove the link")], unreadable=True)


def _drop_empty_folders(out: Path, removed: Iterable[str]) -> None:
    above = {
        folder for path in removed for folder in (out / path).parents if folder.is_relative_to(out) and folder != out
    }
    for folder in sorted(above, key=lambda folder: len(folder.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _index(out: Path) -> dict[str, str]:
    content = _content(out / INDEX)
    if content is None:
        return {}
    rows = (line.partition("  ") for line in content.decode(errors="replace").splitlines())
    return {
        path: digest
        for digest, _, path in rows
        if path and ".." not in Path(path).parts and not Path(path).is_absolute()
    }


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def replace_file(path: Path, text: str) -> None:
    """Put a text into a file's place at once, so that a reader never sees half of it.

    Raises:
        Refused: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        message = f"cannot be written: {error.strerror or error}"
        raise Refused([Diagnostic("W001", message, Location(str(path)))], unreadable=True) from None
