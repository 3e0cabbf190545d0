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
    use_cases = list(catalog.use_cases)
    for variant in catalog.variants:
        for server in catalog.servers:
            for fact in {
                str(reason.numbers["fact"])
                for reason in missing_facts(cell_pairing(catalog, variant, server, use_cases[0]))
            }:
                cells[fact] += len(use_cases)
    known = {f"{row['name']} {row['fact']}": row for row in unknown_facts(catalog)}
    for fact, count in sorted(cells.items(), key=lambda item: (-item[1], item[0])):
        row = known.pop(fact, None)
        yield {
            "name": fact,
            "cells": count,
            "bounds": row["bounds"] if row else [],
            "settledBy": row["settledBy"] if row else "a source that shows it",
        }
    for fact, row in known.items():
        yield {"name": fact, "cells": 0, "bounds": row["bounds"], "settledBy": row["settledBy"]}
