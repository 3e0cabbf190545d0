"""An object of a platform in; the roles that its operator is told of, with their containers, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.objects import Container, Object, Path, Pod, dig, mapping, sequence

PLATFORMS = "LLMInferenceService DynamoGraphDeployment"
_SERVER = "server"
_ENGINES = {"worker": _SERVER, "prefill": "prefill", "decode": "decode"}
"""Type of a component to the role that it has in a plan."""


class Told(NamedTuple):
    """One role, in the words of the platform."""

    role: str
    data: Mapping[str, Any]
    path: Path
    hosts: object
    """Of one replica."""
    engines: tuple[tuple[Pod, Container], ...]


def told(item: Object) -> Iterator[Told]:
    """The roles of an object, whatever the shape in which its version has them."""
    if item.kind == "LLMInferenceService":
        prefill = item.spec.get("prefill")
        yield _service(item.spec, ("spec",), "decode" if isinstance(prefill, Mapping) else _SERVER)
        if isinstance(prefill, Mapping):
            yield _service(prefill, ("spec", "prefill"), "prefill")
    elif item.kind == "DynamoGraphDeployment":
        for index, part in enumerate(sequence(item.spec.get("components"))):
            kind, path = mapping(part).get("type"), ("spec", "components", index)
            if kind in _ENGINES:
                yield _component(mapping(part), path, _ENGINES[kind])
        for name, part in mapping(item.spec.get("services")).items():
            kind = mapping(part).get("subComponentType") or mapping(part).get("componentType")
            if kind in _ENGINES:
                yield _component(mapping(part), ("spec", "services", name), _ENGINES[kind])


def _service(data: Mapping[str, Any], path: Path, role: str) -> Told:
    sizes, hosts = mapping(data.get("parallelism")), 1
    if isinstance(data.get("worker"), Mapping):
        ranks, local = sizes.get("data", 1), sizes.get("dataLocal", 1)
        by_ranks = isinstance(ranks, int) and isinstance(local, int) and local and ranks // local
        hosts = by_ranks if by_ranks and by_ranks > 1 else sizes.get("pipeline", 1)
    pods = ((*path, name) for name in ("template", "worker") if isinstance(data.get(name), Mapping))
    return Told(role, data, path, hosts, tuple(_engine(data[str(pod[-1])], pod) for pod in pods))


def _component(data: Mapping[str, Any], path: Path, role: str) -> Told:
    hosts = dig(data, ("multinode", "nodeCount")) or 1
    extra = data.get("extraPodSpec")
    if isinstance(extra, Mapping):
        where = (*path, "extraPodSpec")
        main = Container(mapping(extra.get("mainContainer")), (*where, "mainContainer"), init=False)
        return Told(role, data, path, hosts, ((Pod({}, path, extra, where), main),))
    where = (*path, "podTemplate", "spec")
    return Told(role, data, path, hosts, (_engine(mapping(dig(data, ("podTemplate", "spec"))), where),))


def _engine(spec: Mapping[str, Any], path: Path) -> tuple[Pod, Container]:
    """The first container, which the operator takes for the engine's."""
    found = sequence(spec.get("containers"))
    return Pod({}, path, spec, path), Container(
        mapping(found[0] if found else None), (*path, "containers", 0), init=False
    )
