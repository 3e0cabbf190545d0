"""What a pairing pins, held against itself, the site and the engine, before anything is planned."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stowplan.diagnostics import Diagnostic, Refused
from stowplan.pairing import ROLES, Pairing
from stowplan.plan.flags import unknown_flags, unknown_variables
from stowplan.plan.model import Reason, Stack
from stowplan.plan.settings import Origin, Settings, pin_path

_ENV_NAME = re.compile(r"env\.[A-Za-z_][A-Za-z0-9_]*")
_FLAG_NAME = re.compile(r"flags\.--[a-zA-Z0-9][-_.a-zA-Z0-9]*")
_WHOLE = re.compile(r"[0-9]{1,9}")
_LAYOUT_FIELDS = ("tp", "dp", "pp", "ep", "expertParallel", "devices", "dpAttention")
_AT_LEAST_ONE = ("maxModelLen", "maxNumSeqs", "maxNumBatchedTokens", "port")
_HIGHEST_PORT = 65535
_PIN = Origin("pairing", "", "pinned", "the pairing's set")


def refuse_contradictions(pairing: Pairing) -> None:
    """Refuse what no engine could make right.

    Raises:
        Refused: with every contradiction at its place.
    """
    problems = [*_modes(pairing), *_sizes(pairing), *_keys(pairing), *_scaling(pairing)]
    if problems:
        raise Refused(problems)


def _scaling(pairing: Pairing) -> Iterator[Diagnostic]:
    most, least, place = pairing.spec.max_replicas, pairing.spec.replicas, pairing.locate("maxReplicas")
    if most is None:
        return
    if most < least:
        yield Diagnostic("P036", f"maxReplicas is {most} and replicas is {least}", place, hint=f"at least {least}")
    if len(pairing.roles) > 1:
        message = "prefill and decode keep their proportion: an autoscaler of one role would break it"
        yield Diagnostic("P036", message, place, hint="give replicas, or serve aggregated")


def _modes(pairing: Pairing) -> Iterator[Diagnostic]:
    given = pairing.spec.layout
    for role in given if isinstance(given, dict) else ():
        if role not in pairing.roles:
            message = f"the {pairing.mode} plan has no role '{role}'"
            yield Diagnostic(
                "P025", message, pairing.locate("layout", role, key=True), hint=f"roles: {', '.join(pairing.roles)}"
            )


def _sizes(pairing: Pairing) -> Iterator[Diagnostic]:
    nodes, most, host = pairing.spec.nodes, pairing.site.max_nodes, pairing.server.devices.value or 1
    layouts = [layout for layout in map(pairing.layout, pairing.roles) if layout]
    spans = [-(-layout.devices // host) for layout in layouts]
    if nodes and len(pairing.roles) == 1:
        spans = [nodes] * len(layouts)
    for layout, span in zip(layouts, spans, strict=True):
        if layout.devices % span:
            message = f"the layout's {layout.devices} devices do not divide over {span} nodes"
            yield Diagnostic("P021", message, pairing.locate("layout"), hint="devices = tp x dp x pp")
    needed = -(-sum(layout.devices for layout in layouts) // host)
    if (nodes or needed) > most:
        devices = sum(layout.devices for layout in layouts)
        words = f"{nodes} nodes" if nodes else f"the layout's {devices} devices take {needed} nodes, which"
        message = f"{words} are more than the site's maxNodes, {most}"
        yield Diagnostic("P022", message, pairing.locate("nodes" if nodes else "layout"))


def _keys(pairing: Pairing) -> Iterator[Diagnostic]:
    own = {key for role in pairing.roles for key, _ in pairing.pins(role)}
    for key, value in pairing.spec.set.items():
        role, _, rest = key.partition(".")
        plain = rest if role in pairing.roles else key
        if plain not in own or not (_ENV_NAME.fullmatch(plain) or _FLAG_NAME.fullmatch(plain)):
            message = f"'{key}' is not a key of the plan that can be pinned"
            hint = "write flags.--NAME or env.NAME" + (
                f", or one role's: {pairing.roles[0]}.flags.--NAME" if len(pairing.roles) > 1 else ""
            )
            other = next((mode for mode, names in ROLES.items() if role in names and mode != pairing.mode), None)
            if other:
                hint = f"{role} is a role of mode {other}; this plan is {pairing.mode}"
            yield Diagnostic("P023", message, pairing.locate("set", key, key=True), hint=hint)
        elif plain.startswith("env.") and isinstance(value, dict | list):
            message = f"{plain} takes text, a number or true or false, not {value}"
            yield Diagnostic("P023", message, pairing.locate("set", key), hint="a variable holds text")


def pin_problems(pairing: Pairing, stack: Stack) -> Iterator[Reason]:
    """Pins that this engine version does not take."""
    found = {reason.message: reason for role in pairing.roles for reason in _pin_problems(pairing, stack, role)}
    yield from found.values()


def _pin_problems(pairing: Pairing, stack: Stack, role: str) -> Iterator[Reason]:
    pins = Settings()
    taken_away = []
    for key, value in pairing.pins(role):
        path = pin_path(key)
        pins.put(path, value, _PIN)
        if path[0] == "flags" and pins.get(*path) is None:
            taken_away.append(path[1])
    pinned = {**dict.fromkeys(taken_away), **pins.flags}
    yield from unknown_flags(pairing, stack, pinned)
    yield from unknown_variables(stack, pins.env)
    by_flag = {flag: name for name, field in stack.engine.fields.items() for flag in (field.flag, *field.aliases)}
    for flag, value in pinned.items():
        if flag in by_flag:
            yield from _field_problems(pairing, flag, by_flag[flag], value)
    for entry in stack.engine.memory.communication:
        buffer = pins.env.get(entry.env)
        if buffer is not None and not _WHOLE.fullmatch(buffer):
            yield Reason(
                "F051", f"env.{entry.env} takes a whole number of MiB, not '{buffer}'", {"variable": entry.env}
            )


def _field_problems(pairing: Pairing, flag: str, field: str, value: object) -> Iterator[Reason]:
    limit = pairing.variant.max_context.value
    if field in _LAYOUT_FIELDS:
        yield Reason("F052", f"{flag} follows from the layout; pin layout instead", {"flag": flag})
    elif field == "draft":
        if not isinstance(value, dict | None):
            yield Reason("F051", f"{flag} takes a mapping, not {value!r}", {"flag": flag})
    elif value is None:
        yield Reason("F051", f"{flag} is needed for the ledger and cannot be taken away", {"flag": flag})
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if field == "utilization" and not 0 < value <= 1:
            yield Reason(
                "F051", f"{flag} takes a share of the device above 0 and at most 1, not {value}", {"flag": flag}
            )
        elif field in _AT_LEAST_ONE and value < 1:
            yield Reason("F051", f"{flag} takes a whole number of at least 1, not {value}", {"flag": flag})
        elif field == "port" and value > _HIGHEST_PORT:
            yield Reason("F051", f"{flag} takes a port up to {_HIGHEST_PORT}, not {value}", {"flag": flag})
        elif field == "maxModelLen" and limit and value > limit:
            yield Reason(
                "F051", f"{flag} is {value:,}; {pairing.spec.variant} reads at most {limit:,} tokens", {"flag": flag}
            )
