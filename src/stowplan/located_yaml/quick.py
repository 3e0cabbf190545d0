"""The text of one part of a stream in; its data without places out, or None where the careful reader has to look.

Places are asked for where something is found, which is seldom: leaving them out more than halves the time and the memory.
What is not plain (an alias, a tag, a merge key, a key given twice, a limit, a text that is not YAML) is left to the
careful reader whole, so that only it needs to know what is refused, and where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from stowplan.located_yaml.careful import MAX_DEPTH, MAX_NODES, NULLS, Loader

_NOT_PLAIN = NULLS | {"<<"}


class Plain(NamedTuple):
    """One document: its data, and how many values that is."""

    data: Any
    nodes: int


class Words:
    """Texts and plain scalars that were met before: equal ones are kept once, and resolved once."""

    def __init__(self, scalar: Callable[[str], object]) -> None:
        """Keep what a plain scalar means."""
        self.scalar = scalar
        self.texts: dict[str, str] = {}
        self.values: dict[str, Any] = {}


class _NotPlainError(Exception):
    """The careful reader has to look."""


def read_plain(text: str, words: Words) -> list[Plain] | None:
    """Every document of the text, where all of it is plain."""
    loader = Loader(text)
    found = []
    try:
        while loader.check_event():
            if type(loader.get_event()) is yaml.DocumentStartEvent:
                found.append(_document(loader.get_event, words))
    except (_NotPlainError, yaml.YAMLError):
        return None
    finally:
        loader.dispose()
    return found


def _document(get: Callable[[], Any], words: Words) -> Plain:  # noqa: C901, PLR0912 - the inner loop: calls would double its time
    texts, values, scalar = words.texts, words.values, words.scalar
    scalar_event, mapping_start, list_start, document_end, alias = _EVENTS
    stack: list[tuple[Any, str | None]] = []
    root: Any = None
    node: Any = None
    key: str | None = None
    nodes = 1
    while True:
        event = get()
        kind = type(event)
        if kind is scalar_event:
            value: Any = event.value
            if key is None and type(node) is dict:
                if value in node or value in _NOT_PLAIN:
                    raise _NotPlainError
                key = texts.setdefault(value, value)
                continue
            if event.implicit[0]:
                if value in values:
                    value = values[value]
                else:
                    value = values[value] = scalar(texts.setdefault(value, value))
            elif event.tag is None:
                value = texts.setdefault(value, value)
            else:
                raise _NotPlainError
        elif kind is mapping_start or kind is list_start:
            if event.tag is not None or len(stack) >= MAX_DEPTH or (key is None and type(node) is dict):
                raise _NotPlainError
            stack.append((node, key))
            node, key = {} if kind is mapping_start else [], None
            continue
        elif kind is document_end:
            return Plain(root, nodes)
        elif kind is alias:
            raise _NotPlainError
        else:
            value = node
            nodes += len(value)
            if nodes > MAX_NODES:
                raise _NotPlainError
            node, key = stack.pop()
        if key is not None:
            node[key] = value
            key = None
        elif node is None:
            root = value
        else:
            node.append(value)


_EVENTS = (
    yaml.ScalarEvent,
    yaml.MappingStartEvent,
    yaml.SequenceStartEvent,
    yaml.DocumentEndEvent,
    yaml.AliasEvent,
)
