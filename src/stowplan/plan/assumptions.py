"""The chosen candidate in; what its plan takes for granted, in sentences, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stowplan.pairing import Pairing
from stowplan.plan.choice import documents
from stowplan.plan.cost import device_hour
from stowplan.plan.evaluate import Evaluator
from stowplan.plan.formats import degraded_formats
from stowplan.plan.model import Candidate, Layer
from stowplan.plan.speed import links
from stowplan.plan.stacks import known_bad
from stowplan.versions import in_range


def assumptions(chosen: Candidate, layer: Layer, pairing: Pairing, considered: Sequence[Candidate]) -> Iterator[str]:
    """One sentence for each thing that nobody showed, tested or said."""
    yield from chosen.stack.notes
    evaluator = Evaluator(pairing, chosen.stack, layer, 0)
    degraded = (
        known.message
        for role in chosen.roles
        for known in known_bad(
            chosen.stack.engine_name, chosen.stack.engine, evaluator.of(role.name).context(role.placement), "degrades"
        )
    )
    yield from dict.fromkeys(degraded)
    formats = (
        sentence
        for role in chosen.roles
        for sentence in degraded_formats(
            pairing, chosen.stack, evaluator.of(role.name).context(role.placement), role.settings
        )
    )
    yield from dict.fromkeys(formats)
    yield from chosen.replaced.values()
    yield from _untested(layer, pairing.site.kubernetes)
    if chosen.recipe and not documents(chosen.recipe, pairing):
        yield f"follows {chosen.recipe[0]}, which was shown on the same chip in another server; the mapping to {pairing.spec.server} is ours"
    if chosen.misses:
        yield f"does not meet the objective of {pairing.spec.use_case}: {'; '.join(chosen.misses)}"
        if pairing.spec.nodes is None and chosen.nodes < pairing.site.max_nodes:
            most = max(c.nodes for c in considered)
            yield f"the search stops at the fewest hosts that carry the model ({most}); pin nodes to plan with more"
    if chosen.estimate is None:
        yield f"no estimate: the catalogue lacks a rate of {pairing.server.chip}"
    else:
        yield from _uncounted(chosen, pairing)
    yield from _unsized(chosen, pairing)
    bounds = (role.fit.method.reason for role in chosen.roles if role.fit.method.confidence == "estimate")
    for bound in dict.fromkeys(bounds):
        yield f"cache capacity is a bound ({bound})"
    if chosen.stack.checkpoint.revision is None and chosen.stack.checkpoint.id not in pairing.site.weights.revisions:
        yield f"the revision of {chosen.stack.checkpoint.id} is not pinned; set weights.revisions in the site"


def _uncounted(chosen: Candidate, pairing: Pairing) -> Iterator[str]:
    """Links whose rate is unknown, where a group of the layout uses them: the estimate takes them as free."""
    joined = links(pairing.server, pairing.chip)
    group = max(max(role.placement.layout.tp, role.placement.layout.ep) for role in chosen.roles)
    if joined.scale_up is None and min(group, joined.domain) > 1:
        yield f"the estimate counts nothing for what the devices of a group send each other: the link rate of {pairing.server.chip} is unknown"
    if joined.scale_out is None and group > joined.domain:
        yield (
            f"the estimate counts nothing for what a group of {group} devices sends out of its scale-up domain of "
            f"{joined.domain}: the network rate of {pairing.spec.server} is unknown"
        )


def _unsized(chosen: Candidate, pairing: Pairing) -> Iterator[str]:
    """What was asked for and cannot be weighed."""
    spec = pairing.spec
    if spec.objective == "cost" and device_hour(pairing) is None:
        yield f"site {spec.site} gives no price of {spec.server}: cost is compared by the tokens that a device gives"
    if spec.at_least is not None and chosen.estimate is None:
        yield f"without an estimate atLeast sizes nothing: {spec.replicas} replica(s), as pinned"


def _untested(layer: Layer, minor: str) -> Iterator[str]:
    """Components of the layer whose vendor tests no Kubernetes as new as the site's."""
    newest: dict[str, list[str]] = {}
    for name, component in layer.spec.components.items():
        tested = component.kubernetes_tested_max
        if tested and not in_range(minor, f"<={tested}"):
            newest.setdefault(tested, []).append(f"{name} {component.version}")
    for tested, names in newest.items():
        yield f"Kubernetes {minor} is newer than {tested}, the newest that is tested with {', '.join(names)}"
