"""A value and its structural schema in; unknown fields, and the value as it would be stored (nulls dropped, defaults filled in)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.objects import Path, mapping

_ENVELOPE = ("apiVersion", "kind", "metadata")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"

Schema = Mapping[str, Any]


def unknown_fields(
    value: object, schema: Schema, path: Path = (), *, resource: bool = True, kept: bool = False
) -> Iterator[tuple[Path, list[str]]]:
    """Fields that the schema does not have, each with the names that it has there; a strict server refuses them.

    `kept`: the list around the value keeps unknown fields, and so do its items, but nothing that the schema describes.
    """
    kept = kept or schema.get(_PRESERVE) is True
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, mapping(schema.get("items")), (*path, index), resource=False, kept=kept)
    if not isinstance(value, Mapping):
        return
    envelope = _ENVELOPE if resource or schema.get(EMBEDDED) is True else ()
    known, others = mapping(schema.get("properties")), schema.get("additionalProperties")
    for name, item in value.items():
        if name in envelope:
            continue
        if name in known:
            yield from unknown_fields(item, mapping(known[name]), (*path, name), resource=False)
        elif others is True or isinstance(others, Mapping):
            yield from unknown_fields(item, mapping(others), (*path, name), resource=False)
        elif not kept:
            yield (*path, name), [*known, *envelope]


def completed(value: Any, schema: Schema) -> Any:
    """A copy as the API server validates it: nulls of fields that take none are dropped, then defaults are filled in."""
    if isinstance(value, list):
        return [completed(item, mapping(schema.get("items"))) for item in value]
    if not isinstance(value, Mapping):
        return value
    known, others = mapping(schema.get("properties")), mapping(schema.get("additionalProperties"))
    made = {}
    for name, item in value.items():
        inner = mapping(known.get(name, others))
        if item is not None or inner.get("nullable") is True or not (name in known or others):
            made[name] = completed(item, inner)
    for name, inner in known.items():
        if name not in made and "default" in mapping(inner):
            made[name] = completed(copy.deepcopy(inner["default"]), inner)
    return made


def steps(value: object, schema: Schema) -> Iterator[tuple[str | int, Any, Schema]]:
    """The parts of a value that its schema describes, each with its own schema."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield index, item, mapping(schema.get("items"))
    elif isinstance(value, Mapping):
        known, others = mapping(schema.get("properties")), mapping(schema.get("additionalProperties"))
        for name, item in value.items():
            if name in known or others:
                yield name, item, mapping(known.get(name, others))
