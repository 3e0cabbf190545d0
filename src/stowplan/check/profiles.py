"""A file of ours in, findings out: schema, names, and references into the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stowplan.catalog import Catalog
from stowplan.catalog.references import references
from stowplan.diagnostics import Diagnostic, Refused
from stowplan.located_yaml import Document
from stowplan.pairing import resolve
from stowplan.plan.contradictions import refuse_contradictions
from stowplan.profiles.kinds import KINDS, Profile
from stowplan.profiles.reading import read_profile


def check_profile(document: Document, catalog: Catalog) -> list[Diagnostic]:
    """Every finding on one document with `apiVersion: stowplan/v1`."""
    try:
        profile = read_profile(document)
        return [
            *_misnamed(profile, document),
            *_unread(profile, document, catalog),
            *_deeper(profile, document, catalog),
        ]
    except Refused as refused:
        return list(refused.report)


def _misnamed(profile: Profile[Any], document: Document) -> Iterator[Diagnostic]:
    """The path is the identity of a file that stands in its kind's folder."""
    path, name = Path(document.file), profile.metadata.name
    if path.parent.name == KINDS[profile.kind].folder and path.stem != name:
        message = f"the name '{name}' differs from the file's, '{path.stem}'"
        yield Diagnostic("C003", message, document.locate(("metadata", "name")))


def _unread(profile: Profile[Any], document: Document, catalog: Catalog) -> Iterator[Diagnostic]:
    """A file of the user's own folder lies where its kind is read; a pairing may lie anywhere."""
    path, own, kind = Path(document.file), catalog.folders[-1], KINDS[profile.kind]
    if profile.kind == "Pairing" or not path.resolve().is_relative_to(own.resolve()):
        return
    if path.suffix != ".yaml" or path.resolve().parent != (own / kind.folder).resolve():
        message = "the catalogue does not read this file: its path is not that of its kind"
        hint = f"move it to {own / kind.folder / profile.metadata.name}.yaml"
        yield Diagnostic("C003", message, document.locate(("kind",)), hint=hint)


def _deeper(profile: Profile[Any], document: Document, catalog: Catalog) -> Iterator[Diagnostic]:
    if profile.kind == "Pairing":
        refuse_contradictions(resolve(profile.metadata.name, profile.spec, catalog, document))
    else:
        yield from references(profile, document, catalog)
