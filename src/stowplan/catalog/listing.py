"""The catalogue in; one row for each entry, missing fact or image out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stowplan.catalog import Catalog, Shelf
from stowplan.catalog.facts import statements

Row = dict[str, Any]


def rows(shelf: Shelf[Any], catalog: Catalog) -> Iterator[Row]:
    """What people look for in an entry of that kind; always with `name`."""
    describe = _ROWS.get(shelf.kind.name, _titled)
    for entry in shelf.entries():
        yield {"name": entry.name, **describe(entry.spec, catalog)}


def unknown_facts(catalog: Catalog) -> Iterator[Row]:
    """Facts that are unknown, and what would settle them."""
    for statement in statements(catalog):
        if "value" in statement.data and statement.data["value"] is None:
            bounds = statement.data.get("bounds")
            yield {
                "kind": statement.kind,
                "name": statement.name,
                "fact": statement.key,
                "bounds": [bounds["low"], bounds["high"]] if bounds else [],
                "settledBy": statement.data.get("settledBy", ""),
            }


def images(catalog: Catalog) -> Iterator[Row]:
    """Every container image that a site may need to mirror."""
    for name, engine in catalog.engines.items():
        for version in engine.versions:
            for family, image in version.images.items():
                yield {"name": image or "(site)", "usedBy": f"engine {name} {version.version}", "for": family}
        routers = {r.image: r.name for r in (handed.router for handed in engine.transfers) if r and r.image}
        for image, router in routers.items():
            yield {"name": image, "usedBy": f"engine {name}", "for": router}
    for name, layer in catalog.device_layers.items():
        for component, spec in layer.components.items():
            if spec.kind not in ("host", "Config"):
                yield {"name": spec.image or "(site)", "usedBy": f"device layer {name}", "for": component}

    for name, quantizer in catalog.quantizers.items():
        if quantizer.run and quantizer.run.image:
            yield {"name": quantizer.run.image, "usedBy": f"quantizer {name}", "for": "its Job"}


def _titled(spec: Any, _catalog: Catalog) -> Row:
    return {"title": spec.title}


def _chip(spec: Any, _catalog: Catalog) -> Row:
    return {
        "title": spec.title,
        "vendor": spec.vendor,
        "memoryMib": spec.memory_mib.value,
        "bandwidthGbs": spec.memory_bandwidth.value,
        "formats": list(spec.formats.native),
        "families": list(spec.families),
        "status": spec.status,
    }


def _server(spec: Any, catalog: Catalog) -> Row:
    chip = catalog.chips[spec.chip]
    return {
        "title": spec.title,
        "vendor": spec.vendor,
        "chip": spec.chip,
        "devicesPerServer": spec.devices.value,
        "memoryMib": chip.memory_mib.value,
        "formats": list(chip.formats.native),
    }


def _variant(spec: Any, _catalog: Catalog) -> Row:
    return {
        "title": spec.title,
        "family": spec.family,
        "released": spec.released,
        "kind": spec.kind,
        "maxContext": spec.max_context.value,
        "checkpoints": [c.id for c in spec.checkpoints],
    }


def _use_case(spec: Any, _catalog: Catalog) -> Row:
    return {
        "title": spec.title,
        "inputP50": spec.input_tokens.p50,
        "inputP99": spec.input_tokens.p99,
        "outputP50": spec.output_tokens.p50,
        "prefixReuse": spec.prefix_reuse.value,
        "concurrency": spec.load.concurrency,
        "ttftMs": spec.objectives.ttft_ms,
        "tpotMs": spec.objectives.tpot_ms,
    }


def _engine(spec: Any, catalog: Catalog) -> Row:
    base = catalog.engines[spec.extends].flags if spec.extends else {}
    return {
        "title": spec.title,
        "default": spec.default_version,
        "plansFor": ", ".join(dict.fromkeys(s.variant_family for s in spec.supports)) or "nothing",
        "flags": len({**base, **spec.flags}),
        "chipFamilies": list(spec.chip_families),
        "versions": [v.version for v in spec.versions],
    }


def _device_layer(spec: Any, _catalog: Catalog) -> Row:
    return {
        "title": spec.title,
        "version": spec.version,
        "vendor": spec.vendor,
        "resources": sorted({s.resource for s in spec.servers.values()}),
        "servers": list(spec.servers),
    }


def _recipe(spec: Any, _catalog: Catalog) -> Row:
    return {
        "title": spec.title,
        "variant": spec.variant,
        "engine": spec.engine,
        "evidence": spec.evidence,
        "servers": list(spec.servers),
    }


def _pairing(spec: Any, _catalog: Catalog) -> Row:
    return {"variant": spec.variant, "server": spec.server, "useCase": spec.use_case, "site": spec.site}


_ROWS: dict[str, Callable[[Any, Catalog], Row]] = {
    "Chip": _chip,
    "DeviceLayer": _device_layer,
    "Engine": _engine,
    "Pairing": _pairing,
    "Recipe": _recipe,
    "Server": _server,
    "UseCase": _use_case,
    "Variant": _variant,
}
