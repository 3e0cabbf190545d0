"""An engine on a chip in; how it computes with each storage format, which loader reads it, which formats have no path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stowplan.pairing import Pairing
from stowplan.plan.model import Stack
from stowplan.plan.reading import no_path, reader, telling
from stowplan.plan.stacks import known_bad, stack_context
from stowplan.profiles.accuracy import Accuracy
from stowplan.profiles.engine import LoadedAs
from stowplan.profiles.rule import StackContext, asked, holds
from stowplan.versions import in_range

_RUNS_AS = {
    "fp8-block": "fp8",
    "fp8-row": "fp8",
    "int8-row": "int8",
    "int8-channel": "int8",
    "int8-channel-offset": "int8",
    "int4-channel-offset": "int4",
    "int4-group": "int4",
    "int4-group128": "int4",
}


def execution(
    pairing: Pairing, stack: Stack, tensor_class: str, part: str, storage: str, flags: Mapping[str, Any]
) -> tuple[str, str]:
    """How tensors are computed with, and whether that is `native`, a `fallback`, `expanded` when they are loaded, or `unknown`."""
    context = context_of(pairing, stack)
    key = f"{tensor_class}.{part}"
    for loaded in _expanded(stack, context):
        if key in loaded.tensors and storage in _RUNS_AS:
            return f"{loaded.tensors[key]}: expanded when it is loaded", "expanded"
    fitting = [
        entry
        for entry in telling(pairing.catalog, stack.engine).executions
        if storage in entry.storage
        and (not entry.classes or {key, tensor_class} & {*entry.classes})
        and (not entry.only_flags or asked(entry.only_flags, flags))
        and in_range(context.version, entry.versions)
        and holds(entry.when, context)
    ]
    if fitting:
        chosen = max(fitting, key=lambda entry: (bool(entry.only_flags), len(entry.when.keys()), len(entry.classes)))
        return chosen.runs_as, chosen.kind
    return _by_the_chip(pairing, _RUNS_AS.get(storage, storage))


def _by_the_chip(pairing: Pairing, name: str) -> tuple[str, str]:
    """What the chip's arithmetic alone says of a number format."""
    formats = pairing.chip.formats
    how: str | None = next((said for known, said in dict(formats.fallback).items() if known == name), None)
    if how:
        return f"{name}: {how}", "fallback"
    if name in formats.missing:
        return f"unknown: stored in {name}, which the chip does not compute on", "unknown"
    return name, "native"


def expanded_scores(pairing: Pairing, stack: Stack) -> list[Accuracy]:
    """What somebody measured of the tensors that the engine expands when it loads them."""
    return [score for loaded in _expanded(stack, context_of(pairing, stack)) for score in loaded.accuracy]


def _expanded(stack: Stack, context: StackContext) -> Iterator[LoadedAs]:
    for loaded in stack.engine.memory.loaded_as:
        if in_range(context.version, loaded.versions) and holds(loaded.when, context):
            yield loaded


def loader_of(pairing: Pairing, stack: Stack) -> str | None:
    """The engine's name of the method by which it reads this checkpoint, where that is known."""
    return reader(pairing, stack.engine_name, stack.engine, stack.checkpoint, context_of(pairing, stack))


def refused_formats(pairing: Pairing, stack: Stack) -> Iterator[dict[str, Any]]:
    """Number formats that have no path on this chip with this engine, each with its reason and source."""
    context, formats = context_of(pairing, stack), pairing.chip.formats
    for lacking in formats.missing:
        yield _refusal(lacking, (), f"{pairing.server.chip} does not compute on it", formats.source)
    for entry in no_path(pairing, stack.engine, context):
        yield _refusal(entry.format, entry.classes, entry.reason, entry.source)
    named = {name for bad in stack.engine.known_bad for name in bad.when.checkpoint_format or ()}
    for name in sorted(named):
        for bad in known_bad(stack.engine_name, stack.engine, replace(context, checkpoint_format=name)):
            rule = next(entry for entry in stack.engine.known_bad if entry.id == bad.numbers["rule"])
            yield _refusal(f"checkpoints in {name}", (), rule.reason, rule.source)


def _refusal(name: str, classes: tuple[str, ...], reason: str, source: str) -> dict[str, Any]:
    return {"format": name, "classes": list(classes), "reason": reason, "source": source}


def context_of(pairing: Pairing, stack: Stack) -> StackContext:
    """What conditions can be asked of about a stack."""
    return stack_context(pairing, stack.checkpoint, stack.version, stack.draft)
