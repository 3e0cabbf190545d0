"""A checkpoint and an engine in; which loader reads it, whether that is shown here, and what of it has no path."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.catalog import Catalog
from stowplan.fit.weights import weights
from stowplan.pairing import Pairing
from stowplan.plan.model import Reason
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.precision import RefusedFormat
from stowplan.profiles.rule import StackContext, holds
from stowplan.profiles.variant import Checkpoint
from stowplan.versions import in_range


def telling(catalog: Catalog, engine: EngineSpec) -> EngineSpec:
    """The engine that says how formats are read and computed: itself, or the one that it is a build of and adds nothing to."""
    base = engine.extends
    if engine.loaders or engine.executions or engine.refused_formats or base is None:
        return engine
    return catalog.engines[base]


def reader(
    pairing: Pairing, name: str, engine: EngineSpec, checkpoint: Checkpoint, context: StackContext
) -> str | None:
    """The engine's name of the method by which it reads a checkpoint, where that is known."""
    spec = telling(pairing.catalog, engine)
    made_by = checkpoint.converted or checkpoint.made_by
    read_by = checkpoint.read_by or (pairing.catalog.quantizers[made_by].read_by if made_by else {})
    if read_by or made_by:
        inherited = engine.extends if spec is not engine else None
        return read_by.get(name) or read_by.get(inherited or "")
    if checkpoint.format != "native":
        return None
    return next((n for n, loader in spec.loaders.items() if loader.native and holds(loader.when, context)), None)


def unread_by(
    pairing: Pairing, name: str, engine: EngineSpec, checkpoint: Checkpoint, context: StackContext
) -> Reason | None:
    """No source shows that the engine reads this checkpoint on this chip."""
    loaders, chip = telling(pairing.catalog, engine).loaders, pairing.server.chip
    loader, made_by = reader(pairing, name, engine, checkpoint, context), checkpoint.converted or checkpoint.made_by
    if loader is None and made_by and loaders:
        message = f"no source shows that {name} reads what {made_by} writes, as {checkpoint.id} is"
        return Reason("F032", message, {"fact": f"{name} loader of {made_by}", "checkpoint": checkpoint.id})
    found = loaders.get(loader or "")
    if found and not holds(found.when, context):
        message = (
            f"{name} reads {checkpoint.id} with {loader}, and no source shows that loader on {chip} ({found.source})"
        )
        return Reason("F032", message, {"fact": f"{name} {loader} on {chip}", "checkpoint": checkpoint.id})
    shown = found is not None and found.when.chip_family is not None
    if not shown and checkpoint.families and not {*checkpoint.families} & {*pairing.chip.families}:
        message = f"{checkpoint.id} was made for {', '.join(checkpoint.families)}; no source shows it on {chip}"
        return Reason("F032", message, {"fact": f"{checkpoint.id} on {chip}", "checkpoint": checkpoint.id})
    return None


def no_path(pairing: Pairing, engine: EngineSpec, context: StackContext) -> Iterator[RefusedFormat]:
    """Formats that the engine has no path for here, and those that degrade."""
    for entry in telling(pairing.catalog, engine).refused_formats:
        if in_range(context.version, entry.versions) and holds(entry.when, context):
            yield entry


def refused_weights(
    pairing: Pairing, engine: EngineSpec, checkpoint: Checkpoint, context: StackContext
) -> tuple[list[Reason], list[str]]:
    """Why the engine cannot take what a checkpoint holds, and what is to be expected where it can."""
    refused: list[Reason] = []
    notes: list[str] = []
    for entry in no_path(pairing, engine, context):
        if not entry.storage or not _holds_any(pairing, checkpoint, entry):
            continue
        message = f"{checkpoint.id} holds {entry.format}: {entry.reason} ({entry.source})"
        if entry.effect == "degrades":
            notes.append(message)
        else:
            refused.append(Reason("F020", message, {"checkpoint": checkpoint.id, "rule": entry.id}))
    return refused, notes


def _holds_any(pairing: Pairing, checkpoint: Checkpoint, entry: RefusedFormat) -> bool:
    groups = weights(pairing.architecture, checkpoint, checkpoint.draft).groups
    return any(
        group.storage in entry.storage and (not entry.classes or {where, f"{where}.{group.part}"} & {*entry.classes})
        for group in groups
        for where in ("draft" if group.draft else group.tensor_class,)
    )
