"""One role for prefill and decode: one stack in, its layouts on some hosts out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stowplan.pairing import ROLES
from stowplan.plan.evaluate import Evaluator
from stowplan.plan.layouts import Placement, placements
from stowplan.plan.model import Candidate, Recipe

(SERVER,) = ROLES["aggregated"]


@dataclass(frozen=True)
class LayoutSearcher:
    """The layouts of one stack."""

    evaluator: Evaluator
    recipes: tuple[Recipe, ...]

    def on(self, nodes: int) -> Iterator[Candidate]:
        """Documented layouts first, then every other."""
        pinned = self.evaluator.pairing.layout(SERVER)
        seen = set()
        for recipe in self.recipes:
            role = recipe[1].roles[SERVER]
            if role.nodes == nodes and pinned in (None, role.layout):
                placement = Placement(role.layout, nodes, role.layout.devices // nodes)
                seen.add(placement)
                yield self.evaluator.evaluate(placement, recipe)
        for placement in self._placements(nodes):
            if placement not in seen:
                yield self.evaluator.evaluate(placement)

    def _placements(self, nodes: int) -> Iterator[Placement]:
        pinned = self.evaluator.pairing.layout(SERVER)
        if pinned:
            if pinned.devices % nodes == 0:
                yield Placement(pinned, nodes, pinned.devices // nodes)
            return
        layer = self.evaluator.layer
        counts = [layer.devices_of(self.evaluator.pairing.server)] if nodes > 1 else layer.server.pod_counts.single
        every = [p for devices in counts for p in placements(nodes, devices)]
        yield from [p for p in every if self.evaluator.legal(p)] or every[:1]
