"""A fact file in, findings out: names that do not resolve, flags that a version does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stowplan.catalog import Catalog, Shelf
from stowplan.catalog.disagreements import Finding, disagreements
from stowplan.diagnostics import Diagnostic, did_you_mean
from stowplan.located_yaml import Document, Path_
from stowplan.profiles.benchmark import BenchmarkSpec
from stowplan.profiles.device_layer import DeviceLayerSpec, Mode
from stowplan.profiles.engine import EngineSpec, Flag, Version
from stowplan.profiles.kinds import Profile
from stowplan.profiles.quantizer import KEEPS, QuantizerSpec
from stowplan.profiles.recipe import RecipeSpec
from stowplan.profiles.rule import When
from stowplan.profiles.site import SiteSpec
from stowplan.profiles.variant import VariantSpec
from stowplan.versions import in_range


def references(profile: Profile[Any], document: Document, catalog: Catalog) -> Iterator[Diagnostic]:
    """Findings beyond the schema on a file of the catalogue."""
    missing = list(catalog.of_kind(profile.kind).missing(profile.spec, document))
    yield from missing
    check = _CHECKS.get(type(profile.spec))
    if check is not None and not missing:
        for code, message, path, hint in check(profile.spec, catalog):
            yield Diagnostic(code, message, document.locate(("spec", *path)), hint=hint)


def _known(name: str, shelf: Shelf[Any], words: str, *path: str | int) -> Iterator[Finding]:
    if name not in shelf:
        yield "C004", f"unknown {words} '{name}'", path, shelf.unknown(name)


def _variant(spec: VariantSpec, catalog: Catalog) -> Iterator[Finding]:
    for index in range(len(spec.checkpoints)):
        yield from _quantized(spec, index, catalog)
        yield from _readers(spec.checkpoints[index].read_by, catalog, "checkpoints", index)
        yield from _added_blocks(spec, index, catalog)


def _quantized(spec: VariantSpec, index: int, catalog: Catalog) -> Iterator[Finding]:
    """The policy of a checkpoint is one of its quantizer, and what it starts from is there."""
    checkpoint, at = spec.checkpoints[index], ("checkpoints", index)
    name = checkpoint.converted or checkpoint.made_by
    if name is None or checkpoint.policy is None:
        return
    policy = catalog.quantizers[name].policy(checkpoint.policy)
    if policy is None:
        known = [policy.id for policy in catalog.quantizers[name].policies]
        hint = did_you_mean(checkpoint.policy, known) or f"known: {', '.join(known)}"
        yield "C004", f"{name} has no policy '{checkpoint.policy}'", (*at, "policy"), hint
    elif checkpoint.converted and policy.reads and spec.checkpoint(policy.reads) is None:
        yield "C004", f"the policy reads {policy.reads}, which this variant does not list", (*at, "policy"), ""


def _quantizer(spec: QuantizerSpec, catalog: Catalog) -> Iterator[Finding]:
    """Policies use the program's own schemes, and engines have the loaders that they are said to read it with."""
    for index, policy in enumerate(spec.policies):
        for key, scheme in policy.classes.items():
            if scheme not in (*spec.schemes, *KEEPS):
                known = f"known: {', '.join((*spec.schemes, *KEEPS))}"
                yield "C004", f"unknown scheme '{scheme}'", ("policies", index, "classes", key), known
    yield from _readers(spec.read_by, catalog)


def _readers(read_by: Mapping[str, str], catalog: Catalog, *at: str | int) -> Iterator[Finding]:
    """Engines and their loaders, or those of the engine that they extend."""
    for engine, loader in read_by.items():
        yield from _known(engine, catalog.engines, "engine", *at, "readBy", engine)
        if engine in catalog.engines:
            base = catalog.engines[engine].extends or engine
            own = catalog.engines[engine].loaders or catalog.engines[base].loaders
            if loader not in own:
                yield "C004", f"{engine} has no loader '{loader}'", (*at, "readBy", engine), did_you_mean(loader, own)


def _added_blocks(spec: VariantSpec, index: int, catalog: Catalog) -> Iterator[Finding]:
    """Blocks that a checkpoint adds and that its architecture does not describe."""
    name = spec.architecture_of
    described = catalog.variants[name].architecture if name and name in catalog.variants else spec.architecture
    blocks = described.blocks if described else {}
    for place, block in enumerate(spec.checkpoints[index].adds):
        if block not in blocks:
            path = ("checkpoints", index, "adds", place)
            yield "C004", f"unknown block '{block}'", path, did_you_mean(block, blocks)


def _benchmark(spec: BenchmarkSpec, catalog: Catalog) -> Iterator[Finding]:
    yield from _known(spec.server, catalog.servers, "server", "server")
    yield from _known(spec.engine, catalog.engines, "engine", "engine")
    yield from _checkpoint(spec, catalog)


def _checkpoint(spec: BenchmarkSpec | RecipeSpec, catalog: Catalog) -> Iterator[Finding]:
    yield from _known(spec.variant, catalog.variants, "variant", "variant")
    if spec.variant in catalog.variants:
        ids = [c.id for c in catalog.variants[spec.variant].checkpoints]
        if spec.checkpoint not in ids:
            yield "C004", f"unknown checkpoint '{spec.checkpoint}'", ("checkpoint",), f"known: {', '.join(ids)}"


def _recipe(spec: RecipeSpec, catalog: Catalog) -> Iterator[Finding]:
    yield from _checkpoint(spec, catalog)
    yield from _known(spec.engine, catalog.engines, "engine", "engine")
    for index, name in enumerate(spec.servers):
        yield from _known(name, catalog.servers, "server", "servers", index)
    for index, name in enumerate(spec.chips):
        yield from _known(name, catalog.chips, "chip", "chips", index)
    if spec.engine in catalog.engines:
        table = _flags(catalog.engines[spec.engine], catalog)
        for role, settings in spec.roles.items():
            for flag in settings.set.flags:
                if flag not in table:
                    message = f"{spec.engine} has no flag {flag} in any version"
                    yield "C006", message, ("roles", role, "set", "flags", flag), did_you_mean(flag, table)


def _flags(engine: EngineSpec, catalog: Catalog) -> dict[str, Flag]:
    """Flags of an engine with those of the one that it extends."""
    base = engine.extends
    return {**(catalog.engines[base].flags if base and base in catalog.engines else {}), **engine.flags}


def _device_layer(spec: DeviceLayerSpec, catalog: Catalog) -> Iterator[Finding]:
    preflights = {*spec.preflights}
    if spec.preflights_of is not None:
        yield from _known(spec.preflights_of, catalog.device_layers, "device layer", "preflightsOf")
        if spec.preflights_of in catalog.device_layers:
            preflights |= {*catalog.device_layers[spec.preflights_of].preflights}
    for name, server in spec.servers.items():
        yield from _known(name, catalog.servers, "server", "servers", name)
        if server.preflight and server.preflight not in preflights:
            yield (
                "C004",
                f"unknown preflight '{server.preflight}'",
                ("servers", name, "preflight"),
                f"known: {', '.join(sorted(preflights))}",
            )
    for name, mode in spec.modes.items():
        yield from _mode(spec, name, mode)


def _mode(spec: DeviceLayerSpec, name: str, mode: Mode) -> Iterator[Finding]:
    """Each thing that a mode leaves out is there, or the mode would change less than it says."""
    components, at = spec.components, ("modes", name)
    for field, given, known in (
        ("withoutComponents", mode.without_components, components),
        ("withoutArgs", mode.without_args, components),
        ("withoutHostPaths", mode.without_host_paths, components),
        ("withoutServers", mode.without_servers, spec.servers),
    ):
        for entry in given:
            if entry not in known:
                yield "C004", f"'{entry}' is not in this layer", (*at, field), did_you_mean(entry, known)
    for component, args in mode.without_args.items():
        for arg in args:
            if component in components and arg not in components[component].args:
                yield "C004", f"{component} has no argument {arg}", (*at, "withoutArgs", component), ""
    for component, paths in mode.without_host_paths.items():
        held = {p.name for p in components[component].host_paths} if component in components else {*paths}
        for path in paths:
            if path not in held:
                yield "C004", f"{component} has no host path {path}", (*at, "withoutHostPaths", component), ""


def _site(spec: SiteSpec, catalog: Catalog) -> Iterator[Finding]:
    layers = catalog.device_layers
    for name, listed in spec.servers.items():
        yield from _known(name, catalog.servers, "server", "servers", name)
        wanted = listed.device_layer
        if wanted is not None:
            yield from _known(wanted, layers, "device layer", "servers", name, "deviceLayer")
            if wanted in layers and name not in layers[wanted].servers:
                known = ", ".join(layers[wanted].servers)
                message = f"the device layer {wanted} does not serve {name}"
                yield "P026", message, ("servers", name, "deviceLayer"), f"it serves: {known}"
    for name in spec.pairings:
        yield from _known(name, catalog.pairings, "pairing", "pairings", name)
    for name, mode in spec.device_layer_modes.items():
        yield from _known(name, layers, "device layer", "deviceLayerModes", name)
        if name in layers and mode not in layers[name].modes:
            known = ", ".join(layers[name].modes) or "none"
            yield "P026", f"{name} has no mode '{mode}'", ("deviceLayerModes", name), f"known: {known}"


def _engine(spec: EngineSpec, catalog: Catalog) -> Iterator[Finding]:
    yield from disagreements(spec.rules, catalog)
    for index, rule in enumerate(spec.rules):
        words, versions = f"rule '{rule.id}' sets", _holding(rule.when, spec, catalog)
        for flag, value in rule.set.flags.items():
            at = ("rules", index, "set", "flags", flag)
            yield from _flag_known(flag, versions if value is not None else (), spec, catalog, words, at)
        for name in rule.set.env:
            yield from _variable_known(name, spec, words, ("rules", index, "set", "env", name))
    for index, limit in enumerate(spec.flag_rules):
        words, setting = f"flag rule '{limit.id}' limits", ("flagRules", index, "setting")
        kind, name = limit.setting.split(".")[:2]
        if kind == "flags":
            yield from _flag_known(name, _holding(limit.when, spec, catalog), spec, catalog, words, setting)
        else:
            yield from _variable_known(name, spec, words, setting)
    for place, flag in _everywhere(spec):
        yield from _flag_known(flag, spec.versions, spec, catalog, f"'{place[-1]}' is", place)


def _everywhere(spec: EngineSpec) -> Iterator[tuple[Path_, str]]:
    """Flags that plans write whatever the version."""
    for name, field in spec.fields.items():
        yield ("fields", name), field.flag
    yield ("memory", "utilizationFlag"), spec.memory.utilization_flag
    for name, flag in (spec.multi_node.flags if spec.multi_node else {}).items():
        yield ("multiNode", "flags", name), flag
    if spec.endpoint.api_key_flag:
        yield ("endpoint", "apiKeyFlag"), spec.endpoint.api_key_flag


def _holding(when: When, spec: EngineSpec, catalog: Catalog) -> tuple[Version, ...]:
    """The engine's versions for which a condition can hold, as far as version, images, and support tell."""
    families = [{*chip.families} for name, chip in catalog.chips.items() if when.chip is None or name in when.chip]
    families = [some for some in families if when.chip_family is None or some & {*when.chip_family}]

    def possible(version: Version) -> bool:
        runs = [s for s in spec.supports if in_range(version.version, s.versions)]
        runs = [s for s in runs if when.variant_family is None or s.variant_family in when.variant_family]
        runs = [s for s in runs if when.draft is None or {*s.draft} & {*when.draft}]
        shown = any(some & {*version.images} and some & {*s.chip_families} for some in families for s in runs)
        return in_range(version.version, when.version) and (shown or not spec.supports)

    return tuple(version for version in spec.versions if possible(version))


def _flag_known(
    flag: str, versions: Sequence[Version], spec: EngineSpec, catalog: Catalog, words: str, path: Path_
) -> Iterator[Finding]:
    """A flag that no version has, or that one of these versions does not have."""
    base = catalog.engines[spec.extends].flags if spec.extends and spec.extends in catalog.engines else {}
    own, inherited = spec.flags.get(flag), base.get(flag)
    if own is None and inherited is None:
        known = did_you_mean(flag, [*spec.flags, *base])
        yield "C006", f"{words} {flag}, which no version of the engine knows", path, known
        return
    lacking = [
        version.version
        for version in versions
        if not (own and in_range(version.version, own.versions))
        and not (inherited and in_range(version.upstream, inherited.versions))
    ]
    if lacking:
        ranges = [str(f.versions) for f in (own, inherited) if f and f.versions]
        hint = f"versions that know it: {' or '.join(ranges)}; give the rule such a range"
        yield "C006", f"{words} {flag}, which the engine does not know at {', '.join(lacking)}", path, hint


def _variable_known(name: str, spec: EngineSpec, words: str, path: Path_) -> Iterator[Finding]:
    if name not in spec.env:
        yield "C006", f"{words} {name}, which is not among the engine's variables", path, did_you_mean(name, spec.env)


_CHECKS: dict[type, Callable[[Any, Catalog], Iterator[Finding]]] = {
    BenchmarkSpec: _benchmark,
    DeviceLayerSpec: _device_layer,
    EngineSpec: _engine,
    QuantizerSpec: _quantizer,
    RecipeSpec: _recipe,
    SiteSpec: _site,
    VariantSpec: _variant,
}
