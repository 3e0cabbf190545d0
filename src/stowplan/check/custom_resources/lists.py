"""Lists that are sets or maps by their schema: an entry that stands twice is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stowplan.check.custom_resources.fields import Schema, steps
from stowplan.check.objects import Path, mapping, sequence


def repeated(value: object, schema: Schema, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Entries that repeat an earlier one of the same list, and by what."""
    kind = schema.get("x-kubernetes-list-type")
    if isinstance(value, list) and kind in ("set", "map"):
        keys = [str(key) for key in sequence(schema.get("x-kubernetes-list-map-keys"))] if kind == "map" else []
        seen: set[str] = set()
        for index, item in enumerate(value):
            what: Any = {key: mapping(item).get(key) for key in keys} if keys else item
            text = json.dumps(what, sort_keys=True, default=str)
            if text in seen:
                yield (*path, index), f"repeats the entry {text} of a list that holds each once"
            seen.add(text)
    for step, item, inner in steps(value, schema):
        yield from repeated(item, inner, (*path, step))
