"""A pairing in, the plan out: stacks, recipes and a layout search, then the choice and its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.pairing import Pairing
from stowplan.plan.aggregated import SERVER, LayoutSearcher
from stowplan.plan.assumptions import assumptions
from stowplan.plan.choice import rank, verdict_of
from stowplan.plan.claims import oldest_minor, runs_on
from stowplan.plan.contradictions import pin_problems, refuse_contradictions
from stowplan.plan.device_layer import choose_layer, listing_problem
from stowplan.plan.disaggregated import PairSearcher
from stowplan.plan.evaluate import Evaluator
from stowplan.plan.model import Candidate, Layer, Plan, Reason, Recipe, Stack, Verdict
from stowplan.plan.offers import offers
from stowplan.plan.stacks import stacks
from stowplan.versions import in_range


def plan(pairing: Pairing) -> Plan:
    """The plan of a pairing; where nothing fits, with changes that were tried and fit.

    Raises:
        Refused: what the pairing pins contradicts itself or the catalogue.
    """
    made = decide(pairing)
    if made.verdict != "infeasible":
        return made
    offered = tuple(offers(pairing, made, decide))
    if made.candidates and not offered:
        message = f"no change that was tried helps: more than {pairing.site.max_nodes} nodes, a shorter context, smaller batches, and every known checkpoint"
        offered = (Reason("F090", message, {"maxNodes": pairing.site.max_nodes}),)
    return replace(made, reasons=(*made.reasons, *offered))


def decide(pairing: Pairing) -> Plan:
    """The plan of a pairing; it always answers, with reasons where the answer is no.

    Raises:
        Refused: what the pairing pins contradicts itself or the catalogue.
    """
    refuse_contradictions(pairing)
    layer, kinds = _layer(pairing), pairing.use_case.variant_kinds
    if pairing.variant.kind not in kinds:
        message = f"{pairing.spec.variant} is a {pairing.variant.kind} model; {pairing.spec.use_case} takes {' or '.join(kinds)}"
        return _negative(pairing, layer, "infeasible", [Reason("F021", message, {"kind": pairing.variant.kind})])
    usable, refused, missing = _preconditions(pairing, layer)
    if layer is None or missing:
        return _negative(pairing, layer, "undocumented", missing)
    if not usable:
        return _negative(pairing, layer, "infeasible", refused)
    memory, assumption, _ = _device_memory(pairing)
    decided = _search(pairing, layer, usable, memory[0])
    if memory[1] != memory[0]:
        other = _search(pairing, layer, usable, memory[1])
        if other.verdict != decided.verdict:
            fact = Reason("F032", assumption, {"fact": f"{pairing.server.chip} memoryMib"})
            return _negative(pairing, layer, "undocumented", [fact])
    return replace(decided, assumptions=(*((assumption,) if assumption else ()), *decided.assumptions))


def missing_facts(pairing: Pairing) -> list[Reason]:
    """Facts without which no layout of the pairing can be judged."""
    return _preconditions(pairing, _layer(pairing))[2]


def _preconditions(pairing: Pairing, layer: Layer | None) -> tuple[list[Stack], list[Reason], list[Reason]]:
    """Stacks that can be searched, why others cannot run, and the facts that are missing where none can."""
    if layer is None:
        message = f"no device layer in the catalogue serves {pairing.spec.server}"
        return [], [], [Reason("F030", message, {"fact": f"device layer of {pairing.spec.server}"})]
    usable, refused, unknown = stacks(pairing)
    if pairing.mode == "disaggregated" and usable:
        usable, unknown = _that_transfer(pairing, usable)
    _, _, memory = _device_memory(pairing)
    if memory:
        return [], refused, [memory, *unknown]
    return usable, refused, [] if usable else unknown


def _that_transfer(pairing: Pairing, usable: list[Stack]) -> tuple[list[Stack], list[Reason]]:
    """Stacks whose engine is documented to hand caches from prefill to decode here, and the fact that is missing."""
    found = [stack for stack in usable if stack.transfer]
    engines = dict.fromkeys(f"{stack.engine_name} {stack.version.version}" for stack in usable)
    message = (
        f"nothing documents how {' or '.join(engines)} hands caches from prefill to decode on {pairing.server.chip}"
    )
    fact = f"transfer of caches on {' or '.join(pairing.chip.families)}"
    return found, [] if found else [Reason("F036", message, {"fact": fact})]


def _layer(pairing: Pairing) -> Layer | None:
    server, layers = pairing.spec.server, pairing.catalog.device_layers
    pinned = pairing.spec.device_layer or _listed_layer(pairing)
    if pinned and server not in layers[pinned].servers:
        known = ", ".join(layers[pinned].servers)
        raise Refused(
            [
                Diagnostic(
                    "P024",
                    f"the device layer {pinned} does not serve {server}",
                    pairing.locate("deviceLayer"),
                    hint=f"it serves: {known}",
                )
            ]
        )
    minor = pairing.site.kubernetes
    if pinned and not runs_on(layers[pinned], minor):
        message = f"the device layer {pinned} does not run on Kubernetes {minor}, as site {pairing.spec.site} says"
        hint = f"it needs {oldest_minor(layers[pinned])} or newer"
        raise Refused([Diagnostic("P026", message, pairing.locate("deviceLayer"), hint=hint)])
    return choose_layer(pairing.catalog, pairing.site, server, pinned)


def _listed_layer(pairing: Pairing) -> str | None:
    """The layer that the site names for the server, which a pairing takes where it names none."""
    listed = pairing.site.servers.get(pairing.spec.server)
    if listed is None or listed.device_layer is None:
        return None
    problem = listing_problem(pairing.catalog, pairing.site, pairing.spec.server)
    if problem:
        place = Location(str(pairing.catalog.sites.files[pairing.spec.site]))
        raise Refused([Diagnostic("P026", problem[0], place, hint=problem[1])])
    return listed.device_layer


def _device_memory(pairing: Pairing) -> tuple[tuple[int, int], str, Reason | None]:
    """MiB to plan with (low, high), the assumption it is, and the fact that is missing."""
    chip, fact = pairing.server.chip, pairing.chip.memory_mib
    if chip in pairing.site.device_memory:
        mib = pairing.site.device_memory[chip]
        return (mib, mib), f"{chip}: {mib:,} MiB, as site {pairing.spec.site} says", None
    if fact.value is not None:
        return (fact.value, fact.value), "", None
    if fact.bounds is None:
        message = f"the memory of {chip} is unknown; {fact.settled_by}"
        return (0, 0), "", Reason("F032", message, {"fact": f"{chip} memoryMib", "settledBy": fact.settled_by})
    low, high = int(fact.bounds.low), int(fact.bounds.high)
    message = f"the memory of {chip} is unknown, between {low:,} and {high:,} MiB; {fact.settled_by}, or set deviceMemoryMib in the site"
    return (low, high), message, None


def _negative(pairing: Pairing, layer: Layer | None, verdict: Verdict, reasons: list[Reason]) -> Plan:
    return Plan(pairing, verdict, None, layer, tuple({r.message: r for r in reasons}.values()), (), ())


_SEARCHERS: dict[str, type[LayoutSearcher | PairSearcher]] = {
    "aggregated": LayoutSearcher,
    "disaggregated": PairSearcher,
}


def _search(pairing: Pairing, layer: Layer, usable: list[Stack], device_mib: int) -> Plan:
    wrong = [list(pin_problems(pairing, stack)) for stack in usable]
    if all(wrong):
        return _negative(pairing, layer, "infeasible", wrong[0])
    usable = [stack for stack, problems in zip(usable, wrong, strict=True) if not problems]
    searcher = _SEARCHERS[pairing.mode]
    searchers = [searcher(Evaluator(pairing, stack, layer, device_mib), _recipes(pairing, stack)) for stack in usable]
    considered: list[Candidate] = []
    nodes = [pairing.spec.nodes] if pairing.spec.nodes else _node_counts(pairing)
    for count in nodes:
        considered += [c for searcher in searchers for c in searcher.on(count)]
        if any(c.feasible for c in considered):
            break
    feasible = sorted((c for c in considered if c.feasible), key=lambda c: rank(c, pairing, usable))
    if not feasible:
        return _infeasible(pairing, layer, considered, usable)
    chosen = feasible[0]
    return Plan(
        pairing,
        verdict_of(chosen, pairing),
        chosen,
        layer,
        (),
        tuple(assumptions(chosen, layer, pairing, considered)),
        tuple(_sources(chosen)),
        tuple(feasible + [c for c in considered if not c.feasible]),
    )


def _node_counts(pairing: Pairing) -> list[int]:
    pinned, host = pairing.layout(SERVER), pairing.server.devices.value or 1
    if pinned and pairing.mode == "aggregated":
        return [max(-(-pinned.devices // host), 1)]
    return list(range(1, pairing.site.max_nodes + 1))


def _recipes(pairing: Pairing, stack: Stack) -> tuple[Recipe, ...]:
    def fits(recipe: Recipe) -> bool:
        spec = recipe[1]
        on_it = pairing.spec.server in spec.servers or pairing.server.chip in spec.chips
        same = (
            spec.variant == pairing.spec.variant
            and spec.engine == stack.engine_name
            and spec.checkpoint == stack.checkpoint.id
            and in_range(stack.version.version, spec.versions)
        )
        return (
            on_it
            and same
            and spec.mode == pairing.mode
            and (not spec.use_cases or pairing.spec.use_case in spec.use_cases)
        )

    return tuple(r for r in pairing.catalog.recipes.items() if fits(r))


def replicas(plan_: Plan) -> int:
    """Replicas that are asked for, or that `atLeast` takes by the low end of the estimate."""
    spec, chosen = plan_.pairing.spec, plan_.chosen
    if spec.at_least is None or chosen is None or chosen.estimate is None:
        return spec.replicas
    return ceil(spec.at_least / (chosen.estimate.output_tokens_per_second_per_device[0] * chosen.devices))


def _sources(chosen: Candidate) -> Iterator[str]:
    if chosen.recipe:
        yield from chosen.recipe[1].sources
    yield chosen.stack.version.source
    yield chosen.stack.checkpoint.source


def _unplaced(pairing: Pairing) -> Reason:
    """Why there is no candidate at all: nothing that is legal, or pinned, fills any count of hosts."""
    pinned = {role: at for role in pairing.roles if (at := pairing.layout(role))}
    what = " and ".join(f"{role} of {at.devices} devices" for role, at in pinned.items()) or "no legal layout"
    nodes, host = pairing.spec.nodes, pairing.server.devices.value or 1
    hosts = f"{nodes} node(s)" if nodes else f"1 to {pairing.site.max_nodes} nodes"
    fills = "cannot fill" if pinned else "fills"
    message = f"{what} {fills} {hosts} of {host} devices"
    if len(pairing.roles) > 1:
        message += ": each role takes whole nodes, or equal parts of them, and on one node both share its devices"
    return Reason("F013", message, {"nodes": nodes or pairing.site.max_nodes, "devicesPerNode": host})


def _infeasible(pairing: Pairing, layer: Layer, considered: list[Candidate], usable: list[Stack]) -> Plan:
    """Reasons of each engine's candidate that came nearest."""
    if not considered:
        return _negative(pairing, layer, "infeasible", [_unplaced(pairing)])
    nearest: dict[str, Candidate] = {}
    for candidate in sorted(considered, key=lambda c: (len(c.reasons), c.shortfall)):
        nearest.setdefault(candidate.stack.engine_name, candidate)
    several = len(nearest) > 1
    reasons = {
        r.message: replace(r, message=f"{engine}: {r.message}") if several else r
        for engine in sorted(nearest, key=[stack.engine_name for stack in usable].index)
        for r in nearest[engine].reasons
    }
    return Plan(pairing, "infeasible", None, layer, tuple(reasons.values()), (), (), tuple(considered))
