"""The text of one part of a stream in; its data, with the line and column of every key and value, or the refusal out.

Parsed event by event (libyaml), so that depth, size and alias expansion are bounded before
anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plain_scalars import json_scalar

MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_ALIAS_NODES = 50_000
NULLS = {"", "~", "null", "Null", "NULL"}

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TEXT_TAG = "tag:yaml.org,2002:str"
_RESOLVED_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "null")}


class Mark(NamedTuple):
    """0-based line and column of a key (for a list item: of the value) and of its value."""

    key_line: int
    key_column: int
    line: int
    column: int


class Placed(NamedTuple):
    """One document as it was read with places; lines count from the beginning of its part."""

    data: Any
    start: tuple[int, int]
    marks: dict[int, dict[str | int, Mark]]
    """By the identity of a list or mapping of `data`: where each of its parts stands."""
    nodes: int


def location(file: str, lines: Sequence[str], line: int, column: int, first_line: int = 0) -> Location:
    """A place from 0-based numbers; the end of the text counts as the end of its last line."""
    if line >= len(lines):
        line, column = max(len(lines) - 1, 0), len(lines[-1]) if lines else 0
    return Location(file, first_line + line + 1, column + 1, lines[line] if lines else "")


def refuse(code: str, message: str, location: Location, *, hint: str = "", unreadable: bool = False) -> Refused:
    """A refusal with one finding on the text."""
    return Refused([Diagnostic(code, message, location, hint=hint, level="syntax")], unreadable=unreadable)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being filled: `key` is set while its value is awaited."""

    value: Any
    marks: dict[str | int, Mark]
    anchor: str | None
    started_at: int
    key: str | None = None
    key_mark: Any = None
    merging: bool = False
    """The key is a merge key: a plain `<<`."""
    merges: list[dict[str, Any]] = field(default_factory=list)


class Reader:
    """Builds documents from libyaml's events without recursion."""

    def __init__(self, text: str, file: str, scalar: Callable[[str], object], first_line: int = 0) -> None:
        self.text, self.file, self.scalar, self.first_line = text, file, scalar, first_line
        self.lines = LINE_END.split(text)

    def documents(self) -> Iterator[Placed]:
        """Every document of the text.

        Raises:
            Refused: it is not YAML, holds what is not read, or goes over a limit.
        """
        loader = Loader(self.text)
        try:
            while loader.check_event():
                event = loader.get_event()
                if type(event) is yaml.DocumentStartEvent:
                    yield self._document(loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self._place(mark) if mark else Location(self.file)
            raise refuse("P003", f"is not YAML: {error.problem or error.context}", place, unreadable=True) from None
        except yaml.YAMLError as error:
            reason = str(error).splitlines()[0]
            raise refuse("P003", f"is not YAML: {reason}", Location(self.file), unreadable=True) from None
        finally:
            loader.dispose()

    def _document(self, loader: Any) -> Placed:
        self.nodes = self.alias_nodes = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.marks: dict[int, dict[str | int, Mark]] = {}
        self.root: Any = None
        self.start = (0, 0)
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.SequenceStartEvent: self._open_list,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
        }
        while type(event := loader.get_event()) is not yaml.DocumentEndEvent:
            handlers[type(event)](event)
        return Placed(self.root, self.start, self.marks, self.nodes)

    def _scalar(self, event: Any) -> None:
        text = event.value
        if self.stack and self.stack[-1].key is None and type(self.stack[-1].value) is dict:
            self._key(text, event, plain=bool(event.implicit[0]))
            return
        self._check_tag(event)
        value = self.scalar(text) if (event.implicit[0] and event.tag is None) or event.tag in _RESOLVED_TAGS else text
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)
        self._add(value, event.start_mark)

    def _key(self, text: str, event: Any, *, plain: bool) -> None:
        parent = self.stack[-1]
        if plain and text in NULLS and self.scalar is not json_scalar:
            raise refuse(
                "P003", "a mapping key must not be null", self._place(event.start_mark), hint="put it in quotes"
            )
        parent.merging = plain and text == "<<"
        if text in parent.value and not parent.merging:
            first = self.first_line + parent.marks[text].key_line + 1
            raise refuse(
                "P006",
                f"the key '{text}' is given twice, first on line {first}",
                self._place(event.start_mark),
                hint="keep one of them",
            )
        parent.key, parent.key_mark = text, event.start_mark

    def _open_mapping(self, event: Any) -> None:
        self._open({}, event)

    def _open_list(self, event: Any) -> None:
        self._open([], event)

    def _open(self, value: Any, event: Any) -> None:
        self._check_tag(event)
        if len(self.stack) >= MAX_DEPTH:
            raise refuse(
                "P005", f"is nested deeper than {MAX_DEPTH} levels", self._place(event.start_mark), unreadable=True
            )
        if self.stack and type(self.stack[-1].value) is dict and self.stack[-1].key is None:
            raise refuse("P003", "a mapping key must be text", self._place(event.start_mark), unreadable=True)
        marks: dict[str | int, Mark] = {}
        self.marks[id(value)] = marks
        self._add(value, event.start_mark)
        self.stack.append(_Open(value, marks, event.anchor, self.nodes))

    def _close(self, _event: Any) -> None:
        done = self.stack.pop()
        for merged in done.merges:
            for key, value in merged.items():
                if key not in done.value:
                    done.value[key] = value
                    done.marks[key] = self.marks[id(merged)][key]
        if done.anchor:
            self.anchors[done.anchor] = (done.value, self.nodes - done.started_at + 1)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise refuse(
                "P003",
                f"the alias *{event.anchor} has no anchor before it",
                self._place(event.start_mark),
                unreadable=True,
            )
        value, size = self.anchors[event.anchor]
        self.alias_nodes += size
        self.nodes += size
        if self.alias_nodes > MAX_ALIAS_NODES:
            message = f"aliases expand to more than {MAX_ALIAS_NODES:,} values"
            raise refuse("P005", message, self._place(event.start_mark), hint="write the values out", unreadable=True)
        self._add(value, event.start_mark)

    def _add(self, value: Any, mark: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise refuse("P005", f"holds more than {MAX_NODES:,} values", self._place(mark), unreadable=True)
        if not self.stack:
            self.root, self.start = value, (mark.line, mark.column)
            return
        parent = self.stack[-1]
        if type(parent.value) is list:
            parent.marks[len(parent.value)] = Mark(mark.line, mark.column, mark.line, mark.column)
            parent.value.append(value)
            return
        key, key_mark, parent.key = parent.key, parent.key_mark, None
        if parent.merging:
            self._merge(parent, value, key_mark)
        elif key is not None:
            parent.marks[key] = Mark(key_mark.line, key_mark.column, mark.line, mark.column)
            parent.value[key] = value

    def _merge(self, parent: _Open, value: Any, mark: Any) -> None:
        sources = value if type(value) is list else [value]
        if self.scalar is json_scalar or not all(type(source) is dict for source in sources):
            raise refuse("P007", "merge keys (<<) are not read", self._place(mark), hint="write the keys out")
        parent.merges.extend(sources)

    def _check_tag(self, event: Any) -> None:
        if self.scalar is json_scalar and event.tag not in (None, "!", _TEXT_TAG):
            raise refuse(
                "P007", f"the YAML tag {event.tag} is not read", self._place(event.start_mark), hint="remove the tag"
            )

    def _place(self, mark: Any) -> Location:
        return location(self.file, self.lines, mark.line, mark.column, self.first_line)
