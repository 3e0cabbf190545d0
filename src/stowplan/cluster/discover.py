"""Nodes in; the servers of the catalogue that they are, with what is ambiguous, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kubernetes.utils.quantity import parse_quantity

from stowplan.catalog import Catalog
from stowplan.check.objects import mapping, sequence
from stowplan.fit.units import GIB
from stowplan.plan.device_layer import choose_layer

_OWN = "stowplan.dev/"
_SERVER = f"{_OWN}server"
_ARCHITECTURE = "kubernetes.io/arch"
_STATE = "node.kubernetes.io/"
"""Prefix of the taints that come and go with a node's health."""
_BESIDE = ("cpu", "memory", "pods", "ephemeral-storage", "attachable-volumes-", "hugepages-")


class Identity(NamedTuple):
    """What tells the hosts of a server from others."""

    resources: Mapping[str, frozenset[str]]
    """Extended resource, or driver of devices by claims, to the device layers that advertise it there."""
    labels: Mapping[str, frozenset[str]]
    devices: int | None
    architectures: tuple[str, ...] | None


@dataclass(frozen=True)
class Node:
    """What one node says of itself."""

    name: str
    labels: Mapping[str, str]
    capacity: Mapping[str, int]
    """Extended resources, devices by driver, and memory in bytes."""
    allocatable: Mapping[str, int]
    taints: tuple[tuple[tuple[str, str], ...], ...]


@dataclass
class Hosts:
    """Nodes that are the same to a plan."""

    server: str | None
    """None: ambiguous, or unknown."""
    candidates: tuple[str, ...]
    resource: str
    devices: int
    device_layers: tuple[str, ...]
    """Those that advertise the resource there, the one that a pairing would take first: nodes do not tell which runs."""
    architecture: str
    host_memory_gib: int
    others: tuple[str, ...]
    """Further extended resources, for example of RDMA devices."""
    taints: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    nodes: list[str] = field(default_factory=list)


def discover(nodes: Iterable[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]], catalog: Catalog) -> list[Hosts]:
    """Hosts by kind, those with devices; a node without any is left out.

    Devices are counted by extended resource, and by driver where ResourceSlices hand them out.
    """
    known = {name: _identity(name, catalog) for name in catalog.servers}
    owned = {r for identity in known.values() for r in identity.resources}
    listed = {key for identity in known.values() for key in identity.labels}
    claimed = _claimed(slices)
    found: dict[str, Hosts] = {}
    for data in nodes:
        node = _node(data, claimed)
        hosts = _hosts(node, known, owned, listed, catalog)
        if hosts is not None:
            same = repr(hosts)
            found.setdefault(same, hosts).nodes.append(node.name)
    return sorted(found.values(), key=lambda hosts: (hosts.server or "~", hosts.nodes))


def _identity(name: str, catalog: Catalog) -> Identity:
    server = catalog.servers[name]
    resources: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {key: {*said.values} for key, said in server.host_labels.items()}
    for layer_name, layer in catalog.device_layers.items():
        if name not in layer.servers:
            continue
        entry = layer.servers[name]
        resources.setdefault(entry.resource, set()).add(layer_name)
        for key, value in entry.node_selector.items():
            if not key.startswith(_OWN):
                labels.setdefault(key, set()).add(value)
    return Identity(
        {key: frozenset(layers) for key, layers in resources.items()},
        {key: frozenset(values) for key, values in labels.items()},
        server.devices.value,
        server.host_arch.value,
    )


def _claimed(slices: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Node to driver to devices, of the newest generation of each pool."""
    pools: dict[tuple[str, str, str], dict[int, int]] = {}
    for data in slices:
        spec = mapping(data.get("spec"))
        pool = mapping(spec.get("pool"))
        key = (str(spec.get("nodeName")), str(spec.get("driver")), str(pool.get("name")))
        held = pools.setdefault(key, {})
        generation = int(pool.get("generation") or 0)
        held[generation] = held.get(generation, 0) + len(sequence(spec.get("devices")))
    found: dict[str, dict[str, int]] = {}
    for (node, driver, _), generations in pools.items():
        drivers = found.setdefault(node, {})
        drivers[driver] = drivers.get(driver, 0) + generations[max(generations)]
    return found


def _node(data: Mapping[str, Any], claimed: Mapping[str, Mapping[str, int]]) -> Node:
    metadata, status = mapping(data.get("metadata")), mapping(data.get("status"))
    by_claims = claimed.get(str(metadata.get("name")), {})
    given = (mapping(taint) for taint in sequence(mapping(data.get("spec")).get("taints")))
    taints = (taint for taint in given if not str(taint.get("key")).startswith(_STATE))
    return Node(
        str(metadata.get("name")),
        {str(key): str(value) for key, value in mapping(metadata.get("labels")).items()},
        {**_amounts(status.get("capacity")), **by_claims},
        {**_amounts(status.get("allocatable")), **by_claims},
        tuple(tuple(sorted((str(k), str(v)) for k, v in taint.items() if k != "timeAdded")) for taint in taints),
    )


def _amounts(given: object) -> dict[str, int]:
    return {str(key): int(parse_quantity(value)) for key, value in mapping(given).items()}


def _hosts(
    node: Node, known: Mapping[str, Identity], owned: set[str], listed: set[str], catalog: Catalog
) -> Hosts | None:
    extended = {key: count for key, count in node.capacity.items() if not key.startswith(_BESIDE) and count > 0}
    labelled = {name for name, identity in known.items() if _matches(node, identity)}
    resource = max(
        (key for key in extended if key in owned),
        key=lambda key: (any(key in known[name].resources for name in labelled), extended[key]),
        default="",
    )
    others = sorted(extended.keys() - {resource})
    if not resource:
        return _without_devices(node, sorted(labelled), others)
    count = extended[resource]
    fitting = {name: identity for name, identity in known.items() if resource in identity.resources}
    candidates, notes = _narrowed(node, resource, count, fitting, listed)
    chosen, why = _chosen(candidates, catalog)
    said = node.labels.get(_SERVER)
    if said is not None and said in candidates:
        chosen, why = said, []
    elif said is not None:
        notes.append(f"its label {_SERVER} says {said}, which it does not look like")
    free = node.allocatable.get(resource, 0)
    if free < count:
        notes.append(f"{count - free} of its {count} devices are unhealthy or withheld")
    layers = _layers(chosen, resource, known, catalog) if chosen else ()
    notes += [f"it advertises {key} too" for key in others]
    return _made(node, chosen, candidates, resource, count, layers, others, [*notes, *why])


def _without_devices(node: Node, labelled: list[str], others: list[str]) -> Hosts | None:
    """A node that advertises nothing that a device layer of the catalogue hands out; none where nothing hints at devices."""
    if others:
        notes = [
            f"it advertises {', '.join(others)}, which no device layer of the catalogue hands out as whole devices"
        ]
    elif labelled:
        notes = ["it advertises no devices: neither a device plugin nor a driver of claims is seen there"]
    else:
        return None
    if labelled:
        notes.append(f"its labels say {_or(labelled)}")
    return _made(node, None, labelled, "", 0, (), others, notes)


def _made(
    node: Node,
    chosen: str | None,
    candidates: Sequence[str],
    resource: str,
    count: int,
    layers: tuple[str, ...],
    others: Iterable[str],
    notes: Sequence[str],
) -> Hosts:
    return Hosts(
        chosen,
        tuple(candidates),
        resource,
        count,
        layers,
        node.labels.get(_ARCHITECTURE, ""),
        node.capacity.get("memory", 0) // GIB,
        tuple(sorted(others)),
        tuple(dict(taint) for taint in node.taints),
        tuple(notes),
    )


def _matches(node: Node, identity: Identity) -> bool:
    """Whether some label says that it is this server, and none that it is another."""
    said = [node.labels[key] in values for key, values in identity.labels.items() if key in node.labels]
    return bool(said) and all(said)


def _narrowed(
    node: Node, resource: str, count: int, known: Mapping[str, Identity], listed: set[str]
) -> tuple[list[str], list[str]]:
    """Servers that nothing on the node speaks against, those that most labels agree with; and what was ruled out last."""
    told = {key: node.labels[key] for key in sorted(listed) if key in node.labels}
    left, notes = dict(known), list[str]()
    for key, value in told.items():
        if not any(value in i.labels.get(key, ()) for i in known.values()):
            notes.append(f"no such server of the catalogue has the label {key}={value}")
        left = {name: i for name, i in left.items() if value in i.labels.get(key, (value,))}
    agreeing = {name: sum(key in i.labels for key in told) for name, i in left.items()}
    left = {name: i for name, i in left.items() if agreeing[name] == max(agreeing.values())}
    arch = node.labels.get(_ARCHITECTURE)
    built = {name: i for name, i in left.items() if arch is None or i.architectures is None or arch in i.architectures}
    if gone := sorted(left.keys() - built.keys()):
        notes.append(f"hosts of {_or(gone)} are not documented as {arch}")
    counted = {name: i for name, i in built.items() if i.devices in (None, count)}
    if built and not counted:
        sizes = _or([f"{name} ({i.devices})" for name, i in sorted(built.items())])
        notes.append(f"with {count} {resource} it is no whole host of {sizes}")
    return sorted(counted), notes


def _chosen(candidates: Sequence[str], catalog: Catalog) -> tuple[str | None, list[str]]:
    """The one candidate, or of several with the same chip the one with the smallest scale-up domain."""
    if not candidates[1:]:
        return next(iter(candidates), None), []
    specs = {name: catalog.servers[name] for name in candidates}
    alike = {(s.chip, s.devices.value, s.mesh.value) for s in specs.values()}
    domains = {name: s.scale_up_domain.value for name, s in specs.items()}
    if len(alike) > 1 or None in domains.values() or len({*domains.values()}) < len(domains):
        return None, [f"it may be {_or(candidates)}: label it {_SERVER}=NAME"]
    least, *rest = sorted(candidates, key=lambda name: domains[name] or 0)
    return least, [f"it may be part of {_or(rest)} as well: a node does not tell which devices its links reach"]


def _layers(server: str, resource: str, known: Mapping[str, Identity], catalog: Catalog) -> tuple[str, ...]:
    usual = choose_layer(catalog, catalog.sites["default"], server, None)
    return tuple(sorted(known[server].resources[resource], key=lambda name: (not usual or name != usual.name, name)))


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
