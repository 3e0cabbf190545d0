"""Which engine version runs which checkpoint on a chip, and with which draft module."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.pairing import Pairing, find_checkpoint
from stowplan.plan.images import engine_image
from stowplan.plan.model import Reason, Stack
from stowplan.plan.reading import refused_weights, unread_by
from stowplan.profiles.engine import Effect, EngineSpec, Transfer, Version
from stowplan.profiles.rule import StackContext, holds
from stowplan.profiles.variant import Checkpoint, Draft
from stowplan.versions import in_range

_PREFERENCE = {"native": 0, "w8a8": 1, "w4a8": 1, "fp8": 2, "nvfp4": 3, "mxfp4-quark": 4}


def stacks(pairing: Pairing) -> tuple[list[Stack], list[Reason], list[Reason]]:
    """Usable stacks, best first; why others cannot run; which facts are missing for yet others."""
    usable: list[Stack] = []
    refused: list[Reason] = []
    unknown: list[Reason] = []
    engines = list(_engines(pairing))
    if not engines:
        families = ", ".join(pairing.chip.families)
        unknown.append(
            Reason(
                "F030",
                f"no engine in the catalogue documents {pairing.variant.family} on {families}",
                {"fact": f"engine support of {pairing.variant.family} on {pairing.server.chip}"},
            )
        )
    for checkpoint in _checkpoints(pairing):
        no, missing, notes = formats_here(checkpoint, pairing)
        refused += no
        for name, engine in engines if not no else ():
            found, bad = _version(pairing, name, engine, checkpoint)
            no_path, unread, told = _read(pairing, name, engine, checkpoint, found)
            if no_path:
                refused += no_path
            elif unread and not _shown(pairing, name, checkpoint):
                unknown.append(unread)
            elif found is None:
                refused += bad
                unknown += [] if bad else [_unsupported(pairing, name, checkpoint)]
            elif missing and not _shown(pairing, name, checkpoint):
                unknown += missing
            else:
                version, draft = found
                off = f"no source shows {name} {version.version} with the {checkpoint.draft} draft on {pairing.server.chip}: it runs without"
                told += [*notes, off] if checkpoint.draft and draft is None else notes
                handed = _transfer(pairing, engine, version)
                usable.append(Stack(name, engine, version, checkpoint, draft, tuple(told), handed))
    usable.sort(
        key=lambda s: (
            -s.engine.priority,
            _PREFERENCE.get(s.checkpoint.format, 9),
            s.draft is None,
            s.checkpoint.converted is not None,
        )
    )
    return usable, refused, unknown


def _engines(pairing: Pairing) -> Iterator[tuple[str, EngineSpec]]:
    pinned, _ = pairing.engine
    for name in [pinned] if pinned else list(pairing.catalog.engines):
        engine = pairing.catalog.engines[name]
        own = pairing.platform_name if pairing.platform.starts else None
        if engine.platform == own and {*engine.chip_families} & {*pairing.chip.families}:
            yield name, engine


def _checkpoints(pairing: Pairing) -> Iterator[Checkpoint]:
    pinned = pairing.spec.checkpoint
    ids = [c.id for c in pairing.variant.checkpoints]
    wanted = find_checkpoint(pinned, ids) if pinned else None
    for checkpoint in pairing.variant.checkpoints:
        made_for = not checkpoint.families or {*checkpoint.families} & {*pairing.chip.families}
        if checkpoint.id == wanted or (wanted is None and made_for and not checkpoint.only_pinned):
            yield checkpoint


def formats_here(checkpoint: Checkpoint, pairing: Pairing) -> tuple[list[Reason], list[Reason], list[str]]:
    """Formats that the chip lacks, formats that nobody speaks of, and fallbacks that are taken."""
    formats, chip = pairing.chip.formats, pairing.server.chip
    refused, unknown, notes = [], [], []
    for name in checkpoint.compute:
        if name in formats.fallback:
            notes.append(f"{chip} has no {name} arithmetic: {formats.fallback[name]}")
        elif name in formats.missing:
            message = f"{checkpoint.id} needs {name}, which {chip} does not have ({formats.source})"
            refused.append(Reason("F020", message, {"checkpoint": checkpoint.id, "format": name}))
        elif name not in formats.native:
            message = f"whether {chip} runs {name}, which {checkpoint.id} needs, is unknown"
            unknown.append(Reason("F031", message, {"fact": f"{chip} formats.{name}", "checkpoint": checkpoint.id}))
    return refused, unknown, notes


def _read(
    pairing: Pairing,
    name: str,
    engine: EngineSpec,
    checkpoint: Checkpoint,
    found: tuple[Version, Draft | None] | None,
) -> tuple[list[Reason], Reason | None, list[str]]:
    """What of the checkpoint has no path, the fact that is missing about its loader, and what is to be expected of it."""
    version = found[0] if found else next(v for v in engine.versions if v.version == engine.default_version)
    context = stack_context(pairing, checkpoint, version, found[1] if found else checkpoint.draft)
    refused, notes = refused_weights(pairing, engine, checkpoint, context)
    return refused, unread_by(pairing, name, engine, checkpoint, context), notes


def _shown(pairing: Pairing, engine: str, checkpoint: Checkpoint) -> list[str]:
    """Version ranges of the recipes that show this checkpoint on this very server, which settles an unknown format."""
    return [
        r.versions
        for r in pairing.catalog.recipes.values()
        if r.checkpoint == checkpoint.id and r.engine == engine and pairing.spec.server in r.servers
    ]


def known_bad(
    engine_name: str, engine: EngineSpec, context: StackContext, effect: Effect = "fails"
) -> Iterator[Reason]:
    """Combinations of which a source says that they fail (or degrade) and that hold here."""
    for bad in engine.known_bad:
        if bad.effect == effect and in_range(context.version, bad.versions) and holds(bad.when, context):
            message = f"{engine_name} {context.version}: {bad.reason} ({bad.source})"
            yield Reason("F040", message, {"rule": bad.id})


def stack_context(pairing: Pairing, checkpoint: Checkpoint, version: Version, draft: Draft | None) -> StackContext:
    """What conditions can be asked of before a layout is chosen."""
    return StackContext(
        chip=pairing.server.chip,
        chip_family=pairing.chip.families,
        server=pairing.spec.server,
        variant=pairing.spec.variant,
        variant_family=pairing.variant.family,
        checkpoint_format=checkpoint.format,
        draft=draft or "none",
        use_case=pairing.spec.use_case,
        mode=pairing.mode,
        version=version.version,
    )


def _version(
    pairing: Pairing, name: str, engine: EngineSpec, checkpoint: Checkpoint
) -> tuple[tuple[Version, Draft | None] | None, list[Reason]]:
    """The version to take and the draft that runs on it: pinned, else one that a recipe shows here, else the default, else the first that can.

    A version without an image, public or the site's, is taken only where a recipe shows it here, or none with one will do.

    Where there is none, the reasons why each version that was asked for is known to fail; no reason where a source is missing.
    """
    _, pinned = pairing.engine
    shown = _shown(pairing, name, checkpoint)
    ordered = sorted(
        engine.versions,
        key=lambda v: (not any(in_range(v.version, r) for r in shown), v.version != engine.default_version),
    )
    asked = [version for version in ordered if pinned in (None, version.version)]
    told = [v for v in asked if any(in_range(v.version, r) for r in shown)]
    at_hand = [v for v in asked if v in told or engine_image(pairing.chip, pairing.site, name, v)]
    drafts: list[Draft | None] = [checkpoint.draft, None] if checkpoint.draft else [None]
    known: list[Reason] = []
    silent = False
    for versions, draft in ((versions, draft) for versions in (at_hand, asked) for draft in drafts):
        for version in versions:
            bad = list(known_bad(name, engine, stack_context(pairing, checkpoint, version, draft)))
            if not bad and _supports(engine, pairing, version, draft, checkpoint):
                return (version, draft), []
            known += bad
            silent = silent or not bad
    return None, [] if silent else known[:1]


def _supports(
    engine: EngineSpec, pairing: Pairing, version: Version, draft: Draft | None, checkpoint: Checkpoint
) -> bool:
    families = {*pairing.chip.families}
    return bool({*version.images} & families) and any(
        s.variant_family == pairing.variant.family
        and {*s.chip_families} & families
        and (draft or "none") in s.draft
        and (s.checkpoint_formats is None or checkpoint.format in s.checkpoint_formats)
        and in_range(version.version, s.versions)
        for s in engine.supports
    )


def _transfer(pairing: Pairing, engine: EngineSpec, version: Version) -> Transfer | None:
    """How this version hands caches from prefill to decode on the chip, where both are apart."""
    if pairing.mode != "disaggregated":
        return None
    families = {*pairing.chip.families}
    fitting = (t for t in engine.transfers if families & {*t.chip_families})
    return next((t for t in fitting if in_range(version.version, t.versions)), None)


def _unsupported(pairing: Pairing, engine: str, checkpoint: Checkpoint) -> Reason:
    _, pinned = pairing.engine
    at = f" {pinned}" if pinned else ""
    message = (
        f"no source shows {engine}{at} running {pairing.variant.family} with {checkpoint.id} on {pairing.server.chip}"
    )
    return Reason("F030", message, {"fact": f"{engine} support of {pairing.variant.family} on {pairing.server.chip}"})
