"""Plans of one output in; a refusal where two device layers would hand out the devices of one host."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from stowplan.diagnostics import Diagnostic, Refused
from stowplan.plan.model import Plan


def refuse_two_owners(plans: Sequence[Plan]) -> None:
    """One layer for each pool of hosts: the hosts of one kind of server at one site.

    Raises:
        Refused: two pairings ask for two layers that own one device there; it names both.
    """
    problems = [problem for one, other in combinations(plans, 2) for problem in _problems(one, other)]
    if problems:
        raise Refused(problems)


def _problems(one: Plan, other: Plan) -> list[Diagnostic]:
    first, second = one.layer, other.layer
    if first is None or second is None or first.name == second.name:
        return []
    if one.pairing.spec.site != other.pairing.spec.site:
        return []
    shared = sorted({*first.spec.owns} & {*second.spec.owns})
    greedy = [layer.name for layer in (first, second) if layer.spec.every_host]
    same = one.pairing.spec.server == other.pairing.spec.server
    if not shared or not (same or greedy):
        return []
    site = one.pairing.spec.site
    where = f"{one.pairing.spec.server} of site {site}" if same else f"site {site}: {greedy[0]} serves every host there"
    message = (
        f"{first.name} (for {one.pairing.name}) and {second.name} (for {other.pairing.name})"
        f" both hand out {', '.join(shared)} on {where}"
    )
    hint = f"one owner per device: deviceLayer {first.name} or {second.name} for both, or another site"
    return [Diagnostic("P033", message, other.pairing.locate("deviceLayer"), hint=hint)]
