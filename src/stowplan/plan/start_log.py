"""What a start-up log says and a plan in; figure by figure what differs, and what explains it, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.fit.paging import Batch
from stowplan.fit.units import GIB
from stowplan.plan.log_reading import Reading, Refusal
from stowplan.plan.model import Role, Stack

_WEIGHTS_TOLERANCE = 0.03
_BYTES_TOLERANCE = 0.1
_TOKENS_TOLERANCE = 0.01
_PADDING = "up to 3 % is padding and repacking of expert weights by the kernels"
_ESTIMATES = (
    "activations, graphs, buffers and the runtime's own bytes are estimates: give yours to the engine's profile"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure beside the other."""

    figure: str
    planned: Any
    logged: Any
    difference: float | None
    """Share by which the log is above the plan; None for settings."""
    agrees: bool
    explanation: str = ""


def compare(stack: Stack, role: Role, reading: Reading) -> Iterator[Line]:
    """Whether it starts, weights, room for the cache, tokens, then settings."""
    settings = list(_settings(stack, role, reading))
    otherwise = any(not line.agrees for line in settings)
    yield from _start(stack, role, reading)
    yield from _figures(stack, role, reading, otherwise=otherwise)
    yield from settings


def _start(stack: Stack, role: Role, reading: Reading) -> Iterator[Line]:
    if reading.version is not None:
        version = stack.version
        same = reading.version.startswith((version.version, version.upstream or version.version))
        why = "" if same else "each version has its own capacity rule: pin the log's (engine: NAME@VERSION)"
        yield Line("version", version.version, reading.version, None, same, why)
    starts = not role.fit.shortfall
    refusal = reading.refusal
    if refusal is None:
        up = reading.tokens is not None or reading.concurrency is not None
        if up:
            why = "" if starts else "the plan is short of memory where the engine was not"
            yield Line("starts", _yes(starts), "yes", None, starts, why)
        else:
            why = "it has no line of the cache's tokens: it was cut, or another process printed it"
            yield Line("starts", _yes(starts), "the log does not say", None, agrees=True, explanation=why)
        return
    yield Line("starts", _yes(starts), f"no: {refusal.sentence}", None, not starts, _refused(role, refusal))


def _yes(value: bool) -> str:  # noqa: FBT001 - the value is all that it takes
    return "yes" if value else "no"


def _refused(role: Role, refusal: Refusal) -> str:
    """What the plan says of a start that failed."""
    fit = role.fit
    said = f"the plan needs {fit.capacity.needed / GIB:.2f} GiB for {fit.tuning.max_model_len:,} tokens and has {fit.capacity.available / GIB:.2f}"
    if refusal.needed_gib is None:
        return f"{said}; the log gives no number"
    return said


def _figures(stack: Stack, role: Role, reading: Reading, *, otherwise: bool) -> Iterator[Line]:
    fit, refusal = role.fit, reading.refusal
    settings = "the settings differ (below); " if otherwise else ""
    if reading.weights_gib is not None:
        ranks = f" (the fullest of {reading.ranks} ranks)" if reading.ranks > 1 else ""
        yield _figure(
            f"weights, GiB a device{ranks}",
            fit.weights_total / GIB,
            reading.weights_gib,
            _WEIGHTS_TOLERANCE,
            f"{settings}{_PADDING}",
        )
    available = reading.cache_gib
    if available is None and refusal is not None:
        available = refusal.available_gib
    if available is not None:
        yield _figure(
            "free for the cache, GiB",
            fit.capacity.available / GIB,
            available,
            _BYTES_TOLERANCE,
            f"{settings}{_ESTIMATES}",
        )
    if refusal is not None and refusal.needed_gib is not None:
        rule = fit.paging.capacity(max(fit.capacity.available, 0), _batch(stack, role, reading))
        yield _figure(
            "needed by one request of the maximum length, GiB",
            rule.needed / GIB,
            refusal.needed_gib,
            _TOKENS_TOLERANCE,
            "the capacity rule of this version does not hold",
        )
    yield from _tokens(stack, role, reading, available, settings)


def _tokens(stack: Stack, role: Role, reading: Reading, available: float | None, settings: str) -> Iterator[Line]:
    fit = role.fit
    if reading.tokens is not None:
        if available is not None:
            rule = fit.paging.capacity(int(available * GIB), _batch(stack, role, reading))
            yield _figure(
                f"tokens that the rule gives on the log's {available:g} GiB",
                rule.log_tokens,
                reading.tokens,
                _TOKENS_TOLERANCE,
                "the capacity rule does not hold for this version, or a setting that moves it is not in the log",
            )
        yield _figure(
            "tokens of the cache line",
            fit.capacity.log_tokens,
            reading.tokens,
            _BYTES_TOLERANCE,
            f"{settings}the free bytes differ"
            if available is not None
            else f"{settings}the log does not say how many bytes are free for the cache",
        )
    if reading.concurrency is not None:
        yield _figure(
            "requests of the maximum length",
            fit.capacity.concurrency,
            reading.concurrency,
            _BYTES_TOLERANCE,
            f"{settings}follows from the tokens",
        )


def _batch(stack: Stack, role: Role, reading: Reading) -> Batch:
    """The limits with which the engine was started, as far as the log gives them; else the plan's."""
    tuning, fields, logged = role.fit.tuning, stack.engine.fields, _named(stack, reading.arguments)

    def limit(name: str, planned_limit: int) -> int:
        value = logged.get(fields[name].flag)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            return planned_limit
        return max(value // (role.placement.layout.dp if fields[name].over_group else 1), 1)

    return Batch(
        limit("maxModelLen", tuning.max_model_len),
        limit("maxNumBatchedTokens", tuning.max_num_batched_tokens),
        limit("maxNumSeqs", tuning.max_num_seqs),
    )


def _named(stack: Stack, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The log's settings under the plan's spelling of them."""
    spelled = {alias: field.flag for field in stack.engine.fields.values() for alias in field.aliases}
    return {spelled.get(flag, flag): value for flag, value in arguments.items()}


def _settings(stack: Stack, role: Role, reading: Reading) -> Iterator[Line]:
    """Flags that both give; and of those that move memory or layout, what only one gives."""
    patterns, flags = stack.engine.log, role.settings.flags
    logged = _named(stack, reading.arguments)
    if patterns is None or not logged:
        return
    moving = {field.flag for field in stack.engine.fields.values()} - {*patterns.ignores}
    for flag in sorted({*flags, *logged} - {*patterns.ignores}):
        if flag in flags and flag in logged:
            same = _same(flags[flag], logged[flag])
            why = "" if same else "the engine was started otherwise"
            yield Line(flag, flags[flag], logged[flag], None, same, why)
        elif flag in moving and flag in flags and not patterns.lists_defaults:
            yield Line(flag, flags[flag], "not given", None, agrees=False, explanation="the engine's default holds")
        elif flag in moving and flag in logged and not patterns.lists_defaults:
            yield Line(flag, "not set", logged[flag], None, agrees=False, explanation="the plan leaves it out")


def _same(planned: Any, logged: Any) -> bool:
    """Equal but for how the engine prints it: one value in a list, a mapping with more keys, a number as text."""
    if isinstance(planned, Mapping) and isinstance(logged, Mapping):
        return all(key in logged and _same(value, logged[key]) for key, value in planned.items())
    if isinstance(logged, list | tuple) and len(logged) == 1:
        return _same(planned, logged[0])
    if isinstance(planned, bool) or isinstance(logged, bool):
        return planned is logged
    return bool(planned == logged) or str(planned) == str(logged)


def _figure(name: str, planned: float, logged: float, tolerance: float, explanation: str) -> Line:
    difference = (logged - planned) / abs(planned) if planned else float(bool(logged))
    agrees = abs(difference) <= tolerance
    return Line(name, round(planned, 2), logged, round(difference, 4), agrees, "" if agrees else explanation)
