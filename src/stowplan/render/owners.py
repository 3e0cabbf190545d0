"""The hosts of one output in; a refusal where two device layers would hand out the devices of one host."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plan.device_layer import Host, host_of
from stowplan.plan.model import Plan


class _Claim(NamedTuple):
    host: Host
    whose: str
    place: Location


def refuse_two_owners(plans: Sequence[Plan], listed: Sequence[Host] = ()) -> None:
    """One layer for each pool of hosts: the hosts of one kind of server at one site, of pairings or listed by the site.

    Raises:
        Refused: two layers that own one device are asked for there; it names both.
    """
    claims = [  # pairings last: their files have a place to point at
        *(_Claim(h, f"{h.name} in site {h.site_name}", Location(f"site {h.site_name}")) for h in listed),
        *(
            _Claim(host, plan.pairing.name, plan.pairing.locate("deviceLayer"))
            for plan in plans
            if (host := host_of(plan))
        ),
    ]
    problems = [problem for one, other in combinations(claims, 2) for problem in _problems(one, other)]
    if problems:
        raise Refused(problems)


def _problems(one: _Claim, other: _Claim) -> list[Diagnostic]:
    first, second, site = one.host.layer, other.host.layer, one.host.site_name
    if first.name == second.name or site != other.host.site_name:
        return []
    shared = sorted({*first.spec.owns} & {*second.spec.owns})
    greedy = [layer.name for layer in (first, second) if layer.spec.every_host]
    same = one.host.name == other.host.name
    if not shared or not (same or greedy):
        return []
    where = f"{one.host.name} of site {site}" if same else f"site {site}: {greedy[0]} serves every host there"
    message = f"{first.name} (for {one.whose}) and {second.name} (for {other.whose}) both hand out {', '.join(shared)} on {where}"
    hint = f"one owner per device: deviceLayer {first.name} or {second.name} for both, or another site"
    return [Diagnostic("P033", message, other.place, hint=hint)]
