"""Which layouts are legal: enumeration, and the methods that a profile's layout rules select."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stowplan.profiles.hardware import ServerSpec
from stowplan.profiles.recipe import Layout
from stowplan.profiles.rule import Context, LayoutRule, holds
from stowplan.profiles.variant import Architecture


@dataclass(frozen=True, slots=True)
class Placement:
    """A layout on some hosts."""

    layout: Layout
    nodes: int
    devices_per_node: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A layout rule that does not hold."""

    rule: LayoutRule
    message: str


def placements(nodes: int, devices_per_node: int) -> Iterator[Placement]:
    """Every split of the devices into tensor and data parallel, with expert parallel off and on; stages go by hosts."""
    total = nodes * devices_per_node
    for pp in (stages for stages in range(1, nodes + 1) if nodes % stages == 0):
        stage = total // pp
        for tp in (size for size in range(1, stage + 1) if stage % size == 0):
            for ep in sorted({1, stage}):
                yield Placement(Layout(tp=tp, dp=stage // tp, ep=ep, pp=pp), nodes, devices_per_node)


def violations(
    rules: Sequence[LayoutRule],
    context: Context,
    placement: Placement,
    architecture: Architecture,
    server: ServerSpec,
    flags: Mapping[str, Any],
) -> Iterator[Violation]:
    """The layout rules of an engine that a placement breaks."""
    for rule in rules:
        if not holds(rule.when, context) or (rule.unless and _contains(flags, rule.unless)):
            continue
        message = _METHODS[rule.method](rule, placement, architecture.numbers, server)
        if message:
            yield Violation(rule, message)


def _contains(actual: object, wanted: object) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(actual, Mapping) and all(_contains(actual.get(k), v) for k, v in wanted.items())
    return actual == wanted


_Method = Callable[[LayoutRule, Placement, Mapping[str, int], ServerSpec], str]


def _tp_divides(_rule: LayoutRule, at: Placement, numbers: Mapping[str, int], _server: ServerSpec) -> str:
    for name in ("heads", "o_groups"):
        if numbers[name] % at.layout.tp:
            return f"tensor parallel {at.layout.tp} does not divide {name} = {numbers[name]}"
    return ""


def _local_heads(rule: LayoutRule, at: Placement, numbers: Mapping[str, int], _server: ServerSpec) -> str:
    local = numbers["heads"] // at.layout.tp
    allowed = " or ".join(str(n) for n in rule.numbers)
    return (
        ""
        if local in rule.numbers
        else f"tensor parallel {at.layout.tp} leaves {local} local heads; {allowed} are allowed"
    )


def _tp_in(rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    shown = ", ".join(str(n) for n in rule.numbers)
    return "" if at.layout.tp in rule.numbers else f"tensor parallel {at.layout.tp} is none of {shown}"


def _dp_in(rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    shown = ", ".join(str(n) for n in rule.numbers)
    return "" if at.layout.dp in rule.numbers else f"data parallel {at.layout.dp} is none of {shown}"


def _tp_within_mesh(_rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], server: ServerSpec) -> str:
    mesh = max(server.mesh.value or 1, server.scale_up_domain.value or 1)
    return (
        ""
        if at.layout.tp <= mesh
        else f"tensor parallel {at.layout.tp} is more than the {mesh} devices of a direct link"
    )


def _group_within_mesh(_rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], server: ServerSpec) -> str:
    mesh = max(server.mesh.value or 1, server.scale_up_domain.value or 1)
    return "" if at.layout.devices <= mesh else f"{at.layout.devices} devices are more than the {mesh} of a direct link"


def _tp_within_host(_rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    host = at.devices_per_node
    return "" if at.layout.tp <= host else f"tensor parallel {at.layout.tp} is more than the {host} devices of a host"


def _ep_all_or_off(_rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    group = at.layout.tp * at.layout.dp
    return (
        ""
        if at.layout.ep in (1, group)
        else f"expert parallel {at.layout.ep} is neither 1 nor tensor x data parallel = {group}"
    )


def _ep_divides_experts(_rule: LayoutRule, at: Placement, numbers: Mapping[str, int], _server: ServerSpec) -> str:
    experts, group = numbers["experts"], at.layout.ep
    return f"expert parallel {group} does not divide {experts} experts" if experts % group else ""


def _ep_required(_rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    group = at.layout.tp * at.layout.dp
    return "" if at.layout.ep == group else f"expert parallel is off; the engine needs it over all {group} devices"


def _dp_needs_ep(_rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    off = at.layout.dp > 1 and at.layout.ep == 1
    return (
        f"data parallel {at.layout.dp} without expert parallel keeps {at.layout.dp} copies of all experts"
        if off
        else ""
    )


def _pp_at_most(rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    return "" if at.layout.pp <= rule.numbers[0] else f"pipeline parallel {at.layout.pp} is more than {rule.numbers[0]}"


def _dp_at_most(rule: LayoutRule, at: Placement, _numbers: Mapping[str, int], _server: ServerSpec) -> str:
    return "" if at.layout.dp <= rule.numbers[0] else f"data parallel {at.layout.dp} is more than {rule.numbers[0]}"


_METHODS: dict[str, _Method] = {
    "dp-at-most": _dp_at_most,
    "dp-in": _dp_in,
    "dp-needs-ep": _dp_needs_ep,
    "ep-all-or-off": _ep_all_or_off,
    "ep-divides-experts": _ep_divides_experts,
    "ep-required": _ep_required,
    "group-within-mesh": _group_within_mesh,
    "local-heads": _local_heads,
    "pp-at-most": _pp_at_most,
    "tp-divides": _tp_divides,
    "tp-in": _tp_in,
    "tp-within-host": _tp_within_host,
    "tp-within-mesh": _tp_within_mesh,
}
METHODS = frozenset(_METHODS)
