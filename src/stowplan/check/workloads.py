"""An object of any kind in, the pods that serve out: whose role they play, and how many hosts one replica spans.

Kinds of others nest pods in many ways; whatever has `containers` is taken for a pod's spec, except where a kind spreads
a container over fields of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stowplan.check.objects import MAPPINGS, Container, Object, Path, Pod, containers, dig, mapping, sequence

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
_OWN = ".k8s.io"
"""End of the groups of Kubernetes itself (others of them have no dot), whose kinds nest no pods in ways of their own."""
_GROUP_SIZE = "LWS_GROUP_SIZE"
"""Set in every pod of a group by its controller."""
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
        told = {_GROUP_SIZE: str(hosts)} if item.kind == "LeaderWorkerSet" else {}
        for pod in item.pods:
            for container in containers(pod):
                env = {**told, **_variables(container.data)}
                yield Serving(item, pod, container, item.spec, ("spec",), hosts, env)
    elif "spec" in item.data and "." in item.group and not item.group.endswith(_OWN):
        yield from _nested(item, item.spec, ("spec",), _Around(item.spec, ("spec",)))


@dataclass(frozen=True)
class _Around:
    """What is known of a part from the parts around it."""

    role: Mapping[str, Any]
    path: Path
    env: tuple[Any, ...] = ()
    alone: bool = True
    """No part beside it describes workers of the same replica."""


def _nested(item: Object, node: Any, path: Path, around: _Around) -> Iterator[Serving]:
    if isinstance(node, list):
        for index, part in enumerate(node):
            inner = replace(around, role=mapping(part), path=(*path, index))
            yield from _nested(item, part, (*path, index), inner)
        return
    if not isinstance(node, MAPPINGS):
        return
    named = path[-1:] == ("services",)
    workers = not named and any(_is_workers(key, part) for key, part in node.items())
    around = replace(around, env=(*around.env, *sequence(node.get("envs"))), alone=around.alone and not workers)
    if _SPREAD in node:
        yield from _spread(item, node, path, around)
    elif _is_pod_spec(node):
        pod = Pod({}, path, node, path)
        for container in containers(pod):
            hosts, env = _hosts(around), _variables(container.data, around.env)
            yield Serving(item, pod, container, around.role, around.path, hosts, env)
    else:
        for key, part in node.items():
            own = isinstance(part, Mapping) and (named or key == "prefill")
            inner = replace(around, role=part, path=(*path, key), alone=True) if own else around
            yield from _nested(item, part, (*path, key), inner)


def _is_workers(key: str, part: Any) -> bool:
    return str(key).lower().startswith("worker") and isinstance(part, Mapping | list) and bool(part)


def _is_pod_spec(node: Mapping[str, Any]) -> bool:
    found = sequence(node.get("containers"))
    return bool(found) and all(isinstance(c, Mapping) for c in found)


def _spread(item: Object, role: Mapping[str, Any], path: Path, around: _Around) -> Iterator[Serving]:
    """A role that gives its pod by parts: the container's own fields go over those of the role."""
    extra = mapping(role[_SPREAD])
    main = mapping(extra.get("mainContainer"))
    own = mapping(mapping(role.get("resources")).get("limits")) or mapping(
        mapping(role.get("resources")).get("requests")
    )
    limits = {_DEVICES.get(key, key): value for key, value in own.items() if key != "custom"}
    data = {"name": "main", "resources": {"limits": limits}, **main}
    data |= {key: role[key] for key in ("livenessProbe", "readinessProbe", "startupProbe") if key in role}
    place = (*path, _SPREAD, "mainContainer")
    pod = Pod({}, path, {key: value for key, value in extra.items() if key != "mainContainer"}, (*path, _SPREAD))
    env = _variables(data, (*around.env, *sequence(role.get("env"))))
    hosts = _hosts(replace(around, role=role, path=path))
    yield Serving(item, pod, Container(data, place, init=False), role, path, hosts, env)


def _hosts(around: _Around) -> int | None:
    for size in _SIZES:
        value = dig(around.role, size)
        if isinstance(value, int):
            return value
    workers = [around.role[key] for key in _WORKERS if isinstance(around.role.get(key), int)]
    return 1 + int(workers[0]) if workers else 1 if around.alone else None


def _variables(container: Mapping[str, Any], more: tuple[Any, ...] = ()) -> dict[str, str]:
    given = [mapping(entry) for entry in (*more, *sequence(container.get("env")))]
    return {str(e.get("name")): str(e["value"]) for e in given if e.get("value") is not None}


def mounted_files(serving: Serving, maps: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Path in the container to the text of a ConfigMap of the bundle; `maps` are their texts by name."""
    volumes = {v.get("name"): v for v in map(mapping, sequence(serving.pod.spec.get("volumes")))}
    found: dict[str, str] = {}
    for mount in map(mapping, sequence(serving.container.data.get("volumeMounts"))):
        texts = maps.get(str(mapping(mapping(volumes.get(mount.get("name"))).get("configMap")).get("name")), {})
        path, part = str(mount.get("mountPath", "")).rstrip("/"), mount.get("subPath")
        if part is None:
            found |= {f"{path}/{key}": text for key, text in texts.items() if isinstance(text, str)}
        elif isinstance(texts.get(part), str):
            found[path] = texts[part]
    return found
