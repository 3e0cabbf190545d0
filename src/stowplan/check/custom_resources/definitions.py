"""Folders of CustomResourceDefinitions in; the definition of one group and kind out, read when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stowplan.check.objects import mapping, sequence
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

_KIND = "CustomResourceDefinition"
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, eq=False)
class Version:
    """One version of a custom kind, as its definition gives it."""

    name: str
    served: bool
    deprecated: bool
    warning: str
    schema: Mapping[str, Any]
    has_status: bool
    """The API server drops the status of what is created."""


@dataclass(frozen=True, eq=False)
class Definition:
    """A custom kind: its names, its scope and its versions."""

    group: str
    kind: str
    scope: str
    versions: Mapping[str, Version]

    @property
    def served(self) -> tuple[str, ...]:
        """Versions that the API server answers for."""
        return tuple(version.name for version in self.versions.values() if version.served)


class Definitions:
    """Definitions of the given folders and files; nothing is read before it is needed."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Keep the paths.

        Raises:
            Refused: one does not exist.
        """
        self._paths = tuple(paths)
        missing = [Diagnostic("P001", "does not exist", Location(str(p))) for p in self._paths if not p.exists()]
        if missing:
            raise Refused(missing, unreadable=True)
        self._found: dict[tuple[str, str], Definition | None] = {}

    def find(self, group: str, kind: str) -> Definition | None:
        """The definition of a kind, or None.

        Raises:
            Refused: a path cannot be read, or a file that mentions the kind is not YAML.
        """
        key = (group, kind)
        if key not in self._found:
            self._found[key] = next((d for d in self._mentioning(group, kind) if (d.group, d.kind) == key), None)
        return self._found[key]

    def _mentioning(self, group: str, kind: str) -> Iterator[Definition]:
        """Only files that hold the words are parsed: real definitions have tens of thousands of lines."""
        for path, text in self._texts:
            if all(word.encode() in text for word in (group, kind, _KIND)):
                for document in read_bytes(text, str(path), scalar=kubernetes_scalar):
                    yield from definitions_of(document.data)

    @cached_property
    def _texts(self) -> list[tuple[Path, bytes]]:
        try:
            return [(file, file.read_bytes()) for path in self._paths for file in _files(path)]
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            place = Location(str(error.filename or "--crds"))
            raise Refused([Diagnostic("P001", reason, place, level="syntax")], unreadable=True) from None


def definitions_of(data: object) -> Iterator[Definition]:
    """The definitions that a document holds, itself or as items of a List."""
    root = mapping(data)
    for item in (root, *map(mapping, sequence(root.get("items")))):
        spec, names = mapping(item.get("spec")), mapping(mapping(item.get("spec")).get("names"))
        if item.get("kind") == _KIND and isinstance(spec.get("group"), str) and isinstance(names.get("kind"), str):
            versions = [_version(mapping(v)) for v in sequence(spec.get("versions"))]
            scope = "Cluster" if spec.get("scope") == "Cluster" else "Namespaced"
            yield Definition(spec["group"], names["kind"], scope, {v.name: v for v in versions})


def _version(data: Mapping[str, Any]) -> Version:
    return Version(
        name=str(data.get("name", "")),
        served=data.get("served") is True,
        deprecated=data.get("deprecated") is True,
        warning=str(data.get("deprecationWarning") or ""),
        schema=mapping(mapping(data.get("schema")).get("openAPIV3Schema")),
        has_status="status" in mapping(data.get("subresources")),
    )


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    else:
        yield path
