"""A plan's document in, the rows that an operator compares out: what runs where, what it carries, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stowplan.check.objects import mapping, sequence
from stowplan.fit.units import GIB

_BANDS = (
    ("ttft", "time to first token", "ttftMs", "ms"),
    ("tpot", "time per output token", "tpotMs", "ms"),
    ("throughput", "output tokens/s per device", "outputTokensPerSecondPerDevice", ""),
    ("costOutput", "cost per million output tokens", "costPerMillionOutputTokens", ""),
    ("costAll", "cost per million tokens in all", "costPerMillionTokens", ""),
    ("joules", "energy per output token", "joulesPerOutputToken", "J"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that a plan says: a stable key, its words, the value, and the value as people read it."""

    key: str
    label: str
    value: Any
    shown: str


def rows(plan: Mapping[str, Any]) -> Iterator[Row]:
    """Every row of a plan, what matters most first; a plan that found no layout has few."""
    pairing, roles = mapping(plan.get("pairing")), sequence(plan.get("roles"))
    layer, engine = mapping(plan.get("deviceLayer")), mapping(plan.get("engine"))
    yield _plain("verdict", "verdict", plan.get("verdict"))
    for key, label in (("variant", "variant"), ("server", "server"), ("useCase", "use case"), ("site", "site")):
        yield _plain(key, label, pairing.get(key))
    if layer:
        named = " ".join(str(layer[key]) for key in ("name", "version", "mode") if layer.get(key))
        yield Row("deviceLayer", "device layer", named, named)
    if roles:
        yield from _hardware(roles, layer.get("resourceName"))
        yield from _model(plan, engine)
        for role in roles:
            yield from _role(role, "" if len(roles) == 1 else f"{role.get('name')}.")
        yield from _estimate(mapping(roles[-1].get("estimate")))
        yield _plain("misses", "misses the objective", "; ".join(map(str, sequence(roles[-1].get("misses")))))
    yield _plain("kubernetes", "Kubernetes", pairing.get("kubernetes"))


def _hardware(roles: Sequence[Mapping[str, Any]], resource: object) -> Iterator[Row]:
    devices = sum(_number(r, "nodes") * _number(r, "devicesPerNode") * _number(r, "replicas") for r in roles)
    nodes = sum(_number(r, "nodes") * _number(r, "replicas") for r in roles)
    yield Row("devices", "devices", devices, f"{devices:,} x {resource}")
    yield Row("nodes", "nodes", nodes, f"{nodes:,}")
    for role in roles:
        prefix = "" if len(roles) == 1 else f"{role.get('name')}."
        yield _plain(f"{prefix}replicas", f"{_words(prefix)}replicas", role.get("replicas"))


def _model(plan: Mapping[str, Any], engine: Mapping[str, Any]) -> Iterator[Row]:
    checkpoint, quantization = mapping(plan.get("checkpoint")), mapping(plan.get("quantization"))
    size = checkpoint.get("bytes")
    words = f"{checkpoint.get('id')} ({quantization.get('decision')}, {checkpoint.get('quantization')})"
    yield Row("checkpoint", "checkpoint", checkpoint.get("id"), words)
    if isinstance(size, int):
        yield Row("checkpointBytes", "checkpoint's size", size, f"{size / 1e9:,.1f} GB")
    yield _plain("revision", "revision of the checkpoint", checkpoint.get("revision"))
    yield _plain("engine", "engine", f"{engine.get('name')} {engine.get('version')}")
    yield _plain("image", "image", engine.get("image"))
    yield _plain("driver", "oldest driver", engine.get("driver"))
    libraries = ", ".join(f"{name} {version}" for name, version in mapping(engine.get("libraries")).items())
    yield _plain("libraries", "image built with", libraries)
    yield _plain("recipe", "follows", plan.get("recipe"))


def _role(role: Mapping[str, Any], prefix: str) -> Iterator[Row]:
    sizes, capacity, words = mapping(role.get("parallelism")), mapping(role.get("capacity")), _words(prefix)
    layout = " ".join(f"{name}={size}" for name, size in sizes.items())
    on = f"{layout} on {role.get('nodes')} x {role.get('devicesPerNode')} devices"
    yield Row(f"{prefix}layout", f"{words}layout", layout, on)
    for key, label in (("maxModelLen", "context served"), ("longestContext", "longest context that fits")):
        yield _count(f"{prefix}{key}", f"{words}{label}", capacity.get(key), "tokens")
    device = mapping(mapping(role.get("memory")).get("device"))
    weights = mapping(device.get("weights")).get("total")
    for key, label, size in (
        ("weights", "weights on a device", weights),
        ("kvCache", "cache on a device", device.get("kvCache")),
        ("free", "free on a device", device.get("free")),
    ):
        if isinstance(size, int):
            yield Row(f"{prefix}{key}", f"{words}{label}", size, f"{size / GIB:,.1f} GiB")
    headroom = role.get("headroom")
    if headroom is not None:
        shown = f"{headroom:g} x the requests that are asked for"
        yield Row(f"{prefix}headroom", f"{words}memory headroom", headroom, shown)
    yield _count(f"{prefix}logTokens", f"{words}capacity in the engine's log", capacity.get("logTokens"), "tokens")
    requests = capacity.get("requestsAtUseCase")
    if requests is not None:
        total = round(requests * _number(sizes, "dp") * _number(role, "replicas"))
        yield Row(f"{prefix}requests", f"{words}requests of the use case", total, f"{total:,}")


def _estimate(bands: Mapping[str, Any]) -> Iterator[Row]:
    currency = str(bands.get("currency", ""))
    for key, label, field, unit in _BANDS:
        band = sequence(bands.get(field))
        if len(band) == 3:  # noqa: PLR2004 - low, middle, high
            low, middle, high = (f"{value:,.0f}" if value >= 100 else f"{value:,.2f}" for value in band)  # noqa: PLR2004
            of = unit or (currency if key.startswith("cost") else "")
            yield Row(key, label, list(band), f"{middle} ({low} to {high}) {of}".rstrip())


def _plain(key: str, label: str, value: Any) -> Row:
    return Row(key, label, value, "-" if value in (None, "") else str(value))


def _count(key: str, label: str, value: Any, unit: str) -> Row:
    return Row(key, label, value, f"{value:,} {unit}" if isinstance(value, int) else "-")


def _number(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    return value if isinstance(value, int) else 0


def _words(prefix: str) -> str:
    return f"{prefix.removesuffix('.')}: " if prefix else ""
