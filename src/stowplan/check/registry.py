"""Checks and how they are found: one function each, with a code, a reason, a good and a bad example."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from stowplan.check.objects import Object, Path
from stowplan.diagnostics import Diagnostic, Level, Location, Severity


@dataclass(frozen=True, slots=True)
class Found:
    """What a check says: the object, where in it, and what is wrong."""

    object: Object
    path: Path
    message: str
    hint: str = ""
    key: bool = False
    """Point at the key and not at its value."""

    @property
    def location(self) -> Location:
        """The place in the file."""
        return self.object.at(self.path, key=self.key)


Function = TypeVar("Function", bound=Callable[..., Iterator[Found]])


@dataclass(frozen=True, slots=True)
class Check:
    """One check; its page is its docstring, its reason, its source and its examples."""

    code: str
    title: str
    level: Level
    severity: Severity
    reason: str
    source: str
    bad: str
    good: str
    kinds: frozenset[str] | None
    """Kinds it looks at; none: every object."""
    whole_bundle: bool
    run: Callable[..., Iterator[Found]]

    def diagnose(self, found: Found) -> Diagnostic:
        """The finding as a diagnostic."""
        return Diagnostic(
            self.code, found.message, found.location, self.severity, found.hint, self.level, str(found.object)
        )


_CHECKS: dict[str, Check] = {}


def check(
    code: str,
    *,
    level: Level,
    reason: str,
    source: str,
    bad: str,
    good: str,
    kinds: str = "",
    severity: Severity = "error",
    whole_bundle: bool = False,
) -> Callable[[Function], Function]:
    """Register a check function; `kinds` is a space-separated list, empty for every object.

    An object check takes `(object, bundle)`, a whole-bundle check takes `(bundle)`; both yield `Found`.
    `bad` and `good` are YAML documents: the check's test and its page.
    """

    def register(function: Function) -> Function:
        if code in _CHECKS:
            raise ValueError(f"two checks have the code {code}")
        title = (function.__doc__ or "").strip().splitlines()[0]
        chosen = frozenset(kinds.split()) or None
        _CHECKS[code] = Check(code, title, level, severity, reason, source, bad, good, chosen, whole_bundle, function)
        return function

    return register


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check of the folders beside this file, in order of the code."""
    for level in ("admission", "bundle", "matches_plan", "domain"):
        package = importlib.import_module(f"stowplan.check.{level}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return tuple(_CHECKS[code] for code in sorted(_CHECKS))


@cache
def checks_of(kind: str) -> tuple[Check, ...]:
    """The checks that look at one object, of a kind."""
    return tuple(c for c in all_checks() if not c.whole_bundle and (c.kinds is None or kind in c.kinds))


@cache
def checks_of_bundles() -> tuple[Check, ...]:
    """The checks that look at all objects together."""
    return tuple(c for c in all_checks() if c.whole_bundle)
