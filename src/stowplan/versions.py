"""Ranges of releases, such as `>=0.25.0,<0.30`, as the `packaging` library orders them."""

from __future__ import annotations

from functools import cache

from packaging.specifiers import SpecifierSet


@cache
def in_range(version: str, versions: str | None) -> bool:
    """Whether a release (or candidate of one) lies in a range; no range holds all."""
    return not versions or SpecifierSet(versions).contains(version, prereleases=True)
