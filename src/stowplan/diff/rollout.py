"""A changed object in; what applying it does to running pods, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.objects import Object, dig, mapping
from stowplan.diff.objects import ObjectChange
from stowplan.diff.side import Held
from stowplan.located_yaml import Document

_WORKLOADS = ("DaemonSet", "Deployment", "LeaderWorkerSet", "StatefulSet")
_STRATEGY: Mapping[str, tuple[str, ...]] = {
    "DaemonSet": ("spec", "updateStrategy"),
    "Deployment": ("spec", "strategy"),
    "LeaderWorkerSet": ("spec", "rolloutStrategy"),
    "StatefulSet": ("spec", "updateStrategy"),
}
_FIXED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "ClusterRoleBinding": (("roleRef",),),
    "DaemonSet": (("spec", "selector"),),
    "Deployment": (("spec", "selector"),),
    "Job": (("spec", "selector"), ("spec", "template"), ("spec", "completionMode")),
    "PersistentVolumeClaim": tuple(("spec", key) for key in ("accessModes", "storageClassName", "volumeMode")),
    "RoleBinding": (("roleRef",),),
    "StatefulSet": tuple(
        ("spec", key) for key in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
    ),
}
"""Fields that the API server does not let change: the object is deleted and made again."""


class Effect(NamedTuple):
    """What happens to one object when the new side is applied."""

    object: str
    does: str


def effects(found: Iterable[ObjectChange]) -> Iterator[Effect]:
    """Workloads that start, stop, restart or run again, and objects that cannot be changed in place."""
    for change in found:
        yield from (Effect(change.title, words) for words in _effects(change))


def _effects(change: ObjectChange) -> Iterator[str]:
    if change.new is None or change.old is None:
        item = change.new or change.old
        if item is not None and _kind(item) in _WORKLOADS:
            yield f"{'starts' if change.new else 'stops'} {_size(item.data)}"
        return
    old, new = change.old, change.new
    if not (old.is_object and new.is_object):
        return
    if _name(old) != _name(new):
        yield from _replaced(old, new)
        return
    if fixed := [".".join(path) for path in _FIXED.get(_kind(new), ()) if dig(old.data, path) != dig(new.data, path)]:
        yield f"cannot be changed in place ({', '.join(fixed)}): delete it first"
    if _kind(new) in _WORKLOADS:
        yield from _restart(old, new)


def _replaced(old: Held, new: Held) -> Iterator[str]:
    """Another name: a Job of another content, or a pairing that moved."""
    if _kind(new) == "Job":
        yield f"runs; {_name(old)} is to be deleted"
    elif _kind(new) in _WORKLOADS:
        yield f"starts {_size(new.data)}; {_name(old)} stops when it is deleted"


def _restart(old: Held, new: Held) -> Iterator[str]:
    if _pods(old) != _pods(new):
        yield f"restarts {_size(new.data)}, {_strategy(new.data)}"
    elif _size(old.data) != _size(new.data):
        yield f"scales from {_size(old.data)} to {_size(new.data)}; running pods stay"


def _pods(item: Held) -> list[tuple[Any, ...]]:
    """Metadata and spec of every pod template."""
    held = Object(item.data, Document(item.data, item.path))
    return [(pod.metadata, pod.spec) for pod in held.pods]


def _size(data: Mapping[str, Any]) -> str:
    if data["kind"] == "DaemonSet":
        return "a pod on each of its hosts"
    replicas = _whole(dig(data, ("spec", "replicas")))
    if data["kind"] != "LeaderWorkerSet":
        return f"{replicas} pod(s)"
    return f"{replicas} group(s) of {_whole(dig(data, ('spec', 'leaderWorkerTemplate', 'size')))} pods"


def _strategy(data: Mapping[str, Any]) -> str:
    strategy = mapping(dig(data, _STRATEGY[data["kind"]]))
    rolling = mapping(strategy.get("rollingUpdate", strategy.get("rollingUpdateConfiguration")))
    named = str(strategy.get("type", "RollingUpdate"))
    told = ", ".join(f"{key} {value}" for key, value in rolling.items())
    return f"{named}: {told}" if told else named


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 1


def _kind(item: Held) -> str:
    return str(item.data.get("kind", "")) if item.is_object else ""


def _name(item: Held) -> str:
    metadata = mapping(item.data.get("metadata"))
    return "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
