"""Hosts in; the part of a site's profile that its nodes tell, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stowplan.catalog import Catalog
from stowplan.cluster.discover import Hosts
from stowplan.plan.device_layer import choose_layer


def site_of(hosts: Iterable[Hosts], minor: str, catalog: Catalog) -> dict[str, Any]:
    """The part of a site's profile that nodes tell, as plain data."""
    spec: dict[str, Any] = {"title": "As its nodes tell of themselves", "kubernetes": minor}
    servers: dict[str, Any] = {}
    memory: dict[str, int] = {}
    taints: list[dict[str, str]] = []
    for found in hosts:
        if found.server is None:
            continue
        usual = choose_layer(catalog, catalog.sites["default"], found.server, None)
        named = usual is not None and usual.name in found.device_layers
        servers[found.server] = {} if named else {"deviceLayer": found.device_layers[0]}
        memory[found.server] = min(memory.get(found.server, found.host_memory_gib), found.host_memory_gib)
        taints += [t for t in _not_tolerated(found, catalog) if t not in taints]
    return {**spec, "hostMemoryGib": memory, "servers": servers, **({"tolerations": taints} if taints else {})}


def _not_tolerated(hosts: Hosts, catalog: Catalog) -> Iterator[dict[str, str]]:
    """Tolerations of the nodes' taints that the device layer's pods do not have by themselves."""
    site = catalog.sites["default"]
    layer = choose_layer(catalog, site, str(hosts.server), hosts.device_layers[0])
    own = layer.spec.workload.tolerations if layer else ()
    for taint in hosts.taints:
        if taint.get("effect") != "PreferNoSchedule" and not any(_tolerates(t, taint) for t in own):
            made = {"key": taint["key"], "operator": "Equal" if taint.get("value") else "Exists"}
            yield made | {key: taint[key] for key in ("value", "effect") if taint.get(key)}


def _tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    if toleration.get("key") not in (None, taint["key"]) or toleration.get("effect") not in (None, taint.get("effect")):
        return False
    return toleration.get("operator", "Equal") == "Exists" or toleration.get("value", "") == taint.get("value", "")
