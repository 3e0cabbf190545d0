"""The catalogue in; what other files say of one entry out: which engines run it, and which files name it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from stowplan.catalog import Catalog
from stowplan.catalog.outline import Row, as_text
from stowplan.profiles.engine import EngineSpec, Support
from stowplan.profiles.variant import VariantSpec
from stowplan.versions import in_range


def runs_on(catalog: Catalog, families: Collection[str]) -> Iterator[Row]:
    """What engines are shown to run on a chip with these families: the first listed version with an image for it."""
    for name, engine in catalog.engines.items():
        for support in engine.supports:
            if {*support.chip_families} & {*families}:
                yield _supported(support, (support.variant_family, name), _listed(engine, support, [families]))


def run_by(catalog: Catalog, family: str) -> Iterator[Row]:
    """What engines are shown to run a variant family, and on which chip families."""
    every = [chip.families for chip in catalog.chips.values()]
    for name, engine in catalog.engines.items():
        for support in engine.supports:
            if support.variant_family == family:
                yield _supported(support, (name,), _listed(engine, support, every))


def _supported(support: Support, path: tuple[str, ...], listed: list[str]) -> Row:
    fields = [("chipFamilies", as_text(support.chip_families)), ("draft", as_text(support.draft))]
    fields += [("versions", support.versions), ("listed", as_text(listed) or "none with an image")]
    first = f"from {listed[0]}" if listed else "no listed version"
    return Row(("runs", *path), first, fields=tuple(fields), source=support.source)


def _listed(engine: EngineSpec, support: Support, chips: Iterable[Collection[str]]) -> list[str]:
    """Versions of the engine's file that lie in the range and bring an image for one of the chips that it is about."""
    meant = [{*families} for families in chips if {*families} & {*support.chip_families}]
    return [
        version.version
        for version in engine.versions
        if in_range(version.version, support.versions) and any({*version.images} & families for families in meant)
    ]


def parsers(catalog: Catalog, name: str, variant: VariantSpec) -> Iterator[Row]:
    """Parser flags that each engine's rules give a variant, whatever it runs on."""
    for engine_name, engine in catalog.engines.items():
        if all(support.variant_family != variant.family for support in engine.supports):
            continue
        flags: dict[str, Any] = {}
        sources: dict[str, None] = {}
        for rule in sorted(engine.rules, key=lambda rule: len(rule.when.keys())):
            found = {flag: value for flag, value in rule.set.flags.items() if flag.endswith("parser")}
            of_variant = rule.when.keys() <= {"variant", "variant_family"}
            fits = name in (rule.when.variant or (name,))
            fits &= variant.family in (rule.when.variant_family or (variant.family,))
            if found and of_variant and fits:
                flags |= found
                sources[rule.source] = None
        if flags:
            yield Row(("parsers", engine_name), as_text(flags), source="; ".join(sources))


def named_by(catalog: Catalog, kind: str, name: str) -> Iterator[Row]:
    """Files of other kinds that name an entry."""
    for other, kinds in _NAMES.items():
        names = kinds.get(kind)
        if names is not None:
            found = [entry.name for entry in catalog.shelves[other].entries() if name in names(entry.spec)]
            if found:
                yield Row(("namedBy", other), ", ".join(found))


_Names = Callable[[Any], Collection[str]]
_NAMES: dict[str, dict[str, _Names]] = {
    "servers": {"chips": lambda spec: [spec.chip]},
    "variants": {
        "variants": lambda spec: [spec.architecture_of],
        "quantizers": lambda spec: [checkpoint.converted for checkpoint in spec.checkpoints],
    },
    "engines": {"engines": lambda spec: [spec.extends], "platforms": lambda spec: [spec.platform]},
    "device-layers": {"servers": lambda spec: spec.servers},
    "quantizers": {"engines": lambda spec: spec.read_by},
    "recipes": {
        "variants": lambda spec: [spec.variant],
        "servers": lambda spec: spec.servers,
        "chips": lambda spec: spec.chips,
        "engines": lambda spec: [spec.engine],
        "use-cases": lambda spec: spec.use_cases,
        "checkpoints": lambda spec: [spec.checkpoint],
    },
    "sites": {"platforms": lambda spec: [spec.platform]},
    "pairings": {
        "variants": lambda spec: [spec.variant],
        "servers": lambda spec: [spec.server],
        "use-cases": lambda spec: [spec.use_case],
        "sites": lambda spec: [spec.site],
        "engines": lambda spec: [(spec.engine or "").partition("@")[0]],
        "device-layers": lambda spec: [spec.device_layer],
        "platforms": lambda spec: [spec.platform],
    },
}
"""By kind of file: the kinds that it names, and where."""
