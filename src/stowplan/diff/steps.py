"""Two plans of a pairing in; what has to be done before, and in which order, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.objects import dig, mapping

_ROLE = ("roles", 0)
_DEPLOYMENT = (*_ROLE, "deployment")


def steps(old: Mapping[str, Any], new: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    """Hardware, namespace, weights, then the pairing; `old` is empty where the pairing is new. None where nothing waits."""
    if not new.get("roles"):
        return
    name, before = str(dig(new, ("pairing", "name"))), str(dig(old, ("pairing", "name")))
    moved = list(_hardware(old, new, catalog))
    yield from moved
    yield from _driver(old, new)
    namespace = dig(new, (*_DEPLOYMENT, "namespace"))
    if namespace != dig(old, (*_DEPLOYMENT, "namespace")) or name != before:
        site = dig(new, ("pairing", "site"))
        yield f"the namespace {namespace} (sites/{site}), and the secrets and operators that pairings/{name}/PREREQUISITES.md lists"
    waits = list(_weights(old, new))
    yield from waits
    if name != before or moved or waits:
        yield f"apply pairings/{name} and wait for its smoke test"
        if old:
            yield (
                "evaluate the answers on the new precision"
                if _precision(old) != _precision(new)
                else "compare latency and answers"
            )
    if old and name != before:
        yield f"move the traffic, then delete what pairings/{before} made (its weights' claim holds the old checkpoint)"


def _hardware(old: Mapping[str, Any], new: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    layer, server = str(dig(new, ("deviceLayer", "name"))), str(dig(new, ("pairing", "server")))
    was = mapping(old.get("deviceLayer"))
    folder = f"device-layers/{layer}"
    if was.get("name") != layer:
        yield f"the device layer {layer}, once a cluster: {folder} and its PREREQUISITES.md"
    elif was.get("version") != dig(new, ("deviceLayer", "version")):
        yield f"the device layer {layer} at {dig(new, ('deviceLayer', 'version'))}, before the pairing: {folder}"
    if (was.get("name"), dig(old, ("pairing", "server"))) == (layer, server):
        return
    yield f"labels on the hosts: {folder}/servers/{server}/node-labels.yaml"
    known = catalog.device_layers[layer].servers.get(server) if layer in catalog.device_layers else None
    if known is not None and known.preflight:
        yield f"the preflight on each host: {folder}/servers/{server}"
        nodes = dig(new, (*_ROLE, "nodes"))
        if isinstance(nodes, int) and nodes > 1:
            yield f"then the preflight of {nodes} hosts together: {folder}/servers/{server}/group-{nodes}"


def _driver(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    driver, libraries = dig(new, ("engine", "driver")), dig(new, ("engine", "libraries"))
    if driver and driver != dig(old, ("engine", "driver")):
        yield f"a driver of version {driver} or newer on the hosts"
    elif not driver and libraries and libraries != dig(old, ("engine", "libraries")):
        built = ", ".join(f"{name} {version}" for name, version in mapping(libraries).items())
        yield f"a driver that its vendor lists for the image's {built}"


def _weights(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    keys = ("id", "revision")
    same = all(dig(old, ("checkpoint", key)) == dig(new, ("checkpoint", key)) for key in keys)
    claim = dig(new, (*_DEPLOYMENT, "weights", "claim"))
    if same and claim == dig(old, (*_DEPLOYMENT, "weights", "claim")):
        return
    size, room = dig(new, ("checkpoint", "bytes")), dig(new, (*_DEPLOYMENT, "weights", "claimGib"))
    decision = dig(new, ("quantization", "decision"))
    made = "" if decision != "convert" else f", made by {dig(new, ('quantization', 'toolchain'))}"
    yield f"the weights of {dig(new, ('checkpoint', 'id'))}{made}: {(size or 0) / 1e9:,.1f} GB into a new claim of {room} GiB ({claim})"


def _precision(plan: Mapping[str, Any]) -> Any:
    return dig(plan, ("checkpoint", "quantization"))
