"""Every sourced statement of the catalogue, wherever a file holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Statement:
    """A mapping with a source: a fact, or a group of numbers that one source gives."""

    kind: str
    name: str
    path: tuple[str, ...]
    data: Mapping[str, Any]

    @property
    def key(self) -> str:
        """`memoryMib`, `denseRates.bf16` ..."""
        return ".".join(self.path)


def statements(catalog: Catalog) -> Iterator[Statement]:
    """All of them, file by file."""
    for word, shelf in catalog.shelves.items():
        for entry in shelf.entries():
            yield from statements_in(word, entry.name, entry.document.data["spec"])


def statements_in(kind: str, name: str, data: object, path: tuple[str, ...] = ()) -> Iterator[Statement]:
    """The statements below one value."""
    if isinstance(data, Mapping):
        if "source" in data and "confidence" in data:
            yield Statement(kind, name, path, data)
        for key, value in data.items():
            if key != "conflicts":
                yield from statements_in(kind, name, value, (*path, str(key)))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from statements_in(kind, name, value, (*path, str(index)))


def newest_fact(catalog: Catalog) -> str:
    """Date of the newest source."""
    return max(str(s.data["as_of"]) for s in statements(catalog) if "as_of" in s.data)


def digest(catalog: Catalog) -> str:
    """Short digest of all fact files, so that two plans can be told to stand on the same facts."""
    total = hashlib.sha256()
    for word, shelf in catalog.shelves.items():
        for name in shelf:
            total.update(f"{word}/{name}\0".encode() + shelf.files[name].read_bytes())
    return total.hexdigest()[:12]
