"""What device layers advertise: read from the node-labels.yaml beside manifests, else from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.objects import Advertised, Bundle, mapping, sequence

FILE = "node-labels.yaml"


def read_advertised(documents: Iterable[tuple[Path, Any]]) -> Iterator[Advertised]:
    """Entries of the rendered files of servers; a file of that name that says something else is passed over."""
    for path, data in documents:
        said = mapping(data)
        names = [said.get(key) for key in ("server", "deviceLayer", "resource")]
        counts = mapping(said.get("podCounts"))
        if path.name != FILE or not all(isinstance(name, str) for name in names) or not counts:
            continue
        single, distributed = (tuple(sequence(counts.get(key))) for key in ("single", "distributed"))
        yield Advertised(str(names[0]), str(names[1]), str(names[2]), single, distributed)


def advertised(bundle: Bundle, server: str) -> tuple[Advertised, ...]:
    """What the hosts of a server advertise: by the tree that is checked where it says so, else by any layer."""
    rendered = tuple(entry for entry in bundle.advertised if entry.server == server)
    return rendered or _known(bundle.catalog).get(server, ())


def device_resources(bundle: Bundle) -> set[str]:
    """Names that some layer advertises."""
    return {e.resource for e in bundle.advertised} | _resources(bundle.catalog)


@cache
def _resources(catalog: Catalog | None) -> frozenset[str]:
    return frozenset(e.resource for entries in _known(catalog).values() for e in entries)


@cache
def _known(catalog: Catalog | None) -> Mapping[str, tuple[Advertised, ...]]:
    """By server; one catalogue is asked for every pod that is checked."""
    found: dict[str, list[Advertised]] = {}
    layers: Mapping[str, Any] = catalog.device_layers if catalog else {}
    for name, layer in layers.items():
        for server, entry in layer.servers.items():
            counts = entry.pod_counts
            made = Advertised(server, name, entry.resource, counts.single, counts.distributed or counts.single)
            found.setdefault(server, []).append(made)
    return {server: tuple(entries) for server, entries in found.items()}
