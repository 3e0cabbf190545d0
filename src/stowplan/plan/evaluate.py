"""One stack under one layout: settings, ledger, capacity, estimate, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any

from stowplan.estimate import Estimate, Load, estimate, load_of
from stowplan.estimate.roofline import Links, Station
from stowplan.estimate.work import Work
from stowplan.fit.ledger import Fit, Fitter, Tuning
from stowplan.fit.units import GIB, MIB
from stowplan.pairing import Pairing
from stowplan.plan.choice import documents
from stowplan.plan.flags import broken_rules, unknown_flags, unknown_variables
from stowplan.plan.formats import broken_formats
from stowplan.plan.layouts import Placement, violations
from stowplan.plan.model import Candidate, Layer, Reason, Recipe, Role, Stack
from stowplan.plan.objectives import miss_ratio, missed
from stowplan.plan.settings import Origin, Settings, apply_rules, in_order, pin_path, put_set
from stowplan.plan.speed import links, station, work
from stowplan.plan.stacks import known_bad, stack_context
from stowplan.profiles.engine import Efficiency
from stowplan.profiles.recipe import Layout
from stowplan.profiles.rule import Context, LayoutRule, Rule, StackContext, may_hold, most_special

_ROUND_TO = 256
_LEAST_SEQS = 16


@dataclass(frozen=True)
class Evaluator:
    """What does not change between the layouts of one stack."""

    pairing: Pairing
    stack: Stack
    layer: Layer
    device_mib: int
    role: str = "server"
    _others: dict[str, Evaluator] = field(default_factory=dict, repr=False, compare=False)

    def of(self, role: str) -> Evaluator:
        """The same for another role."""
        if role not in self._others:
            self._others[role] = replace(self, role=role, _others=self._others)
        return self._others[role]

    @cached_property
    def fitter(self) -> Fitter:
        """The ledger's constant part."""
        return Fitter(
            architecture=self.pairing.architecture,
            checkpoint=self.stack.checkpoint,
            memory=self.stack.engine.memory,
            device_bytes=self.device_mib * MIB,
            memory_per_device_gib=self.stack.engine.container.memory_per_device.value or 0,
            draft=self.stack.draft,
            unified_memory=self.pairing.chip.unified_memory,
        )

    @cached_property
    def rules(self) -> list[Rule]:
        """Rules that hold in some layout, in the order in which they are laid on."""
        return in_order(rule for rule in self.stack.engine.rules if may_hold(rule.when, self.stack_context))

    @cached_property
    def layout_rules(self) -> list[LayoutRule]:
        """Limits that hold in some layout."""
        return [rule for rule in self.stack.engine.layout_rules if may_hold(rule.when, self.stack_context)]

    @cached_property
    def work(self) -> Work:
        """What a token costs."""
        return work(self.stack, self.pairing.architecture, self.pairing.chip)

    @cached_property
    def links(self) -> Links:
        """How the server's devices are joined."""
        return links(self.pairing.server, self.pairing.chip)

    @property
    def required_context(self) -> int:
        """Tokens of the longest request of the use case, input and output."""
        use_case = self.pairing.use_case
        longest = use_case.input_tokens.p99 + use_case.output_tokens.p99
        wanted = ceil(longest / _ROUND_TO) * _ROUND_TO
        limit = min(use_case.context_limit or wanted, self.pairing.variant.max_context.value or wanted)
        return min(wanted, limit)

    @property
    def median_request(self) -> int:
        """Tokens of the median request, input and output."""
        use_case = self.pairing.use_case
        median = use_case.input_tokens.p50 + use_case.output_tokens.p50
        return min(median, use_case.context_limit or median)

    @cached_property
    def stack_context(self) -> StackContext:
        """What conditions are asked of, apart from the layout."""
        stack = self.stack
        return stack_context(self.pairing, stack.checkpoint, stack.version, stack.draft)

    @cached_property
    def _known(self) -> dict[str, Any]:
        return asdict(self.stack_context)

    def context(self, placement: Placement) -> Context:
        """What conditions are asked of."""
        layout = placement.layout
        return Context(
            **self._known,
            role=self.role,
            tp=layout.tp,
            dp=layout.dp,
            ep=layout.ep,
            nodes=placement.nodes,
        )

    def legal(self, placement: Placement) -> bool:
        """Whether no unconditional layout rule forbids it: what is not legal is not searched."""
        rules = [rule for rule in self.layout_rules if not rule.unless]
        context, pairing = self.context(placement), self.pairing
        return not any(violations(rules, context, placement, pairing.architecture, pairing.server, {}))

    def settings(self, context: Context, placement: Placement, recipe: Recipe | None) -> Settings:
        """Rules, then recipe, then what the plan fills in, then the pairing's own pins."""
        settings = apply_rules(self.rules, context, self.stack.engine_name)
        if recipe:
            title, spec = recipe
            put_set(settings, spec.roles[self.role].set, Origin("recipe", title, spec.title, spec.sources[0]))
        self._fill(settings, placement)
        self.pin(settings)
        return settings

    def pin(self, settings: Settings) -> None:
        """Lay the pairing's own pins over all."""
        for key, value in self.pairing.pins(self.role):
            settings.pin(pin_path(key), value, Origin("pairing", self.pairing.name, "pinned", "the pairing's set"))

    def _fill(self, settings: Settings, placement: Placement) -> None:
        layout = placement.layout
        values: dict[str, tuple[Any, str]] = {
            "tp": (layout.tp, "layout"),
            "dp": (layout.dp, "layout"),
            "pp": (layout.pp, "layout"),
            "ep": (layout.ep, "layout"),
            "devices": (layout.tp * layout.dp, "layout"),
            "dpAttention": (layout.dp > 1, "layout"),
            "expertParallel": (layout.ep > 1, "layout"),
            "port": self._port(),
            "servedModelName": (self.pairing.spec.variant, "clients ask for the variant by its name"),
        }
        fields = self.stack.engine.fields
        if settings.get("flags", fields["maxModelLen"].flag) is None:
            reason = f"the longest request of use case {self.pairing.spec.use_case}, input and output at p99"
            values["maxModelLen"] = (self.required_context, reason)
        if settings.get("flags", fields["maxNumSeqs"].flag) is None:
            reason = (
                f"twice the concurrency of use case {self.pairing.spec.use_case}, spread over the data-parallel ranks"
            )
            each = max(_LEAST_SEQS, ceil(2 * self.pairing.use_case.load.concurrency / layout.dp))
            values["maxNumSeqs"] = (each * self._ranks("maxNumSeqs", layout), reason)
        for name, (value, reason) in values.items():
            if name in fields and value != fields[name].omit_when:
                settings.put(("flags", fields[name].flag), value, Origin("plan", name, reason, "this plan"))

    def _port(self) -> tuple[int, str]:
        """The one on which the platform looks for engines, else the engine's usual one."""
        if port := self.pairing.platform.port:
            return port, f"platform {self.pairing.platform_name} looks for engines there"
        return self.stack.engine.endpoint.port, "the engine's endpoint"

    def _ranks(self, field: str, layout: Layout) -> int:
        """Ranks over which the engine spreads a limit that is given for the whole group."""
        return layout.dp if self.stack.engine.fields[field].over_group else 1

    def tuning(self, settings: Settings, layout: Layout) -> Tuning:
        """The settings that move memory, for one data-parallel rank."""
        fields = self.stack.engine.fields

        def limit(name: str) -> int:
            return max(int(settings.get("flags", fields[name].flag)) // self._ranks(name, layout), 1)

        return Tuning(
            utilization=float(settings.get("flags", self.stack.engine.memory.utilization_flag)),
            max_model_len=int(settings.get("flags", fields["maxModelLen"].flag)),
            max_num_batched_tokens=limit("maxNumBatchedTokens"),
            max_num_seqs=limit("maxNumSeqs"),
            env=settings.env,
            flags=settings.flags,
        )

    def evaluate(self, placement: Placement, recipe: Recipe | None = None) -> Candidate:
        """The whole verdict on one layout of the only role."""
        role = self.place(placement, recipe)
        carried = role.carried(self.pairing.use_case.mean_request)
        bands = None
        if not role.reasons:
            bands = estimate(self.station(role), self.load(carried), self.efficiency(role))
        return self.judge((role,), placement.nodes, recipe, bands, carried)

    def place(self, placement: Placement, recipe: Recipe | None = None) -> Role:
        """The role under one layout, before its speed is estimated."""
        context = self.context(placement)
        settings = self.settings(context, placement, recipe)
        tuning = self.tuning(settings, placement.layout)
        fit = self.fitter.fit(context, placement.layout, placement.devices_per_node, tuning)
        reasons = self._reasons(context, placement, settings, fit)
        if len(self.pairing.roles) > 1:
            reasons = (replace(reason, message=f"{self.role}: {reason.message}") for reason in reasons)
        return Role(self.role, placement, settings, fit, tuple(reasons))

    def judge(
        self, roles: tuple[Role, ...], nodes: int, recipe: Recipe | None, bands: Estimate | None, carried: float
    ) -> Candidate:
        """The candidate that these roles are, held against the use case; `carried` is requests in flight."""
        use_case, wanted = self.pairing.use_case, self.pairing.use_case.load.concurrency
        served = min(role.fit.tuning.max_model_len for role in roles)
        misses = tuple(missed(use_case, bands, carried, served, self.required_context))
        refuted = (
            carried < wanted or served < self.required_context or (bands is not None and not bands.may_meet(use_case))
        )
        forbidden = any(role.reasons for role in roles)
        meets = not forbidden and not (refuted if documents(recipe, self.pairing) else misses)
        return Candidate(
            self.stack, roles, nodes, bands, recipe, meets, misses, miss_ratio(use_case, bands), carried / wanted
        )

    def _reasons(self, context: Context, placement: Placement, settings: Settings, fit: Fit) -> Iterator[Reason]:
        engine, pairing = self.stack.engine, self.pairing
        yield from known_bad(self.stack.engine_name, engine, context)
        counts = self.layer.server.pod_counts
        allowed = counts.distributed if placement.nodes > 1 and counts.distributed else counts.single
        if placement.devices_per_node not in allowed:
            message = f"{placement.devices_per_node} devices in one pod are not allowed by {self.layer.name} on {pairing.spec.server}; allowed: {', '.join(str(n) for n in allowed)} ({counts.source})"
            yield Reason("F011", message, {"devices": placement.devices_per_node, "allowed": list(allowed)})
        if placement.nodes > 1 and self.layer.server.one_host:
            message = f"{self.layer.name} serves {pairing.spec.server} one host at a time: {self.layer.server.one_host}"
            yield Reason("F012", message, {"nodes": placement.nodes})
        for broken in violations(
            self.layout_rules, context, placement, pairing.architecture, pairing.server, settings.flags
        ):
            yield Reason(
                "F010", f"{broken.message}: {broken.rule.reason} ({broken.rule.source})", {"rule": broken.rule.id}
            )
        yield from unknown_flags(pairing, self.stack, settings.flags)
        yield from unknown_variables(self.stack, settings.env)
        yield from broken_rules(self.stack, context, settings)
        yield from broken_formats(pairing, self.stack, context, settings, fit.kv_format)
        needed, served = self.median_request, fit.tuning.max_model_len
        if served < needed:
            message = (
                f"serves {served:,} tokens; half of the requests of {pairing.spec.use_case} need more than {needed:,}"
            )
            yield Reason("F002", message, {"maxModelLen": served, "medianRequest": needed})
        if fit.shortfall:
            yield _short(fit, pairing.server.unit.device)

    def load(self, carried: float) -> Load:
        """The use case with as many requests in flight as are carried."""
        return load_of(self.pairing.use_case, min(self.pairing.use_case.load.concurrency, int(carried)))

    def efficiency(self, role: Role) -> Efficiency:
        """Shares of the peak that the engine reaches with this role."""
        return most_special(self.stack.engine.efficiency, self.context(role.placement))

    def station(self, role: Role) -> Station:
        """One instance of the role, as the estimate takes it."""
        chunk = role.fit.tuning.max_num_batched_tokens
        return station(self.stack, role.settings, role.placement.layout, self.work, self.links, role.fit.cache, chunk)


def _short(fit: Fit, device: str) -> Reason:
    """The shortfall of a device, in numbers that a reader can add up."""
    weights_gib, device_gib = fit.weights_total / GIB, fit.device_bytes / GIB
    need, have = fit.capacity.needed / GIB, fit.capacity.available / GIB
    left = f"{have:.1f} GiB are left for the cache" if have >= 0 else f"which with the rest is {-have:.1f} GiB too much"
    message = (
        f"short by {fit.shortfall / GIB:.1f} GiB per {device}: of {device_gib:.1f} GiB the weights take {weights_gib:.1f}, "
        f"{left}, and one request of {fit.tuning.max_model_len:,} tokens needs {need:.1f}"
    )
    if fit.lacking:
        message = _crowded(fit, device)
    numbers = {
        "shortfallBytes": fit.shortfall,
        "shortfallGib": round(fit.shortfall / GIB, 2),
        "weightsBytes": fit.weights_total,
        "deviceBytes": fit.device_bytes,
        "cacheNeededBytes": fit.capacity.needed,
        "cacheAvailableBytes": fit.capacity.available,
    }
    return Reason("F001", message, numbers)


def _crowded(fit: Fit, device: str) -> str:
    """Where the engine sizes its cache first: what its memory fraction leaves is too little for a step."""
    inside, left = fit.in_reserve / GIB, (fit.in_reserve - fit.lacking) / GIB
    what = "graphs" if fit.in_reserve == fit.graphs else "activations and graphs"
    return (
        f"short by {fit.shortfall / GIB:.1f} GiB per {device}: {what} need {inside:.1f} GiB, and the "
        f"memory fraction of {fit.tuning.utilization:g} leaves them {left:.1f}; the cache has {fit.capacity.available / GIB:.1f} GiB, and one "
        f"request of {fit.tuning.max_model_len:,} tokens needs {fit.capacity.needed / GIB:.1f}"
    )
