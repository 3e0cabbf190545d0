"""Settings in; where they ask for a number format that is refused here, or that the ledger does not count."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.pairing import Pairing
from stowplan.plan.model import Reason, Stack
from stowplan.plan.reading import no_path, reader, telling
from stowplan.plan.settings import Settings
from stowplan.profiles.engine import KvFormat
from stowplan.profiles.precision import RefusedFormat
from stowplan.profiles.rule import StackContext, asked, holds


def broken_formats(
    pairing: Pairing, stack: Stack, context: StackContext, settings: Settings, kept: KvFormat
) -> Iterator[Reason]:
    """Settings that ask for a format without a path, for another cache than is counted, or for another loader."""
    refused = [entry for entry in _asked(pairing, stack, context, settings) if entry.effect == "fails"]
    for entry in refused:
        message = f"{_shown(entry, settings)} cannot be given here, {entry.format}: {entry.reason} ({entry.source})"
        yield Reason("F053", message, {"rule": entry.id, "flag": _names(entry, settings)[0]})
    if not any(stack.engine.memory.kv_cache_flag in _names(entry, settings) for entry in refused):
        yield from _cache(stack, settings, kept)
    yield from _loader(pairing, stack, context, settings)


def degraded_formats(pairing: Pairing, stack: Stack, context: StackContext, settings: Settings) -> Iterator[str]:
    """What to expect of a format that the settings ask for and that runs badly."""
    for entry in _asked(pairing, stack, context, settings):
        if entry.effect == "degrades":
            yield f"{_shown(entry, settings)}: {entry.reason} ({entry.source})"


def _asked(pairing: Pairing, stack: Stack, context: StackContext, settings: Settings) -> Iterator[RefusedFormat]:
    return (entry for entry in no_path(pairing, stack.engine, context) if asked(entry.asked_by, settings.flags))


def _names(entry: RefusedFormat, settings: Settings) -> list[str]:
    """The flags of the group that is given."""
    return next(list(group) for group in entry.asked_by if asked([group], settings.flags))


def _shown(entry: RefusedFormat, settings: Settings) -> str:
    return " with ".join(f"{name} {settings.get('flags', name)}" for name in _names(entry, settings))


def _cache(stack: Stack, settings: Settings, kept: KvFormat) -> Iterator[Reason]:
    """The cache's format must be the one that the ledger counts."""
    flag = stack.engine.memory.kv_cache_flag
    value = settings.get("flags", flag) if flag else None
    if flag is None or value is None or value in kept.dtypes:
        return
    takes = f"takes {' or '.join(kept.dtypes)} here" if kept.dtypes else "cannot be given here"
    known = "" if kept.dtypes else ", and no source says which value keeps it"
    message = f"{flag} {takes}, not {value}: the ledger counts {kept.main}{known}; {kept.reason} ({kept.source})"
    yield Reason("F053", message, {"flag": flag, "cache": kept.main})


def _loader(pairing: Pairing, stack: Stack, context: StackContext, settings: Settings) -> Iterator[Reason]:
    """The loader that is asked for must be one that reads this checkpoint."""
    flag, loaders = stack.engine.quantization_flag, telling(pairing.catalog, stack.engine).loaders
    value = settings.get("flags", flag) if flag else None
    if value is None or not loaders:
        return
    read = reader(pairing, stack.engine_name, stack.engine, stack.checkpoint, context)
    fitting = [read] if read else [name for name, loader in loaders.items() if holds(loader.when, context)]
    words = [word for name in fitting for word in (name, *(loaders[name].asked_as if name in loaders else ()))]
    if value not in words:
        by = f"reads {stack.checkpoint.id} with {read}" if read else "has no other loader for this model here"
        source = f" ({loaders[read].source})" if read in loaders else ""
        message = f"{flag} takes {' or '.join(words)} here, not {value}: {stack.engine_name} {by}{source}"
        yield Reason("F053", message, {"flag": flag, "checkpoint": stack.checkpoint.id})
