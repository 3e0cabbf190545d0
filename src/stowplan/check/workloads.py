"""An object of any kind in, the pods that serve out: whose role they play, and how many hosts one replica spans.

Kinds of others nest pods in many ways; whatever has `containers` is taken for a pod's spec, except where a kind spreads
a container over fields of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.check.objects import Container, Object, Path, Pod, containers, dig, mapping, sequence

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's own path, which nothing here writes to
_SPREAD = "extraPodSpec"
"""A container given as `mainContainer` beside fields of the role: args, env and resources."""
_DEVICES = {"gpu": "nvidia.com/gpu"}
"""Short names for devices in such a role."""
_SIZES: tuple[Path, ...] = (
    ("multinode", "nodeCount"),
    ("leaderWorkerPattern", "size"),
    ("leaderWorkerTemplate", "size"),
    ("size",),
)
_WORKERS = ("workerReplicas",)


@dataclass(frozen=True, eq=False)
class Serving:
    """One container that may run an engine."""

    item: Object
    pod: Pod
    container: Container
    role: Mapping[str, Any]
    """The part of the object that describes the role: for a plain workload the object's spec."""
    role_path: Path
    hosts: int | None
    """Pods of one replica; None where the object does not say."""
    env: Mapping[str, str]
    """Variables with a value that the file gives."""


def servings(item: Object) -> Iterator[Serving]:
    """Every container of the object's pods, wherever its kind keeps them."""
    if item.pods:
        size = dig(item.data, ("spec", "leaderWorkerTemplate", "size"))
        hosts = size if isinstance(size, int) else 1
        for pod in item.pods:
            for container in containers(pod):
                yield Serving(item, pod, container, item.spec, ("spec",), hosts, _variables(container.data))
    elif "spec" in item.data:
        yield from _nested(item, item.spec, ("spec",), (item.spec, ("spec",)), ())


def _nested(
    item: Object, node: Any, path: Path, role: tuple[Mapping[str, Any], Path], env: tuple[Any, ...]
) -> Iterator[Serving]:
    if isinstance(node, list):
        for index, part in enumerate(node):
            yield from _nested(item, part, (*path, index), (mapping(part), (*path, index)), env)
        return
    if not isinstance(node, Mapping):
        return
    env = (*env, *sequence(node.get("envs")))
    if _SPREAD in node:
        yield from _spread(item, node, path, env)
        return
    if _is_pod_spec(node):
        pod = Pod({}, path, node, path)
        for container in containers(pod):
            yield Serving(item, pod, container, *role, _hosts(role[0], path), _variables(container.data, env))
        return
    for key, part in node.items():
        inner = (part, (*path, key)) if path[-1:] == ("services",) and isinstance(part, Mapping) else role
        if key == "prefill" and isinstance(part, Mapping):
            inner = (part, (*path, key))
        yield from _nested(item, part, (*path, key), inner, env)


def _is_pod_spec(node: Mapping[str, Any]) -> bool:
    found = sequence(node.get("containers"))
    return bool(found) and all(isinstance(c, Mapping) for c in found)


def _spread(item: Object, role: Mapping[str, Any], path: Path, env: tuple[Any, ...]) -> Iterator[Serving]:
    """A role that gives its pod by parts: the container's own fields go over those of the role."""
    extra = mapping(role[_SPREAD])
    main = mapping(extra.get("mainContainer"))
    own = mapping(mapping(role.get("resources")).get("limits")) or mapping(
        mapping(role.get("resources")).get("requests")
    )
    limits = {_DEVICES.get(key, key): value for key, value in own.items() if key != "custom"}
    shared = mapping(role.get("sharedMemory"))
    own_memory = [] if shared.get("disabled") is True else [{"mountPath": SHARED_MEMORY}]
    mounts = [*sequence(main.get("volumeMounts")), *own_memory]
    data = {"name": "main", "resources": {"limits": limits}, **main, "volumeMounts": mounts}
    data |= {key: role[key] for key in ("livenessProbe", "readinessProbe", "startupProbe") if key in role}
    place = (*path, _SPREAD, "mainContainer")
    pod = Pod({}, path, {key: value for key, value in extra.items() if key != "mainContainer"}, (*path, _SPREAD))
    yield Serving(
        item,
        pod,
        Container(data, place, init=False),
        role,
        path,
        _hosts(role, path),
        _variables(data, (*env, *sequence(role.get("env")))),
    )


def _hosts(role: Mapping[str, Any], path: Path) -> int | None:
    for size in _SIZES:
        value = dig(role, size)
        if isinstance(value, int):
            return value
    workers = [role[key] for key in _WORKERS if isinstance(role.get(key), int)]
    if workers:
        return 1 + int(workers[0])
    return None if any("worker" in str(step).lower() for step in path) or "worker" in role else 1


def _variables(container: Mapping[str, Any], more: tuple[Any, ...] = ()) -> dict[str, str]:
    given = [mapping(entry) for entry in (*more, *sequence(container.get("env")))]
    return {str(e.get("name")): str(e["value"]) for e in given if e.get("value") is not None}
