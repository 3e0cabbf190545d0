"""YAML text in, plain data out, with the line and column of every key and value for who asks.

Data are read without places (`quick`); the first question for a place reads that document again (`careful`).
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from stowplan.diagnostics import Location, Refused
from stowplan.located_yaml.careful import LINE_END, Mark, Placed, Reader, location, refuse
from stowplan.located_yaml.quick import Plain, Words, read_plain
from stowplan.plain_scalars import json_scalar

MAX_BYTES = 16 * 2**20
"""Of one document."""
MAX_STREAM_BYTES = 64 * 2**20
MAX_STREAM_DOCUMENTS = 100_000
MAX_STREAM_NODES = 8_000_000

Path_ = Sequence[str | int]
_BEGIN = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_NOTHING = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*")
"""No document: comments before the first belong to it."""
_DIRECTIVE = re.compile(rb"^%", re.MULTILINE)
_OTHER_LINE_END = re.compile(rb"\r|\xc2\x85|\xe2\x80[\xa8\xa9]")
_BOM = b"\xef\xbb\xbf"
_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
_PLACED = 16
"""Parts whose places are kept: findings of one object come one after the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A stretch of a text that is read by itself: from one `---` to the next."""

    raw: memoryview
    file: str
    scalar: Callable[[str], object]
    first_line: int
    """How many lines stand before it."""
    escaped: bool
    """It is JSON, which writes characters beyond the 16-bit plane as pairs of escapes, which YAML does not read."""

    @property
    def text(self) -> str:
        """The part as text; that it is UTF-8 is known."""
        text = str(self.raw, "utf-8")
        return _SURROGATES.sub(_joined, text) if self.escaped else text

    def lines_with(self, word: str) -> Iterator[tuple[int, str]]:
        """The lines that hold a word, each with its number in the whole text."""
        if re.search(re.escape(word).encode(), self.raw):
            lines = enumerate(LINE_END.split(self.text), self.first_line + 1)
            yield from ((number, line) for number, line in lines if word in line)

    def read(self) -> list[Placed]:
        """Its documents with their places.

        Raises:
            Refused: as `read_bytes`.
        """
        return _placed(self).documents


def _joined(pair: re.Match[str]) -> str:
    return f"\\U{0x10000 + ((int(pair[1], 16) & 0x3FF) << 10 | int(pair[2], 16) & 0x3FF):08x}"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document as plain data; where each part of it stands is found out when it is asked for."""

    data: Any
    file: str
    part: Part | None = field(default=None, repr=False, compare=False)
    """The text that it stands in; none where it was not read from one."""
    index: int = 0
    """Which document of that text it is."""
    base: tuple[str | int, ...] = ()
    """Where `data` stands in that document."""

    def locate(self, path: Path_, *, key: bool = False) -> Location:
        """The place of the longest part of `path` that exists; `key` points at the key itself.

        Steps that the document does not have (a missing field, a union's tag) are stepped over,
        and then the place is that of the nearest parent.
        """
        if self.part is None:
            return Location(self.file, 1, 1)
        node, (line, column), marks = self._node(self.part)
        for step in path:
            mark = marks.get(id(node), {}).get(step)
            if mark is None:
                continue
            line, column = (mark[0], mark[1]) if key else (mark[2], mark[3])
            node = node[step]
        return location(self.file, _placed(self.part).lines, line, column, self.part.first_line)

    def places(self) -> Iterator[tuple[tuple[str | int, ...], tuple[Location, Location]]]:
        """Every path of `data`, with the place of its key and that of its value."""
        if self.part is None:
            return
        root, _, marks = self._node(self.part)
        lines, before = _placed(self.part).lines, self.part.first_line
        stack: list[tuple[tuple[str | int, ...], Any]] = [((), root)]
        while stack:
            path, node = stack.pop()
            for step, mark in marks.get(id(node), {}).items():
                key, value = (location(self.file, lines, *place, before) for place in (mark[:2], mark[2:]))
                yield (*path, step), (key, value)
                stack.append(((*path, step), node[step]))

    def _node(self, part: Part) -> tuple[Any, tuple[int, int], Mapping[int, Mapping[str | int, Mark]]]:
        """The data as they were read with their places, the beginning of the document, and the places."""
        node, start, marks, _ = _placed(part).documents[self.index]
        for step in self.base:
            node = node[step]
        return node, start, marks


class _PlacedPart(NamedTuple):
    documents: list[Placed]
    lines: list[str]


@lru_cache(maxsize=_PLACED)
def _placed(part: Part) -> _PlacedPart:
    reader = Reader(part.text, part.file, part.scalar, part.first_line)
    return _PlacedPart(list(reader.documents()), reader.lines)


def read_file(path: Path, shown: str | None = None, *, scalar: Callable[[str], object] = json_scalar) -> list[Document]:
    """All documents of a file.

    Raises:
        Refused: missing, a folder, too large, not text, not YAML, or over a limit.
    """
    name = shown or str(path)
    try:
        if path.is_dir():
            raise refuse("P001", "is a folder, a YAML file is expected", Location(name), unreadable=True)
        with path.open("rb") as file:
            raw = read_stream(file)
            size = max(os.fstat(file.fileno()).st_size, len(raw))
    except OSError as error:
        reason = error.strerror or str(error)
        raise refuse("P001", f"cannot be read: {reason}", Location(name), unreadable=True) from None
    if size > MAX_STREAM_BYTES:
        raise _too_large(size, MAX_STREAM_BYTES, name)
    return list(read_bytes(raw, name, scalar=scalar))


def read_stream(stream: BinaryIO) -> bytes:
    """A stream to its end, or to one byte more than `read_bytes` takes."""
    return stream.read(MAX_STREAM_BYTES + 1)


def read_bytes(raw: bytes, file: str, *, scalar: Callable[[str], object] = json_scalar) -> Iterator[Document]:
    """The documents of a text in memory (standard input, a rendered artifact).

    Raises:
        Refused: as `read_file`.
    """
    if len(raw) > MAX_STREAM_BYTES:
        raise _too_large(len(raw), MAX_STREAM_BYTES, file)
    try:
        codecs.utf_8_decode(raw, "strict", True)  # noqa: FBT003 - a function of C
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start:,} is 0x{raw[error.start]:02x})"
        raise refuse("P003", message, Location(file), unreadable=True) from None
    return _documents(_parts(raw, file, scalar), file, scalar)


def _documents(parts: Iterable[Part], file: str, scalar: Callable[[str], object]) -> Iterator[Document]:
    words, documents, nodes = Words(scalar), 0, 0
    for part in parts:
        found = read_plain(part.text, words)
        plain: Sequence[Plain | Placed] = part.read() if found is None else found
        for index, document in enumerate(plain):
            documents, nodes = documents + 1, nodes + document.nodes
            if documents > MAX_STREAM_DOCUMENTS:
                raise refuse(
                    "P005", f"holds more than {MAX_STREAM_DOCUMENTS:,} documents", Location(file), unreadable=True
                )
            if nodes > MAX_STREAM_NODES:
                raise refuse("P005", f"holds more than {MAX_STREAM_NODES:,} values", Location(file), unreadable=True)
            yield Document(document.data, file, part, index)


def _parts(raw: bytes, file: str, scalar: Callable[[str], object]) -> Iterator[Part]:
    """Stretches that can be read one by one: no value of YAML goes over a line that begins with `---`."""
    view, begins = memoryview(raw), 3 if raw.startswith(_BOM) else 0
    escaped = raw[begins : begins + 256].lstrip()[:1] in (b"{", b"[")
    ends = [] if _DIRECTIVE.search(raw) else [m.start() for m in _BEGIN.finditer(raw, begins)]
    other = _OTHER_LINE_END.search(raw) is not None
    line = 0
    if ends and _NOTHING.fullmatch(raw, begins, ends[0]):
        ends = ends[1:]
    for end in [*ends, len(raw)]:
        if end - begins > MAX_BYTES:
            raise _too_large(end - begins, MAX_BYTES, file)
        part = Part(view[begins:end], file, scalar, line, escaped)
        line += len(LINE_END.findall(part.text)) if other else raw.count(b"\n", begins, end)
        begins = end
        yield part


def _too_large(size: int, limit: int, file: str) -> Refused:
    return refuse("P002", f"is {size:,} bytes, more than the limit of {limit:,}", Location(file), unreadable=True)
