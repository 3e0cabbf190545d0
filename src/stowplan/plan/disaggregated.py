"""Prefill and decode on devices of their own: one stack in, its pairs of roles on some hosts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from stowplan.estimate import Pair, estimate_pair
from stowplan.pairing import ROLES
from stowplan.plan.choice import rank
from stowplan.plan.evaluate import Evaluator
from stowplan.plan.layouts import Placement, placements
from stowplan.plan.model import Candidate, Recipe, Role
from stowplan.plan.settings import Key, Origin, pin_path
from stowplan.profiles.engine import Transfer

PREFILL, DECODE = ROLES["disaggregated"]


def _nearest(roles: Sequence[Role]) -> Role:
    return min(roles, key=lambda role: (len(role.reasons), role.fit.shortfall))


@dataclass(frozen=True)
class PairSearcher:
    """The pairs of roles of one stack; each role under one layout is evaluated once."""

    evaluator: Evaluator
    recipes: tuple[Recipe, ...]
    _placed: dict[tuple[str, Placement, str], Role] = field(default_factory=dict, init=False)

    def on(self, nodes: int) -> Iterator[Candidate]:
        """Documented pairs first, then for each split of the hosts the best of one role with all of the other."""
        for recipe in self.recipes:
            prefill, decode = self._documented(PREFILL, recipe), self._documented(DECODE, recipe)
            pair, layout = (prefill, decode), self.evaluator.pairing.layout
            as_pinned = all(layout(role.name) in (None, role.placement.layout) for role in pair)
            if as_pinned and self._hosts(pair) == nodes:
                yield self._pair(prefill, decode, nodes, recipe)
        for prefills, decodes in self._splits(nodes):
            if not (prefills and decodes):
                continue
            first, nearest = _nearest(prefills), _nearest(decodes)
            if first.reasons or nearest.reasons:  # then no pair is better than this one
                yield self._pair(first, nearest, nodes)
                continue
            by_decode = [self._pair(first, decode, nodes) for decode in decodes]
            yield from by_decode
            best = min(by_decode, key=lambda c: (not c.feasible, rank(c, self.evaluator.pairing, [c.stack])))
            yield from (self._pair(other, best.roles[1], nodes) for other in prefills if other is not first)

    def _documented(self, name: str, recipe: Recipe) -> Role:
        said = recipe[1].roles[name]
        placement = Placement(said.layout, said.nodes, said.layout.devices // said.nodes)
        return replace(self._placed_at(name, placement, recipe), instances=said.instances)

    def _placed_at(self, name: str, placement: Placement, recipe: Recipe | None = None) -> Role:
        key = (name, placement, recipe[0] if recipe else "")
        if key not in self._placed:
            self._placed[key] = self.evaluator.of(name).place(placement, recipe)
        return self._placed[key]

    @property
    def _host(self) -> int:
        return self.evaluator.layer.devices_of(self.evaluator.pairing.server)

    def _hosts(self, roles: Sequence[Role]) -> int:
        """Whole hosts that instances span, and those that instances on a part of a host fill together."""
        spanning = sum(role.placement.nodes * role.instances for role in roles if role.placement.nodes > 1)
        return spanning + ceil(sum(role.devices for role in roles if role.placement.nodes == 1) / self._host)

    def _splits(self, nodes: int) -> Iterator[tuple[list[Role], list[Role]]]:
        """The choices of both roles for each way to divide the hosts; on one host, to divide its devices."""
        if nodes > 1:
            for share in range(1, nodes):
                yield self._on_hosts(PREFILL, share), self._on_hosts(DECODE, nodes - share)
            return
        counts = self.evaluator.layer.server.pod_counts.single
        for share in counts:
            if self._host - share in counts:
                yield self._choices(PREFILL, 1, share, 1), self._choices(DECODE, 1, self._host - share, 1)

    def _on_hosts(self, name: str, hosts: int) -> list[Role]:
        """Instances over one, two ... hosts that together fill that many; a pinned layout may take an equal part of a host."""
        spans = (span for span in range(1, hosts + 1) if hosts % span == 0)
        filling = [role for span in spans for role in self._choices(name, span, self._host, hosts // span)]
        pinned = self.evaluator.pairing.layout(name)
        if filling or pinned is None or self._host % pinned.devices:
            return filling
        return self._choices(name, 1, pinned.devices, hosts * self._host // pinned.devices)

    def _choices(self, name: str, span: int, devices: int, instances: int) -> list[Role]:
        pinned, evaluator = self.evaluator.pairing.layout(name), self.evaluator.of(name)
        if pinned:
            every = [Placement(pinned, span, devices)] if pinned.devices == span * devices else []
        else:
            every = [p for p in placements(span, devices) if evaluator.legal(p)]
        return [replace(self._placed_at(name, placement), instances=instances) for placement in every]

    def _pair(self, prefill: Role, decode: Role, nodes: int, recipe: Recipe | None = None) -> Candidate:
        evaluator, roles = self.evaluator, (prefill, decode)
        carried = decode.carried(evaluator.pairing.use_case.mean_request)
        bands = None
        if not (prefill.reasons or decode.reasons):
            one, other = evaluator.of(PREFILL), evaluator.of(DECODE)
            pair = Pair(one.station(prefill), prefill.instances, other.station(decode), decode.instances)
            efficiencies = one.efficiency(prefill), other.efficiency(decode)
            bands = estimate_pair(pair, evaluator.load(carried), efficiencies)
        told = tuple(self._told(role, roles) for role in roles)
        return evaluator.judge(told, nodes, recipe, bands, carried)

    def _told(self, role: Role, roles: Sequence[Role]) -> Role:
        """A role whose connector knows what its engine's transfer has to be told of both."""
        handed = self.evaluator.stack.transfer
        if handed is None:
            return role
        settings = role.settings.copy()
        for path, value, name, reason in self._facts(handed, role, roles):
            settings.put(path, value, Origin("plan", name, reason, handed.source))
        self.evaluator.of(role.name).pin(settings)
        return replace(role, settings=settings)

    def _facts(self, handed: Transfer, role: Role, roles: Sequence[Role]) -> Iterator[tuple[Key, Any, str, str]]:
        """Path, value, name and reason of each setting."""
        for setting in handed.drawn:
            yield pin_path(setting), None, "drawn", "instances may not share it; the engine draws one"
        if handed.handshake and (reserved := handed.reserved_ports):
            first = reserved.first + reserved.per_device * self._host
            before = sum(peer.placement.layout.devices for peer in roles[: roles.index(role)])
            reason = f"the transport draws ports below {first} on a host of {self._host} devices"
            yield pin_path(handed.handshake), first + before, "handshake port", reason
        if handed.sizes is None:
            return
        for peer in roles:
            path, layout = (*pin_path(handed.sizes.path), peer.name), peer.placement.layout
            for key, size in ((handed.sizes.tp, layout.tp), (handed.sizes.dp, layout.dp)):
                yield (*path, key), size, "peer sizes", "each role is told the sizes of both"
