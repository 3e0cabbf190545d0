"""A bundle in; its quantization files out, each set against the model that it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from stowplan.catalog import Catalog
from stowplan.check.objects import Bundle, mapping
from stowplan.check.quantization import quantization_files
from stowplan.check.quantization.coverage import Coverage
from stowplan.check.quantization.rules import QuantizationFile
from stowplan.fit.names import Module, Modules, modules
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.hardware import ChipSpec
from stowplan.profiles.precision import Loader


@lru_cache(maxsize=8)
def coverages(bundle: Bundle) -> tuple[Coverage, ...]:
    """Each file with the model that it names, or that the plan beside it serves, or that it suits best."""
    if bundle.catalog is None:
        return ()
    found = []
    for file in quantization_files(bundle.beside, bundle.catalog):
        models = [Coverage(file, model) for model in _models(file, bundle, bundle.catalog)]
        if models:
            found.append(min(models, key=_faults))
    return tuple(found)


def _faults(coverage: Coverage) -> int:
    halves = sum(None in rules and len(rules) > 1 for rules in coverage.fates.values())
    return len(coverage.dead) + len(coverage.doubled) + len(forgotten(coverage)) + halves


def _models(file: QuantizationFile, bundle: Bundle, catalog: Catalog) -> Iterator[Modules]:
    """The models that a file may be for, each once."""
    planned = str(mapping(mapping(bundle.plan).get("pairing")).get("variant"))
    named = [planned] if planned in catalog.variants else [n for n in catalog.variants if n in file.meant_for]
    seen: list[Modules] = []
    for name in named or catalog.variants:
        model = modules(catalog.architecture(name), catalog.variants[name].native.draft)
        if model not in seen and file.spelling in model.spellings:
            seen.append(model)
            yield model


def forgotten(coverage: Coverage) -> Mapping[str, Module]:
    """Parts of the draft that no rule reaches and nothing keeps, while the same parts of the main layers are quantized."""
    fates = coverage.fates
    trunk = {
        key.partition(".")[2] for key, rules in fates.items() if None not in rules and not key.startswith("draft.")
    }
    found = {}
    for key, rules in fates.items():
        where, _, part = key.partition(".")
        left = rules.get(None)
        if where == "draft" and part in trunk and left is not None and not coverage.kept_on_purpose(left):
            found[key] = left
    return found


def loaders(coverage: Coverage, bundle: Bundle) -> Mapping[str, Loader]:
    """The loaders that may read what the file makes: the planned engine's, or those of all engines that can."""
    engines = bundle.catalog.engines if bundle.catalog else {}
    planned, on = planned_engine(bundle), chip(bundle)
    found: dict[str, Loader] = {}
    for engine, name in coverage.file.spec.read_by.items():
        spec: EngineSpec | None = engines.get(engine)
        if spec and name in spec.loaders and planned in (None, engine):
            wanted = spec.loaders[name].when.chip_family
            if on is None or wanted is None or {*wanted} & {*on[1].families}:
                found[f"{engine} {name}"] = spec.loaders[name]
    return found


def planned_engine(bundle: Bundle) -> str | None:
    """The engine of the plan beside the file; one without loaders of its own stands for that which it extends."""
    name = mapping(mapping(bundle.plan).get("engine")).get("name")
    if bundle.catalog is None or not isinstance(name, str) or name not in bundle.catalog.engines:
        return None
    spec = bundle.catalog.engines[name]
    return spec.extends if spec.extends and not spec.loaders else name


def chip(bundle: Bundle) -> tuple[str, ChipSpec] | None:
    """The chip of the plan beside the file."""
    server = str(mapping(mapping(bundle.plan).get("pairing")).get("server"))
    if bundle.catalog is None or server not in bundle.catalog.servers:
        return None
    name = bundle.catalog.servers[server].chip
    return name, bundle.catalog.chips[name]
