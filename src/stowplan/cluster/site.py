"""Hosts in; the part of a site's profile that its nodes tell, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stowplan.catalog import Catalog
from stowplan.cluster.discover import Hosts
from stowplan.plan.device_layer import choose_layer


def site_of(hosts: Iterable[Hosts], minor: str, catalog: Catalog) -> tuple[dict[str, Any], list[str]]:
    """The part of a site's profile that nodes tell, as plain data; and what is left for people to decide."""
    by_server: dict[str, list[Hosts]] = {}
    for found in hosts:
        if found.server is not None:
            by_server.setdefault(found.server, []).append(found)
    servers: dict[str, Any] = {}
    taints: list[dict[str, str]] = []
    questions: list[str] = []
    for server, kinds in by_server.items():
        usual = choose_layer(catalog, catalog.sites["default"], server, None)
        layers = {found.device_layers[0] for found in kinds}
        if len(layers) > 1:
            questions.append(
                f"hosts of {server} have their devices from {' and '.join(sorted(layers))}: one site has one of them"
            )
        layer = min(layers)
        servers[server] = {} if usual is not None and layer == usual.name else {"deviceLayer": layer}
        kept = [taint for taint in kinds[0].taints if all(taint in found.taints for found in kinds)]
        taints += [t for t in _not_tolerated(server, layer, kept, catalog) if t not in taints]
    memory = {server: min(found.host_memory_gib for found in kinds) for server, kinds in by_server.items()}
    spec = {
        "title": "As its nodes tell of themselves",
        "kubernetes": minor,
        "hostMemoryGib": memory,
        "servers": servers,
    }
    return {**spec, **({"tolerations": taints} if taints else {})}, questions


def _not_tolerated(
    server: str, layer: str, taints: Iterable[Mapping[str, str]], catalog: Catalog
) -> Iterator[dict[str, str]]:
    """Tolerations of taints that all such nodes have and that the device layer's pods do not tolerate by themselves."""
    chosen = choose_layer(catalog, catalog.sites["default"], server, layer)
    own = chosen.spec.workload.tolerations if chosen else ()
    for taint in taints:
        if taint.get("effect") != "PreferNoSchedule" and not any(_tolerates(t, taint) for t in own):
            made = {"key": taint["key"], "operator": "Equal" if taint.get("value") else "Exists"}
            yield made | {key: taint[key] for key in ("value", "effect") if taint.get(key)}


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if toleration.get("key") not in (None, taint["key"]) or toleration.get("effect") not in (None, taint.get("effect")):
        return False
    return toleration.get("operator", "Equal") == "Exists" or toleration.get("value", "") == taint.get("value", "")
