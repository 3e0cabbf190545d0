"""Rules: settings with a condition, a reason and a source. The one way to set anything."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Protocol, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.profiles.fact import Items, Model, Name, Settings, Sourced, Text, Versions, as_tuple
from stowplan.versions import in_range

_SIGNS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<) ?([0-9]+)")


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else as_tuple(value)


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Comparison = Annotated[str, Field(pattern=r"^(>=|<=|==|!=|>|<) ?[0-9]+$")] | int


class When(Model):
    """All that is given must hold; a list holds when one of its names does."""

    role: Names | None = None
    mode: Names | None = None
    chip: Names | None = None
    chip_family: Names | None = None
    server: Names | None = None
    variant: Names | None = None
    variant_family: Names | None = None
    checkpoint_format: Names | None = None
    draft: Names | None = None
    use_case: Names | None = None
    version: Versions | None = None
    tp: Comparison | None = None
    dp: Comparison | None = None
    ep: Comparison | None = None
    nodes: Comparison | None = None

    def keys(self) -> frozenset[str]:
        """The conditions that are given; their number is how specific the rule is."""
        return frozenset(self.model_fields_set)

    @cached_property
    def given(self) -> tuple[tuple[str, object], ...]:
        """The conditions that are given, with what they want."""
        return tuple((key, getattr(self, key)) for key in self.model_fields_set)


class Set(Model):
    """What a rule sets: engine flags (typed, keyed) and environment variables."""

    flags: Settings = {}
    env: dict[str, str] = {}


class Rule(Sourced):
    """Under `when`, `set`, because of `reason`, as `source` says."""

    id: Name
    when: When = When()
    set: Set
    reason: Text


class LayoutRule(Sourced):
    """A limit on layouts: the method is Python, its condition and numbers are here."""

    id: Name
    method: Name
    when: When = When()
    numbers: Items[int] = ()
    unless: Settings = {}
    """Flags that lift the limit when all of them are set so."""
    reason: Text


@dataclass(frozen=True, slots=True)
class StackContext:
    """What conditions are asked of before any layout: a checkpoint and draft on an engine version and a chip."""

    chip: str
    chip_family: tuple[str, ...]
    server: str
    variant: str
    variant_family: str
    checkpoint_format: str
    draft: str
    use_case: str
    mode: str
    version: str


@dataclass(frozen=True, slots=True)
class Context(StackContext):
    """What conditions are asked of: one role of one pairing under one layout."""

    role: str
    tp: int
    dp: int
    ep: int
    nodes: int


def holds(when: When, context: StackContext) -> bool:
    """Whether all conditions of `when` hold; a condition that the context does not know yet does not."""
    for key, wanted in when.given:
        actual = getattr(context, key, None)
        if actual is None or not _holds(wanted, actual):
            return False
    return True


def may_hold(when: When, context: StackContext) -> bool:
    """Whether `when` can hold in some layout: its conditions on what the context knows do."""
    return all(not hasattr(context, key) or _holds(wanted, getattr(context, key)) for key, wanted in when.given)


def contains(actual: object, wanted: object) -> bool:
    """Whether settings hold all that is wanted; a mapping may hold more."""
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(contains(actual.get(k), v) for k, v in wanted.items())
    return actual == wanted


def asked(groups: Sequence[Mapping[str, object]], flags: Mapping[str, object]) -> bool:
    """Whether the flags hold one of the groups."""
    return any(contains(flags, group) for group in groups)


class Conditional(Protocol):
    """An entry of a profile with a condition; some have a version range too."""

    @property
    def when(self) -> When: ...  # noqa: D102 - the class says it


Entry = TypeVar("Entry", bound=Conditional)


def most_special(entries: Sequence[Entry], context: Context) -> Entry:
    """The entry with most conditions of those whose condition (and version range) holds.

    Raises:
        Refused: none holds; the profile does not speak of this case.
    """
    fitting = [e for e in entries if holds(e.when, context) and in_range(context.version, getattr(e, "versions", None))]
    if not fitting:
        kind = type(entries[0]).__name__ if entries else Model.__name__
        message = f"the engine's profile has no {kind} for {context.chip} at version {context.version}"
        raise Refused([Diagnostic("C022", message, Location(f"engine of {context.variant} on {context.chip}"))])
    return max(fitting, key=lambda e: len(e.when.keys()))


def _holds(wanted: object, actual: object) -> bool:
    if isinstance(actual, int):
        return _compare(wanted, actual)
    if isinstance(wanted, tuple):
        return bool({*wanted} & {*actual} if isinstance(actual, tuple) else actual in wanted)
    return in_range(str(actual), str(wanted))


def _compare(wanted: object, actual: int) -> bool:
    if isinstance(wanted, int):
        return wanted == actual
    sign, number = _COMPARISON.fullmatch(str(wanted)).groups()  # type: ignore[union-attr]
    return bool(_SIGNS[sign](actual, int(number)))
