"""The JSON Schema of a kind of file and a catalogue in; the schema with the names that exist, for editors to offer, out.

A name is offered and never demanded: a folder of one's own may have others, and `check` says which exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.catalog import Catalog
from stowplan.profiles.engine import EngineSpec, Version
from stowplan.profiles.schema import json_schema
from stowplan.versions import in_range

_SHELVES: Mapping[str, Mapping[str, str]] = {
    "BenchmarkSpec": {"variant": "Variant", "server": "Server", "engine": "Engine"},
    "PairingSpec": {
        "variant": "Variant",
        "server": "Server",
        "useCase": "UseCase",
        "site": "Site",
        "deviceLayer": "DeviceLayer",
    },
    "RecipeSpec": {
        "variant": "Variant",
        "servers": "Server",
        "chips": "Chip",
        "engine": "Engine",
        "useCases": "UseCase",
    },
    "ServerSpec": {"chip": "Chip"},
    "SiteServer": {"deviceLayer": "DeviceLayer"},
}
"""Model and field to the kind of file that it names."""
_ANNOTATIONS = ("title", "description", "default")

Names = Mapping[str, str]
"""What is offered, with what it is."""


def editor_schema(kind: str, catalog: Catalog) -> dict[str, Any]:
    """Draft-07 schema of a kind of file with the catalogue's names, their titles, and flags that went away."""
    schema = json_schema(kind)
    definitions = schema["definitions"]
    for model, fields in _SHELVES.items():
        for field, shelf in fields.items() if model in definitions else ():
            _offer(definitions[model]["properties"], field, _titles(shelf, catalog))
    if kind == "Pairing":
        properties = definitions["PairingSpec"]["properties"]
        _offer(properties, "engine", dict(_engines(catalog)))
        _offer(properties, "checkpoint", dict(_checkpoints(catalog)))
        properties["set"] = {**properties["set"], "properties": dict(sorted(_pins(catalog)))}
    return schema


def _offer(properties: dict[str, Any], field: str, names: Names) -> None:
    """A field (or the items of its list) that takes what it took, and for which these names are offered."""
    schema = properties[field]
    if schema.get("type") == "array":
        properties[field] = {**schema, "items": _offered(schema["items"], names)}
    else:
        properties[field] = _offered(schema, names)


def _offered(schema: Mapping[str, Any], names: Names) -> dict[str, Any]:
    said = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    taken = {key: value for key, value in schema.items() if key not in said}
    offered = {"enum": list(names), "enumDescriptions": list(names.values())}
    return {**said, "anyOf": [offered, *taken.pop("anyOf", []), *([taken] if taken else [])]}


def _titles(kind: str, catalog: Catalog) -> dict[str, str]:
    """Every file of a kind, with its title and what is not in the shops."""
    found = {}
    for name, spec in catalog.of_kind(kind).items():
        status = getattr(spec, "status", "shipping")
        found[name] = spec.title if status == "shipping" else f"{spec.title} ({status})"
    return found


def _engines(catalog: Catalog) -> Iterator[tuple[str, str]]:
    for name, engine in catalog.engines.items():
        yield name, f"{engine.title}; {engine.default_version} unless a recipe shows another"
        yield from ((f"{name}@{version.version}", _release(engine, version)) for version in engine.versions)


def _release(engine: EngineSpec, version: Version) -> str:
    bad = [b for b in engine.known_bad if not b.when.keys() and in_range(version.version, b.versions)]
    return "; ".join([f"released {version.released}", *(f"{b.effect}: {b.reason}" for b in bad)])


def _checkpoints(catalog: Catalog) -> Iterator[tuple[str, str]]:
    for name, variant in catalog.variants.items():
        for checkpoint in variant.checkpoints:
            yield checkpoint.id, f"{name}: {checkpoint.format}, by {checkpoint.producer}"


def _pins(catalog: Catalog) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every engine flag, with the versions that know it; one that no newest version knows is deprecated."""
    known: dict[str, list[str]] = {}
    alive: set[str] = set()
    for name, engine in catalog.engines.items():
        newest = engine.versions[-1].version
        for flag, spec in engine.flags.items():
            known.setdefault(flag, []).append(f"{name}{f' {spec.versions}' if spec.versions else ''}: {spec.type}")
            alive |= {flag} if in_range(newest, spec.versions) else set()
    for flag, engines in known.items():
        gone = {} if flag in alive else {"deprecated": True, "deprecationMessage": f"known to {', '.join(engines)}"}
        yield f"flags.{flag}", {"description": "; ".join(engines), **gone}
