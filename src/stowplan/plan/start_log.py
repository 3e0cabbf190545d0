"""An engine's start-up log and a plan in; figure by figure what differs, and what explains it, out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.fit.paging import Batch
from stowplan.fit.units import GIB
from stowplan.plan.model import Candidate
from stowplan.profiles.engine import LogPatterns

_WEIGHTS_TOLERANCE = 0.03
_TOLERANCE = 0.01
_PAIR = re.compile(r"'(\w+)': ('[^']*'|-?[0-9.]+|True|False|None)(?=[,}])")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a log says; None where it does not."""

    weights_gib: float | None
    cache_gib: float | None
    tokens: int | None
    concurrency: float | None
    arguments: Mapping[str, Any]


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


def read_log(text: str, patterns: LogPatterns) -> Reading:
    """The figures of a start-up log; of several ranks the one with the most weights and the least room."""
    return Reading(
        weights_gib=max(_numbers(patterns.weights_gib, text), default=None),
        cache_gib=min(_numbers(patterns.cache_gib, text), default=None),
        tokens=int(min(tokens)) if (tokens := _numbers(patterns.tokens, text)) else None,
        concurrency=min(_numbers(patterns.concurrency, text), default=None),
        arguments=_arguments(patterns.arguments, text),
    )


def _numbers(pattern: str, text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(pattern, text)] if pattern else []


def _arguments(pattern: str, text: str) -> dict[str, Any]:
    found = re.search(pattern, text) if pattern else None
    if found is None:
        return {}
    try:
        read = ast.literal_eval(found[1])
    except (ValueError, SyntaxError):  # objects among the values: take the plain ones
        read = {key: ast.literal_eval(value) for key, value in _PAIR.findall(found[1])}
    return {f"--{key.replace('_', '-')}": value for key, value in read.items()} if isinstance(read, dict) else {}


def compare(chosen: Candidate, reading: Reading) -> Iterator[Line]:
    """Weights, room for the cache, tokens, concurrency, then settings."""
    fit = chosen.fit
    if reading.weights_gib is not None:
        why = "up to 3 % is padding and repacking of expert weights by the kernels"
        yield _figure("weights, GiB a device", fit.weights_total / GIB, reading.weights_gib, _WEIGHTS_TOLERANCE, why)
    if reading.cache_gib is not None:
        why = (
            "activations, graphs, buffers and the runtime's own bytes are estimates: give yours to the engine's profile"
        )
        yield _figure("free for the cache, GiB", fit.capacity.available / GIB, reading.cache_gib, 10 * _TOLERANCE, why)
    if reading.tokens is not None:
        yield _figure(
            "tokens of the cache line", fit.capacity.log_tokens, reading.tokens, _TOLERANCE, _same_rule(chosen, reading)
        )
    if reading.concurrency is not None:
        yield _figure(
            "requests of the maximum length",
            fit.capacity.concurrency,
            reading.concurrency,
            _TOLERANCE,
            "follows from the tokens",
        )
    flags = chosen.settings.flags
    for flag, logged in sorted(reading.arguments.items()):
        if flag in flags and not isinstance(flags[flag], dict):
            yield Line(
                flag,
                flags[flag],
                logged,
                None,
                flags[flag] == logged,
                "" if flags[flag] == logged else "the engine was started otherwise",
            )


def _figure(name: str, planned: float, logged: float, tolerance: float, explanation: str) -> Line:
    difference = (logged - planned) / planned if planned else 0.0
    agrees = abs(difference) <= tolerance
    return Line(name, round(planned, 2), logged, round(difference, 4), agrees, "" if agrees else explanation)


def _same_rule(chosen: Candidate, reading: Reading) -> str:
    """Whether the capacity rule holds: the same rule on the log's own free bytes."""
    if reading.cache_gib is None:
        return "the log does not say how many bytes are free for the cache"
    tuning, fit = chosen.fit.tuning, chosen.fit
    batch = Batch(tuning.max_model_len, tuning.max_num_batched_tokens)
    tokens = fit.paging.capacity(int(reading.cache_gib * GIB), batch).log_tokens
    off = (reading.tokens or 0) / tokens - 1 if tokens else 0.0
    return f"on the log's {reading.cache_gib:g} GiB the rule gives {tokens:,} tokens ({off:+.1%}): {'the bytes differ, not the rule' if abs(off) <= _TOLERANCE else 'the rule does not hold for this version'}"
