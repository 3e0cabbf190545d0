"""A file of ours in, findings out: schema, names, and references into the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stowplan.catalog import Catalog
from stowplan.catalog.references import references
from stowplan.diagnostics import Diagnostic, Refused
from stowplan.located_yaml import Document
from stowplan.pairing import resolve
from stowplan.plan.contradictions import refuse_contradictions
from stowplan.profiles.kinds import Profile
from stowplan.profiles.reading import read_profile


def check_profile(document: Document, catalog: Catalog) -> list[Diagnostic]:
    """Every finding on one document with `apiVersion: stowplan/v1`."""
    try:
        profile = read_profile(document)
        return list(_deeper(profile, document, catalog))
    except Refused as refused:
        return list(refused.report)


def _deeper(profile: Profile[Any], document: Document, catalog: Catalog) -> Iterator[Diagnostic]:
    if profile.kind == "Pairing":
        refuse_contradictions(resolve(profile.metadata.name, profile.spec, catalog, document))
    else:
        yield from references(profile, document, catalog)
