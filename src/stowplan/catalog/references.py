"""A fact file in, findings out: names that do not resolve, rules that disagree, flags that no version knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from stowplan.catalog import Catalog, Shelf
from stowplan.diagnostics import Diagnostic, did_you_mean
from stowplan.located_yaml import Document, Path_
from stowplan.profiles.benchmark import BenchmarkSpec
from stowplan.profiles.device_layer import DeviceLayerSpec
from stowplan.profiles.engine import EngineSpec, Flag
from stowplan.profiles.hardware import ServerSpec
from stowplan.profiles.kinds import Profile
from stowplan.profiles.recipe import RecipeSpec
from stowplan.profiles.rule import Rule, When
from stowplan.profiles.variant import VariantSpec

_Finding = tuple[str, str, Path_, str]


def references(profile: Profile[Any], document: Document, catalog: Catalog) -> Iterator[Diagnostic]:
    """Findings beyond the schema on a file of the catalogue."""
    check = _CHECKS.get(type(profile.spec))
    if check is not None:
        for code, message, path, hint in check(profile.spec, catalog):
            yield Diagnostic(code, message, document.locate(("spec", *path)), hint=hint)


def _known(name: str, shelf: Shelf[Any], words: str, *path: str | int) -> Iterator[_Finding]:
    if name not in shelf:
        yield "C004", f"unknown {words} '{name}'", path, shelf.unknown(name)


def _server(spec: ServerSpec, catalog: Catalog) -> Iterator[_Finding]:
    yield from _known(spec.chip, catalog.chips, "chip", "chip")


def _variant(spec: VariantSpec, catalog: Catalog) -> Iterator[_Finding]:
    if spec.architecture_of:
        yield from _known(spec.architecture_of, catalog.variants, "variant", "architectureOf")
    for index, checkpoint in enumerate(spec.checkpoints):
        if checkpoint.converted:
            yield from _known(checkpoint.converted, catalog.quantizers, "quantizer", "checkpoints", index, "converted")


def _benchmark(spec: BenchmarkSpec, catalog: Catalog) -> Iterator[_Finding]:
    yield from _known(spec.server, catalog.servers, "server", "server")
    yield from _known(spec.engine, catalog.engines, "engine", "engine")
    yield from _checkpoint(spec, catalog)


def _checkpoint(spec: BenchmarkSpec | RecipeSpec, catalog: Catalog) -> Iterator[_Finding]:
    yield from _known(spec.variant, catalog.variants, "variant", "variant")
    if spec.variant in catalog.variants:
        ids = [c.id for c in catalog.variants[spec.variant].checkpoints]
        if spec.checkpoint not in ids:
            yield "C004", f"unknown checkpoint '{spec.checkpoint}'", ("checkpoint",), f"known: {', '.join(ids)}"


def _recipe(spec: RecipeSpec, catalog: Catalog) -> Iterator[_Finding]:
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


def _device_layer(spec: DeviceLayerSpec, catalog: Catalog) -> Iterator[_Finding]:
    for name, server in spec.servers.items():
        yield from _known(name, catalog.servers, "server", "servers", name)
        if server.preflight and server.preflight not in spec.preflights:
            yield (
                "C004",
                f"unknown preflight '{server.preflight}'",
                ("servers", name, "preflight"),
                f"known: {', '.join(spec.preflights)}",
            )


def _engine(spec: EngineSpec, catalog: Catalog) -> Iterator[_Finding]:
    yield from _disagreements(spec.rules, catalog)
    table = _flags(spec, catalog)
    if spec.extends:
        yield from _known(spec.extends, catalog.engines, "engine", "extends")
    for index, rule in enumerate(spec.rules):
        for flag in rule.set.flags:
            if flag not in table:
                yield (
                    "C006",
                    f"rule '{rule.id}' sets {flag}, which no version of the engine knows",
                    ("rules", index, "set", "flags", flag),
                    "",
                )
        for name in rule.set.env:
            if name not in spec.env:
                yield (
                    "C006",
                    f"rule '{rule.id}' sets {name}, which is not among the engine's variables",
                    ("rules", index, "set", "env", name),
                    "",
                )
    for name, field in spec.fields.items():
        if field.flag not in table:
            yield "C006", f"field '{name}' is {field.flag}, which no version of the engine knows", ("fields", name), ""


def _disagreements(rules: tuple[Rule, ...], catalog: Catalog) -> Iterator[_Finding]:
    """Two equally special rules that can hold together must not set one key differently."""
    for (i, first), (j, second) in combinations(enumerate(rules), 2):
        if len(first.when.keys()) != len(second.when.keys()) or _exclusive(first.when, second.when, catalog):
            continue
        for key in _leaves(first).keys() & _leaves(second).keys():
            if _leaves(first)[key] != _leaves(second)[key]:
                message = f"rules '{first.id}' and '{second.id}' are equally special and disagree on {'.'.join(key)}"
                yield (
                    "C005",
                    message,
                    ("rules", j, "id"),
                    f"the other is rule {i + 1} of the list; add a condition to one of them",
                )


def _exclusive(first: When, second: When, catalog: Catalog) -> bool:
    """Whether two conditions can never hold together, as far as lists, bounds and the known chips tell."""
    for key in first.keys() & second.keys():
        a, b = getattr(first, key), getattr(second, key)
        if key == "chip_family":
            if not any({*a} & {*chip.families} and {*b} & {*chip.families} for chip in catalog.chips.values()):
                return True
            continue
        if isinstance(a, tuple) and isinstance(b, tuple) and not {*a} & {*b}:
            return True
        if isinstance(a, int | str) and isinstance(b, int | str) and {_sign(a), _sign(b)} in ({"<", ">="}, {"<=", ">"}):
            return str(a).lstrip("<>=") == str(b).lstrip("<>=")
    return False


def _sign(comparison: int | str) -> str:
    return str(comparison).rstrip("0123456789. ")


def _leaves(rule: Rule) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}

    def walk(path: tuple[str, ...], value: object) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk((*path, key), inner)
        else:
            found[path] = value

    walk(("flags",), dict(rule.set.flags))
    walk(("env",), dict(rule.set.env))
    return found


_CHECKS: dict[type, Callable[[Any, Catalog], Iterator[_Finding]]] = {
    BenchmarkSpec: _benchmark,
    DeviceLayerSpec: _device_layer,
    EngineSpec: _engine,
    RecipeSpec: _recipe,
    ServerSpec: _server,
    VariantSpec: _variant,
}
