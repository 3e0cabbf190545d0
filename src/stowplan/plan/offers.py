"""A pairing that does not fit in; the smallest changes that make it fit, each planned before it is offered, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from stowplan.diagnostics import Refused
from stowplan.pairing import Pairing
from stowplan.plan.model import Candidate, Plan, Reason

_PINS = ("engine", "checkpoint", "layout", "mode")
_BATCHES = (4096, 2048, 1024)
_MORE_HOSTS = 2
"""How many times the site's hosts are tried."""
_STEP = 256
"""Tokens by which a shorter context is offered."""
_MEMORY = {"F001", "F002"}
"""Reasons that more memory takes away."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the pairing's spec, in its own keys, or of the site's `maxNodes`."""

    code: str
    spec: dict[str, Any]
    max_nodes: int | None = None

    def applied(self, pairing: Pairing) -> Pairing:
        """The pairing with this change."""
        site = pairing.site.model_copy(update={"max_nodes": self.max_nodes}) if self.max_nodes else pairing.site
        return replace(pairing, spec=pairing.spec.model_copy(update=self.spec), site=site)

    def words(self, pairing: Pairing, chosen: Candidate) -> str:
        """What to do, and what it gives."""
        if self.max_nodes:
            what = (
                f"{chosen.nodes} nodes would fit; site {pairing.spec.site} allows {pairing.site.max_nodes} (maxNodes)"
            )
        elif "nodes" in self.spec:
            what = f"{chosen.nodes} nodes would fit"
        elif made := pairing.variant.checkpoint(self.spec.get("checkpoint") or ""):
            what = f"pin checkpoint {made.id}, which {made.converted} makes by policy {made.policy}, and it fits"
        elif "set" in self.spec and (
            added := {k: v for k, v in self.spec["set"].items() if pairing.spec.set.get(k) != v}
        ):
            what = f"{', '.join(f'{key}: {value:,}' for key, value in added.items())} would fit"
        else:
            what = f"without the pin of {', '.join(self._dropped(pairing))} it fits"
        return f"{what}: {_told(chosen)}"

    def numbers(self, chosen: Candidate) -> dict[str, Any]:
        """The change itself, to be applied by a program, and what it gives."""
        hosts = {"nodes": chosen.nodes} if "nodes" in self.spec else {}
        site = {"maxNodes": chosen.nodes} if self.max_nodes else {}
        change = {**self.spec, **hosts, **site}
        return {"change": change, "nodes": chosen.nodes, "checkpoint": chosen.stack.checkpoint.id}

    def _dropped(self, pairing: Pairing) -> list[str]:
        if "set" in self.spec:
            return [key for key in pairing.spec.set if key not in self.spec["set"]]
        return [name for name, value in self.spec.items() if value is None]


_Fitting = Callable[[Change], Candidate | None]
_Found = tuple[Change, Candidate] | None


def offers(pairing: Pairing, refused: Plan, decide: Callable[[Pairing], Plan]) -> Iterator[Reason]:
    """For each kind of change the smallest that was tried and fits."""

    def fitting(change: Change) -> Candidate | None:
        try:
            return decide(change.applied(pairing)).chosen
        except Refused:  # what is left contradicts itself
            return None

    tried = (
        _first(_pins(pairing), fitting),
        _first(_conversions(pairing, refused), fitting),
        _first(_hosts(pairing, refused), fitting),
        _first(_contexts(pairing, refused), fitting),
        _first(_batches(pairing, refused), fitting),
    )
    for change, chosen in (found for found in tried if found):
        yield Reason(change.code, change.words(pairing, chosen), change.numbers(chosen))


def _first(changes: Iterable[Change], fitting: _Fitting) -> _Found:
    return next(((change, chosen) for change in changes if (chosen := fitting(change))), None)


def _told(chosen: Candidate) -> str:
    layouts = [(role.name, role.placement.layout) for role in chosen.roles]
    shown = "; ".join(f"{name} tp={at.tp},dp={at.dp},ep={at.ep},pp={at.pp}" for name, at in layouts)
    return f"{chosen.stack.checkpoint.id} with {chosen.stack.engine_name} {chosen.stack.version.version} on {chosen.nodes} node(s), {shown}"


def _pins(pairing: Pairing) -> Iterator[Change]:
    """Each pin alone taken back."""
    spec = pairing.spec
    for key in spec.set:
        yield Change("F093", {"set": {k: v for k, v in spec.set.items() if k != key}})
    for name in _PINS:
        if getattr(spec, name) is not None:
            yield Change("F093", {name: None, **_same_mode(pairing, name)})


def _conversions(pairing: Pairing, refused: Plan) -> Iterator[Change]:
    """Checkpoints for this chip that a quantizer makes and nobody has published, where no published one runs."""
    if pairing.spec.checkpoint or refused.candidates:
        return
    for checkpoint in pairing.variant.checkpoints:
        if checkpoint.only_pinned and checkpoint.converted and {*checkpoint.families} & {*pairing.chip.families}:
            yield Change("F096", {"checkpoint": checkpoint.id})


def _same_mode(pairing: Pairing, name: str) -> dict[str, Any]:
    """The mode, where nothing but the pinned layout's roles says it."""
    return {"mode": pairing.mode} if name == "layout" and pairing.spec.mode is None and len(pairing.roles) > 1 else {}


def _memory_alone(refused: Plan) -> list[Candidate]:
    """Candidates that nothing but memory forbids."""
    return [c for c in refused.candidates if {reason.code for reason in c.reasons} <= _MEMORY]


def _hosts(pairing: Pairing, refused: Plan) -> Iterator[Change]:
    """The search for the fewest hosts, within the site's limit and beyond it."""
    alone = _memory_alone(refused)
    if pairing.spec.nodes and (alone or not refused.candidates):
        yield Change("F091", {"nodes": None})
    if alone:
        yield Change("F095", {"nodes": None}, max_nodes=_MORE_HOSTS * pairing.site.max_nodes)


def _contexts(pairing: Pairing, refused: Plan) -> Iterator[Change]:
    """The longest context that the nearest candidates' memory carries."""
    found: dict[str, int] = {}
    for candidate in _memory_alone(refused):
        flag = candidate.stack.engine.fields["maxModelLen"].flag
        longest = min(role.fit.longest_context(role.fit.tuning.max_model_len) for role in candidate.roles)
        found[flag] = max(found.get(flag, 0), longest // _STEP * _STEP)
    for flag, longest in found.items():
        if longest:
            yield Change("F092", {"set": {**pairing.spec.set, f"flags.{flag}": longest}})


def _batches(pairing: Pairing, refused: Plan) -> Iterator[Change]:
    """Smaller prefill steps, where what their activations take is as much as what is missing."""
    flags = {
        candidate.stack.engine.fields["maxNumBatchedTokens"].flag
        for candidate in _memory_alone(refused)
        if all(role.fit.shortfall <= role.fit.activations for role in candidate.roles)
    }
    for size in _BATCHES:
        for flag in sorted(flags):
            yield Change("F094", {"set": {**pairing.spec.set, f"flags.{flag}": size}})
