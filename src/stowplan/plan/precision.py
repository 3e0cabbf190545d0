"""An engine on a chip in; how it computes with each storage format, which loader reads it, which formats have no path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stowplan.pairing import Pairing
from stowplan.plan.model import Stack
from stowplan.plan.stacks import known_bad, stack_context
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.precision import Loader
from stowplan.profiles.rule import StackContext, holds
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


def execution(pairing: Pairing, stack: Stack, tensor_class: str, part: str, storage: str) -> tuple[str, str]:
    """How tensors are computed with, and whether that is `native`, a `fallback`, or `expanded` when they are loaded."""
    context = _context(pairing, stack)
    key = f"{tensor_class}.{part}"
    for loaded in stack.engine.memory.loaded_as:
        holding = in_range(context.version, loaded.versions) and holds(loaded.when, context)
        if holding and key in loaded.tensors and storage in _RUNS_AS:
            return f"{loaded.tensors[key]}: expanded when it is loaded", "expanded"
    fitting = [
        entry
        for entry in _own_or_extended(pairing, stack.engine).executions
        if storage in entry.storage
        and (not entry.classes or {key, tensor_class} & {*entry.classes})
        and in_range(context.version, entry.versions)
        and holds(entry.when, context)
    ]
    if fitting:
        chosen = max(fitting, key=lambda entry: (len(entry.when.keys()), len(entry.classes)))
        return chosen.runs_as, chosen.kind
    name, fallback = _RUNS_AS.get(storage, storage), dict(pairing.chip.formats.fallback)
    how: str | None = next((said for known, said in fallback.items() if known == name), None)
    return (f"{name}: {how}", "fallback") if how else (name, "native")


def loader_of(pairing: Pairing, stack: Stack) -> str | None:
    """The engine's name of the method by which it reads this checkpoint, where that is known."""
    checkpoint = stack.checkpoint
    made_by = checkpoint.converted or checkpoint.made_by
    if made_by:
        read_by = pairing.catalog.quantizers[made_by].read_by
        return read_by.get(stack.engine_name) or read_by.get(stack.engine.extends or "")
    if checkpoint.format != "native":
        return None
    context = _context(pairing, stack)
    return next(
        (
            name
            for name, loader in loaders(pairing, stack.engine).items()
            if loader.native and holds(loader.when, context)
        ),
        None,
    )


def loaders(pairing: Pairing, engine: EngineSpec) -> Mapping[str, Loader]:
    """The engine's loaders, or those of the engine that it extends."""
    return _own_or_extended(pairing, engine).loaders


def refused_formats(pairing: Pairing, stack: Stack) -> Iterator[dict[str, Any]]:
    """Number formats that have no path on this chip with this engine, each with its reason and source."""
    context, formats = _context(pairing, stack), pairing.chip.formats
    for lacking in formats.missing:
        yield _refusal(lacking, (), f"{pairing.server.chip} does not compute on it", formats.source)
    for entry in _own_or_extended(pairing, stack.engine).refused_formats:
        if in_range(context.version, entry.versions) and holds(entry.when, context):
            yield _refusal(entry.format, entry.classes, entry.reason, entry.source)
    named = {name for bad in stack.engine.known_bad for name in bad.when.checkpoint_format or ()}
    for name in sorted(named):
        for bad in known_bad(stack.engine_name, stack.engine, replace(context, checkpoint_format=name)):
            yield _refusal(f"checkpoints in {name}", (), bad.message, "")


def _refusal(name: str, classes: tuple[str, ...], reason: str, source: str) -> dict[str, Any]:
    return {"format": name, "classes": list(classes), "reason": reason, "source": source}


def _own_or_extended(pairing: Pairing, engine: EngineSpec) -> EngineSpec:
    """The engine that says how formats are computed: itself, or the one that it is a build of."""
    base = engine.extends
    if engine.loaders or engine.executions or engine.refused_formats or base is None:
        return engine
    return pairing.catalog.engines[base]


def _context(pairing: Pairing, stack: Stack) -> StackContext:
    return stack_context(pairing, stack.checkpoint, stack.version, stack.draft)
