"""An engine's rules in; those that can hold together and set one key differently out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from stowplan.catalog import Catalog
from stowplan.located_yaml import Path_
from stowplan.profiles.rule import Rule, When

Finding = tuple[str, str, Path_, str]
"""Code, message, place in the spec, hint."""


def disagreements(rules: tuple[Rule, ...], catalog: Catalog) -> Iterator[Finding]:
    """Two equally special rules that can hold together must not set one key differently."""
    for (i, first), (j, second) in combinations(enumerate(rules), 2):
        if len(first.when.keys()) != len(second.when.keys()) or _exclusive(first.when, second.when, catalog):
            continue
        for key in _leaves(first).keys() & _leaves(second).keys():
            if _leaves(first)[key] != _leaves(second)[key]:
                message = f"rules '{first.id}' and '{second.id}' are equally special and disagree on {'.'.join(key)}"
                yield (
                    "C005",
                    message,
                    ("rules", j, "id"),
                    f"the other is rule {i + 1} of the list; add a condition to one of them",
                )


def _exclusive(first: When, second: When, catalog: Catalog) -> bool:
    """Whether two conditions can never hold together, as far as lists, bounds and the known chips tell."""
    for key in first.keys() & second.keys():
        a, b = getattr(first, key), getattr(second, key)
        if key == "chip_family":
            if not any({*a} & {*chip.families} and {*b} & {*chip.families} for chip in catalog.chips.values()):
                return True
            continue
        if isinstance(a, tuple) and isinstance(b, tuple) and not {*a} & {*b}:
            return True
        if isinstance(a, int) and isinstance(b, int) and a != b:
            return True
        if isinstance(a, int | str) and isinstance(b, int | str) and {_sign(a), _sign(b)} in ({"<", ">="}, {"<=", ">"}):
            return str(a).lstrip("<>=") == str(b).lstrip("<>=")
    return False


def _sign(comparison: int | str) -> str:
    return str(comparison).rstrip("0123456789. ")


def _leaves(rule: Rule) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}

    def walk(path: tuple[str, ...], value: object) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk((*path, key), inner)
        else:
            found[path] = value

    walk(("flags",), dict(rule.set.flags))
    walk(("env",), dict(rule.set.env))
    return found
