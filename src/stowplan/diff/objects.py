"""The objects of two sides in; what is added, removed and changed, by identity and not by file, out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from stowplan.canonical_yaml import dump
from stowplan.check.objects import mapping
from stowplan.diff.side import Held

Change = Literal["added", "removed", "changed"]
PAIRING = "stowplan.dev/pairing"
_STAMPED = ("labels", "annotations")
_TOLD = ("stowplan.dev/plan-digest", "stowplan.dev/verdict", "app.kubernetes.io/version")
_INSTANCE = "app.kubernetes.io/instance"
_CONTENT = re.compile(r"-[0-9a-f]{8}$")
"""What rendering appends to the name of a Job."""

Identity = tuple[str, ...]


@dataclass(frozen=True)
class ObjectChange:
    """One object, or one other file of a tree, that is not the same on both sides."""

    title: str
    change: Change
    old: Held | None
    new: Held | None
    pairing: str
    """The pairing that it belongs to, by its name on the new side where it has one; empty: shared, or of no pairing."""

    @cached_property
    def diff(self) -> tuple[str, ...]:
        """Unified lines; empty where only what the plan stamps on all its objects differs."""
        before, after = _shown(self.old), _shown(self.new)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            after = _ordered_like(after, before)
        lines = difflib.unified_diff(_lines(before), _lines(after), *_sides(self), lineterm="")
        return tuple(lines)


def changes(old: Iterable[Held], new: Iterable[Held], renamed: Mapping[str, str]) -> Iterator[ObjectChange]:
    """What differs, in order of the titles; `renamed` leads from a pairing's old name to its new one."""
    before, after = _by(_identity, old, renamed), _by(_identity, new, {})
    found: list[ObjectChange] = []
    for identity in {**before, **after}:
        found += _compared(before.get(identity, []), after.get(identity, []), renamed)
    yield from sorted(_adopted(found, renamed), key=lambda c: (c.pairing, c.title, c.change))


def _adopted(found: Iterable[ObjectChange], renamed: Mapping[str, str]) -> Iterator[ObjectChange]:
    """An object of others that a pairing takes over under its name (or gives up) is one object to the cluster."""
    left = {change: [c for c in found if c.change == change] for change in ("added", "removed")}
    yield from (c for c in found if c.change == "changed")
    gone = _by(_named, (c.old for c in left["removed"] if c.old), {})
    taken = set[int]()
    for change in left["added"]:
        partner = next(iter(gone.get(_named(change.new, {}), [])), None) if change.new else None
        if partner is None or change.new is None:
            yield change
            continue
        taken.add(id(partner))
        yield from _compared([partner], [change.new], renamed)
    yield from (c for c in left["removed"] if id(c.old) not in taken)


def _compared(old: list[Held], new: list[Held], renamed: Mapping[str, str]) -> Iterator[ObjectChange]:
    """Objects of one identity; of several, those in the same folder belong together."""
    left = list(old)
    for item in new:
        same = next((o for o in left if o.path.rpartition("/")[0] == item.path.rpartition("/")[0]), None)
        partner = same or (left[0] if left else None)
        if partner is None:
            yield ObjectChange(_title(item), "added", None, item, _pairing(item))
            continue
        left.remove(partner)
        if partner.data != item.data:
            yield ObjectChange(_title(item), "changed", partner, item, _pairing(item))
    for item in left:
        owner = _pairing(item)
        yield ObjectChange(_title(item), "removed", item, None, renamed.get(owner, owner))


def _by(
    key: Callable[[Held, Mapping[str, str]], Identity], held: Iterable[Held], renamed: Mapping[str, str]
) -> dict[Identity, list[Held]]:
    found: dict[Identity, list[Held]] = {}
    for item in held:
        found.setdefault(key(item, renamed), []).append(item)
    return found


def _identity(item: Held, renamed: Mapping[str, str]) -> Identity:
    """What makes it the same on both sides: its place in its pairing, else what it is called, else its path."""
    owner = _pairing(item)
    if not item.is_object:
        return ("file", _in_pairing(item.path, renamed.get(owner, owner)))
    named = _named(item, renamed)
    if not owner:
        return named
    _, group, kind, _, name = named
    part = name.removeprefix(str(mapping(mapping(item.data.get("metadata")).get("labels")).get(_INSTANCE, "")))
    return ("part", renamed.get(owner, owner), group, kind, _CONTENT.sub("", part) if kind == "Job" else part)


def _named(item: Held, _renamed: Mapping[str, str]) -> Identity:
    """What a cluster knows it by: group, kind, namespace and name; a file by its path."""
    if not item.is_object:
        return ("path", item.path)
    metadata = mapping(item.data.get("metadata"))
    name = str(metadata.get("name", metadata.get("generateName", "")))
    group = str(item.data["apiVersion"]).rpartition("/")[0]
    return ("object", group, str(item.data["kind"]), str(metadata.get("namespace", "")), name)


def _pairing(item: Held) -> str:
    """By the annotation of an object of ours, or the folder of another file."""
    if item.is_object:
        return str(mapping(mapping(item.data.get("metadata")).get("annotations")).get(PAIRING, ""))
    head, _, rest = item.path.partition("/")
    return rest.partition("/")[0] if head == "pairings" and rest else ""


def _in_pairing(path: str, owner: str) -> str:
    return f"pairings/{owner}/{'/'.join(path.split('/')[2:])}" if owner else path


def _title(item: Held) -> str:
    if not item.is_object:
        return item.path
    metadata = mapping(item.data.get("metadata"))
    namespace, name = metadata.get("namespace"), metadata.get("name", "")
    return f"{item.data['kind']} {f'{namespace}/' if namespace else ''}{name}"


def _shown(item: Held | None) -> Any:
    """What is compared line by line: an object's own copy of the plan's digest, verdict and version is told elsewhere."""
    if item is None or not _pairing(item) or not item.is_object:
        return None if item is None else item.data
    metadata = mapping(item.data.get("metadata"))
    own = {field: {k: v for k, v in mapping(metadata.get(field)).items() if k not in _TOLD} for field in _STAMPED}
    return {**item.data, "metadata": {**metadata, **own}}


def _ordered_like(data: Any, model: Any) -> Any:
    """Keys in the order of the other side, so that only what differs is a difference."""
    if isinstance(data, Mapping) and isinstance(model, Mapping):
        order = [*(key for key in model if key in data), *(key for key in data if key not in model)]
        return {key: _ordered_like(data[key], model.get(key)) for key in order}
    if isinstance(data, list) and isinstance(model, list):
        beside = [*model, *[None] * len(data)]
        return [_ordered_like(item, other) for item, other in zip(data, beside, strict=False)]
    return data


def _lines(data: Any) -> list[str]:
    if data is None:
        return []
    return (data if isinstance(data, str) else dump(data)).splitlines()


def _sides(change: ObjectChange) -> tuple[str, str]:
    return tuple(item.path if item else "/dev/null" for item in (change.old, change.new))  # type: ignore[return-value]
