"""A spec in, one row for each thing that it says out: value, unit, source, date, confidence, and what others say."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from stowplan.profiles.fact import Claim, Fact, Model, Sourced
from stowplan.profiles.rule import When

_PROVENANCE = ("source", "as_of", "confidence", "note", "conflicts", "used_because")
_OF_A_FACT = ("value", "unit", "bounds", "settled_by")
_LABELS = ("id", "name", "version", "key")
"""Fields that tell an item of a list from its neighbours."""
_EMPTY: tuple[object, ...] = (None, "", (), {}, False, 0)
_LONGEST_NAME = 40
"""Characters of a text that is still a name, and not a sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fact, one record, or one plain value of a file, with its provenance where it has one."""

    path: tuple[str, ...]
    value: str = ""
    unit: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    """A record's own fields, by name."""
    source: str = ""
    as_of: str = ""
    confidence: str = ""
    remarks: tuple[str, ...] = ()
    """Notes, what other sources say, why this value is used, what would settle an unknown one."""

    @property
    def key(self) -> str:
        """`memoryMib`, `denseRates.bf16`, `rules.base` ..."""
        return ".".join(self.path)


def outline(spec: Model, counted: Collection[str] = (), path: tuple[str, ...] = ()) -> Iterator[Row]:
    """Every field of a spec, in the order of its model; of a `counted` one only how many entries it has."""
    for name, value in _given(spec):
        here = (*path, _alias(spec, name))
        if name in counted:
            yield Row(here, f"{len(value)} entries", remarks=("note: -o json lists them",))
        else:
            yield from _rows(value, here, item=False)


def record(model: Model, path: tuple[str, ...]) -> Iterator[Row]:
    """One model as a row of its own, and a row for each of its fields that holds more than plain values."""
    if isinstance(model, Fact):
        yield _fact(model, path)
        return
    fields: list[tuple[str, str]] = []
    deeper: list[Row] = []
    for name, value in _given(model):
        alias = _alias(model, name)
        if name in _PROVENANCE or (name in _LABELS and value == path[-1]):
            continue
        if _is_deep(value):
            deeper += _rows(value, (*path, alias), item=False)
        else:
            fields += _fields(alias, value)
    yield Row(path, fields=tuple(fields), **_provenance(model))
    yield from deeper


def as_text(value: object) -> str:
    """A value in one line: what stands in a file as a mapping or list, without its brackets where that is clear."""
    if isinstance(value, When):
        return ", ".join(f"{_alias(value, name)} {_one_of(inner)}" for name, inner in _given(value))
    if isinstance(value, Model):
        return as_text({_alias(value, name): inner for name, inner in _given(value)})
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inner(inner)}" for key, inner in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(_inner(inner) for inner in value) or "none"
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15g}"
    return "none" if value is None else str(value)


def _inner(value: object) -> str:
    """Inside a line that is itself a list only JSON says where a mapping or list ends."""
    nested = value == "" or isinstance(value, dict | list) or (isinstance(value, tuple) and len(value) != 1)
    return json.dumps(value, ensure_ascii=False) if nested else as_text(value)


def _one_of(value: object) -> str:
    return " or ".join(value) if isinstance(value, tuple) else as_text(value)


def _rows(value: Any, path: tuple[str, ...], *, item: bool) -> Iterator[Row]:
    if isinstance(value, Model):
        yield from record(value, path) if item or _has_source(value) else outline(value, path=path)
    elif isinstance(value, dict) and any(
        _is_nested(inner) or (not item and _is_prose(inner)) for inner in value.values()
    ):
        for key, inner in value.items():
            yield from _rows(inner, (*path, str(key)), item=True)
    elif isinstance(value, tuple | list) and any(_is_nested(inner) or _is_prose(inner) for inner in value):
        for index, inner in enumerate(value):
            yield from _rows(inner, (*path, _label(inner, index)), item=True)
    elif isinstance(value, dict) and item:
        yield Row(path, fields=tuple((str(key), as_text(inner)) for key, inner in value.items()))
    else:
        yield Row(path, as_text(value))


def _is_nested(value: object) -> bool:
    return isinstance(value, Model | dict | tuple | list)


def _is_prose(value: object) -> bool:
    """Whether a text is a sentence, which stands on a line of its own."""
    return isinstance(value, str) and len(value) > _LONGEST_NAME and " " in value


def _given(model: Model) -> Iterator[tuple[str, Any]]:
    """Fields that say something: an empty one does only where the file gives it."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        said = name in model.model_fields_set and value not in ("", {})
        if said or not (any(value == empty for empty in _EMPTY) or _is_blank(value)):
            yield name, value


def _is_blank(value: object) -> bool:
    return isinstance(value, Model) and not any(True for _ in _given(value))


def _alias(model: Model, name: str) -> str:
    return type(model).model_fields[name].alias or name


def _has_source(model: Model) -> bool:
    return "source" in type(model).model_fields


def _holds_model(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_model(inner) for inner in value.values())
    return any(_holds_model(inner) for inner in value) if isinstance(value, tuple) else isinstance(value, Model)


def _is_deep(value: object) -> bool:
    """Whether a field is more than plain values: a statement of its own, or several records."""
    if isinstance(value, Model):
        return _has_source(value) or any(_is_deep(inner) for _, inner in _given(value))
    return _holds_model(value)


def _fields(alias: str, value: object) -> Iterator[tuple[str, str]]:
    """One field; of a plain model with mappings inside (what a rule sets) one for each of them."""
    if isinstance(value, Model) and any(isinstance(inner, dict) for _, inner in _given(value)):
        for name, inner in _given(value):
            yield from _fields(f"{alias}.{_alias(value, name)}", inner)
    elif isinstance(value, dict) and any(_is_prose(inner) for inner in value.values()):
        yield from ((f"{alias}.{key}", as_text(inner)) for key, inner in value.items())
    elif isinstance(value, tuple) and any(_is_prose(inner) for inner in value):
        yield from ((alias, as_text(inner)) for inner in value)
    else:
        yield alias, as_text(value)


def _label(item: object, index: int) -> str:
    named = (getattr(item, name, None) for name in _LABELS)
    return next((found for found in named if isinstance(found, str)), str(index))


def _fact(fact: Fact[Any], path: tuple[str, ...]) -> Row:
    value = "unknown" if fact.value is None else as_text(fact.value)
    if fact.bounds:
        value += f", {as_text(fact.bounds.low)} to {as_text(fact.bounds.high)}"
    known = {*_PROVENANCE, *_OF_A_FACT}
    fields = tuple((_alias(fact, name), as_text(inner)) for name, inner in _given(fact) if name not in known)
    given = _provenance(fact)
    if fact.settled_by:
        given["remarks"] = (*given["remarks"], f"settled by: {fact.settled_by}")
    return Row(path, value, fact.unit, fields, **given)


def _provenance(model: Model) -> dict[str, Any]:
    remarks: list[str] = []
    if getattr(model, "note", ""):
        remarks.append(f"note: {model.note}")  # type: ignore[attr-defined]
    if isinstance(model, Sourced):
        remarks += [_said(claim, getattr(model, "unit", "")) for claim in model.conflicts]
        remarks += [f"used because: {model.used_because}"] if model.used_because else []
    return {
        "source": str(getattr(model, "source", "")),
        "as_of": str(getattr(model, "as_of", "")),
        "confidence": str(getattr(model, "confidence", "")),
        "remarks": tuple(remarks),
    }


def _said(claim: Claim, unit: str) -> str:
    value = f"{as_text(claim.value)} {unit}".strip() if isinstance(claim.value, int | float) else as_text(claim.value)
    how = ", ".join(part for part in (claim.confidence, claim.as_of) if part)
    note = f"; {claim.note}" if claim.note else ""
    return f"others say: {value}{f' [{how}]' if how else ''} {claim.source}{note}"
