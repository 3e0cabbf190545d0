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
    role, engine = document["roles"][0], document["engine"]
    sizes, capacity = role["parallelism"], role["capacity"]
    devices = role["nodes"] * role["devicesPerNode"]
    yield f"  checkpoint  {document['checkpoint']['id']} ({document['quantization']['decision']}, {document['checkpoint']['bytes'] / 1e9:,.1f} GB)"
    yield f"  engine      {engine['name']} {engine['version']}  {engine['image'] or '(no public image: the site must name one)'}"
    yield f"  devices     {devices} x {document['deviceLayer']['resourceName']} on {role['nodes']} node(s), {role['replicas']} replica(s)"
    recipe = f"  follows {document['recipe']}" if document["recipe"] else ""
    yield f"  layout      tp={sizes['tp']} dp={sizes['dp']} ep={sizes['ep']} pp={sizes['pp']}{recipe}"
    yield f"  device      {device_line(role['memory']['device'])}"
    yield (
        f"  capacity    {capacity['logTokens']:,} tokens in the engine's log for each dp rank; {capacity['requestsAtUseCase'] * sizes['dp']:,.0f} requests of this "
        f"use case; longest context {capacity['longestContext']:,}, served {capacity['maxModelLen']:,}"
    )
    if role["estimate"]:
        bands = role["estimate"]
        yield (
            f"  estimate    TTFT {_band(bands['ttftMs'])} ms, TPOT {_band(bands['tpotMs'])} ms, "
            f"{_band(bands['outputTokensPerSecondPerDevice'])} output tokens/s for each device at {bands['concurrency']} in flight"
        )


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
