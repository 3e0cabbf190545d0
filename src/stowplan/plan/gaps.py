"""The catalogue in; the facts whose absence leaves cells of the matrix undocumented, the costliest first, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stowplan.catalog import Catalog
from stowplan.catalog.listing import unknown_facts
from stowplan.plan.matrix import cell_pairing
from stowplan.plan.planner import missing_facts


def gaps(catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Facts by the number of variant x server x use case cells that each would help to decide; then the other unknowns."""
    cells: Counter[str] = Counter()
    settled_by: dict[str, str] = {}
    for name, variant in catalog.variants.items():
        taking = [case for case, spec in catalog.use_cases.items() if variant.kind in spec.variant_kinds]
        for server in catalog.servers if taking else ():
            for fact in {str(r.numbers["fact"]) for r in missing_facts(cell_pairing(catalog, name, server, taking[0]))}:
                cells[fact] += len(taking)
                settled_by[fact] = _settled_by(fact, server, catalog)
    known = {f"{row['name']} {row['fact']}": row for row in unknown_facts(catalog)}
    for fact, count in sorted(cells.items(), key=lambda item: (-item[1], item[0])):
        row = known.pop(fact, None)
        yield {
            "name": fact,
            "cells": count,
            "bounds": row["bounds"] if row else [],
            "settledBy": row["settledBy"] if row else settled_by[fact],
        }
    for fact, row in known.items():
        yield {"name": fact, "cells": 0, "bounds": row["bounds"], "settledBy": row["settledBy"]}


def _settled_by(fact: str, server: str, catalog: Catalog) -> str:
    """What would settle a fact that no file has a place for yet, and where its place would be."""
    chip = catalog.servers[server].chip
    if fact == f"device layer of {server}":
        return "the plugin or driver that hands out its devices, for `servers` of a device layer"
    if fact.startswith(f"{chip} formats."):
        return "the vendor's word or a run that shows it, for `formats` of the chip"
    elsewhere = f"; runs outside the catalogue: stowplan show chips {chip}" if catalog.chips[chip].reports else ""
    return f"a published command or log of it, for `supports` of an engine{elsewhere}"
