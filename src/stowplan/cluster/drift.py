"""Objects in; where the live ones are not what applying them would leave, with who set it, out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from stowplan.check.objects import Object, Path, dig, mapping, sequence
from stowplan.cluster.dry_run import refusals, unaskable
from stowplan.cluster.field_paths import field_path
from stowplan.cluster.server import CLIENT_SIDE, Server
from stowplan.diagnostics import Diagnostic

_SERVERS = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
"""Fields of the metadata that the server keeps for itself."""
_HIDDEN = "(not shown)"
_QUOTED = re.compile(r'"([^"]+)"')
"""The manager in `conflict with "kubectl-edit" using apps/v1`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, or one object, that is not as it was rendered."""

    object: str
    place: str
    """File, line and column of what was rendered."""
    state: Literal["missing", "changed", "refused", "unknown"]
    """The cluster has no such object; it has another value; it would not take the rendered one; it was not asked."""
    field: str = ""
    live: Any = None
    rendered: Any = None
    owner: str = ""
    """Who else manages the field, so that applying leaves it alone; empty: applying changes it."""


def drift(objects: Iterable[Object], server: Server, manager: str, others: Counter[str]) -> Iterator[Difference]:
    """What applying the objects would change on the cluster, and what others keep from being changed.

    The server itself merges (a dry run that takes over every field), so that defaults, quantities and what
    admission fills in are no differences, nor is what others set in fields that are not rendered. `others` counts
    the objects that were applied under another name: what was taken out of their files is not seen.

    Raises:
        Refused: the server stops answering.
    """
    for item in objects:
        problem = unaskable(item)
        yield from [_refused(problem)] if problem else _compared(item, server, manager, others)


def _refused(found: Diagnostic) -> Difference:
    state: Literal["refused", "unknown"] = "unknown" if found.severity == "unchecked" else "refused"
    return Difference(found.object, str(found.location), state, rendered=found.message)


def _compared(item: Object, server: Server, manager: str, others: Counter[str]) -> Iterator[Difference]:
    what, place = str(item), str(item.at(()))
    resource = server.resource(item.api_version, item.kind)
    if resource is None:
        yield Difference(what, place, "missing", live=f"no {item.api_version} {item.kind} is served")
        return
    live = server.read(item, resource)
    if live.status == HTTPStatus.NOT_FOUND:
        yield Difference(what, place, "missing")
        return
    others.update(_appliers(live.body, manager))
    asked = server.merged(item, resource, manager)
    owners: dict[Path, str] = {}
    if asked.status == HTTPStatus.CONFLICT:
        owners = dict(_owners(item, asked.details))
        asked = server.apply(item, resource, manager, force=True)
    for answer in (live, asked):
        if not answer.accepted:
            yield from map(_refused, refusals(item, answer))
            return
    secret = item.kind == "Secret"
    ours = {**item.data, "data": _secret_data(item)} if secret else item.data
    for path, before, after in _changes(_shown(live.body), _shown(asked.body), ()):
        if dig(ours, path) is None and after is not None:
            continue  # not ours: a controller wrote it between the two requests
        hidden = secret and path[0] == "data"
        yield Difference(
            what,
            str(item.at(path)),
            "changed",
            _written(path),
            _HIDDEN if hidden else before,
            _HIDDEN if hidden else after,
            _owner(owners, path),
        )


def _appliers(live: Mapping[str, Any], manager: str) -> set[str]:
    """Who applied the object, where that was somebody else and not the manager too."""
    entries = [mapping(entry) for entry in sequence(mapping(live.get("metadata")).get("managedFields"))]
    applying = {
        str(entry.get("manager"))
        for entry in entries
        if entry.get("operation") == "Apply" or entry.get("manager") == CLIENT_SIDE
    }
    return set() if manager in applying else applying


def _secret_data(item: Object) -> Mapping[str, Any]:
    """Keys of a Secret: the server moves what is written as `stringData` to `data`."""
    return {**mapping(item.data.get("data")), **mapping(item.data.get("stringData"))}


def _owners(item: Object, details: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Fields that other managers hold with other values; the server quotes their names."""
    for cause in map(mapping, sequence(details.get("causes"))):
        said = str(cause.get("message", ""))
        quoted = _QUOTED.search(said)
        yield field_path(item.data, str(cause.get("field", ""))), quoted[1] if quoted else said


def _owner(owners: Mapping[Path, str], path: Path) -> str:
    """Of the field, of a part of it or of what it is part of: applying stops at each."""
    held = (name for field, name in owners.items() if path[: len(field)] == field or field[: len(path)] == path)
    return ", ".join(dict.fromkeys(held))


def _shown(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = {key: value for key, value in mapping(body.get("metadata")).items() if key not in _SERVERS}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def _changes(live: Any, merged: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Leaves that differ, or whole parts that only one side has; lists of the same length item by item."""
    if isinstance(live, Mapping) and isinstance(merged, Mapping):
        for key in {**live, **merged}:
            yield from _changes(live.get(key), merged.get(key), (*path, key))
    elif isinstance(live, list) and isinstance(merged, list) and len(live) == len(merged):
        for index, pair in enumerate(zip(live, merged, strict=True)):
            yield from _changes(*pair, (*path, index))
    elif live != merged:
        yield path, live, merged


def _written(path: Path) -> str:
    """`spec.containers[0].image`; a key with dots in brackets."""
    parts = [f"[{step}]" if isinstance(step, int) or "." in step else f".{step}" for step in path]
    return "".join(parts).lstrip(".")
