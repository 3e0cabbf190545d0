"""A plan's document as text for people: what runs where, what fills a device, what it carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stowplan.fit.units import GIB


def summary(document: dict[str, Any]) -> str:
    """The plan on one screen."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    pairing = document["pairing"]
    yield f"{pairing['variant']} on {pairing['server']} for {pairing['useCase']}: {document['verdict']}"
    for reason in document["reasons"]:
        yield f"  {reason['code']} {reason['message']}"
    if "roles" in document:
        yield from _chosen(document)
    for assumption in document["assumptions"]:
        yield f"  assumes     {assumption}"
    for source in document["sources"]:
        yield f"  source      {source}"


def _chosen(document: dict[str, Any]) -> Iterator[str]:
    engine = document["engine"]
    yield f"  checkpoint  {document['checkpoint']['id']} ({document['quantization']['decision']}, {document['checkpoint']['bytes'] / 1e9:,.1f} GB)"
    yield f"  engine      {engine['name']} {engine['version']}  {engine['image'] or '(no public image: the site must name one)'}"
    for role in document["roles"]:
        yield from _role(document, role)
    bands = document["roles"][-1]["estimate"]
    if bands:
        yield (
            f"  estimate    TTFT {_band(bands['ttftMs'])} ms, TPOT {_band(bands['tpotMs'])} ms, "
            f"{_band(bands['outputTokensPerSecondPerDevice'])} output tokens/s for each device at {bands['concurrency']} in flight"
        )
        yield from _cost(bands)


def _cost(bands: dict[str, Any]) -> Iterator[str]:
    """What the site's prices and power make of it."""
    parts = [
        f"{_amounts(bands[key])} {bands['currency']} for a million {tokens}".replace("  ", " ")
        for key, tokens in (("costPerMillionOutputTokens", "output tokens"), ("costPerMillionTokens", "tokens in all"))
        if key in bands
    ]
    if "joulesPerOutputToken" in bands:
        parts.append(f"{_amounts(bands['joulesPerOutputToken'])} J for each output token")
    if parts:
        yield f"  cost        {', '.join(parts)}"


def _amounts(values: list[float]) -> str:
    """A band of small amounts."""
    low, middle, high = values
    return f"{middle:,.2f} ({low:,.2f} to {high:,.2f})"


def _role(document: dict[str, Any], role: dict[str, Any]) -> Iterator[str]:
    capacity, devices = role["capacity"], role["nodes"] * role["devicesPerNode"]
    name = "" if len(document["roles"]) == 1 else f"{role['name']} of "
    yield f"  devices     {name}{devices} x {document['deviceLayer']['resourceName']} on {role['nodes']} node(s), {role['replicas']} replica(s)"
    recipe = f"  follows {document['recipe']}" if document["recipe"] else ""
    yield f"  layout      {layout_words(role)} pp={role['parallelism']['pp']}{recipe}"
    yield f"  device      {device_line(role['memory']['device'])}"
    yield (
        f"  capacity    {capacity['logTokens']:,} tokens in the engine's log for each dp rank; {capacity['requestsAtUseCase'] * role['parallelism']['dp']:,.0f} requests of this "
        f"use case; longest context {capacity['longestContext']:,}, served {capacity['maxModelLen']:,}"
    )


def layout_words(role: dict[str, Any]) -> str:
    """How a role is split over its devices; the name where there are several roles."""
    sizes = role["parallelism"]
    name = "" if role["name"] == "server" else f"{role['name']} "
    return f"{name}tp={sizes['tp']} dp={sizes['dp']} ep={sizes['ep']}"


def device_line(device: dict[str, Any]) -> str:
    """The ledger in one line, GiB."""
    parts = [
        ("weights", device["weights"]["total"]),
        *((k, v) for k, v in device.items() if isinstance(v, int) and k != "total"),
    ]
    return f"{device['total'] / GIB:.1f} GiB = " + " + ".join(
        f"{name} {size / GIB:.1f}" for name, size in parts if size > GIB / 20
    )


def _band(values: list[float]) -> str:
    low, middle, high = values
    return f"{middle:,.0f} ({low:,.0f} to {high:,.0f})"
