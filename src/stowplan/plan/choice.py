"""Which of the feasible candidates is chosen, and what each other one loses by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stowplan.pairing import Pairing
from stowplan.plan.cost import device_hour
from stowplan.plan.model import Candidate, Recipe, Stack, Verdict


def documents(recipe: Recipe | None, pairing: Pairing) -> bool:
    """Whether a recipe is for this very server: what follows it stands until the estimate's whole band refutes it."""
    return recipe is not None and pairing.spec.server in recipe[1].servers


def verdict_of(candidate: Candidate, pairing: Pairing) -> Verdict:
    """What a candidate would be as the plan: a pin over what its recipe or rules give leaves it derived."""
    if not candidate.feasible:
        return "infeasible"
    return "documented" if documents(candidate.recipe, pairing) and not candidate.replaced else "derived"


def rank(candidate: Candidate, pairing: Pairing, usable: Sequence[Stack]) -> tuple[object, ...]:
    """How candidates are ordered.

    Meets the objective; the pairing's criterion; documented; the preferred stack; follows a recipe; misses least;
    fewest devices; most headroom.
    """
    return (
        not candidate.meets,
        _criterion(candidate, pairing),
        not documents(candidate.recipe, pairing),
        usable.index(candidate.stack),
        candidate.recipe is None,
        len(candidate.misses),
        candidate.miss_ratio,
        candidate.devices,
        -candidate.headroom,
        sum(role.placement.layout.dp for role in candidate.roles),
        -sum(role.placement.layout.ep for role in candidate.roles),
    )


def _criterion(candidate: Candidate, pairing: Pairing) -> float:
    """What `objective` asks to be least; one server has one price, so that cost follows throughput."""
    objective, bands = pairing.spec.objective, candidate.estimate
    if objective == "devices":
        return candidate.devices
    if objective is None or bands is None:
        return 0.0
    return bands.tpot_ms[1] if objective == "latency" else -bands.output_tokens_per_second_per_device[1]


def _criterion_text(candidate: Candidate, pairing: Pairing) -> str:
    value = abs(_criterion(candidate, pairing))
    price = device_hour(pairing) if pairing.spec.objective == "cost" else None
    if price is not None and value:
        return f"{price / 3600 / value * 1e6:,.2f} {pairing.site.currency} per million output tokens".replace("  ", " ")
    units = {"devices": "devices", "latency": "ms TPOT"}
    return f"{value:,.1f} {units.get(pairing.spec.objective or '', 'tok/s per device')}"


def loses_by(candidate: Candidate, chosen: Candidate, pairing: Pairing) -> str:
    """What a candidate loses to the chosen one by, in the order in which layouts are ranked."""
    return next(_losses(candidate, chosen, pairing))


def _losses(candidate: Candidate, chosen: Candidate, pairing: Pairing) -> Iterator[str]:
    missed = "; ".join(candidate.misses)
    if candidate.reasons:
        yield candidate.reasons[0].message
    if chosen.meets and not candidate.meets:
        yield missed
    if _criterion(candidate, pairing) > _criterion(chosen, pairing):
        yield f"objective {pairing.spec.objective}: {_criterion_text(candidate, pairing)} against {_criterion_text(chosen, pairing)}"
    if candidate.stack != chosen.stack:
        yield f"checkpoint {candidate.stack.checkpoint.id} with {candidate.stack.engine_name} is preferred less"
    if chosen.recipe and not candidate.recipe:
        yield f"the chosen layout follows {chosen.recipe[0]}"
    if candidate.misses and candidate.miss_ratio != chosen.miss_ratio:
        yield f"{missed}; the chosen one misses less"
    if candidate.devices != chosen.devices:
        yield f"{candidate.devices} devices against {chosen.devices}"
    if candidate.headroom != chosen.headroom:
        yield f"headroom {candidate.headroom:.1f} against {chosen.headroom:.1f}"
    yield "equal; fewer data-parallel ranks and expert parallel on go first"
