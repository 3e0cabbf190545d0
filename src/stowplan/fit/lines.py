"""Bytes of the ledger in; lines that a practitioner can check by hand, each with its source, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from stowplan.fit.paging import Capacity
from stowplan.fit.units import GIB
from stowplan.fit.weights import Share
from stowplan.profiles.engine import (
    ActivationBase,
    CapacityMethod,
    Communication,
    HostClasses,
    KvFormat,
    Memory,
    Overhead,
)
from stowplan.profiles.fact import Fact
from stowplan.profiles.variant import Architecture


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger, with how it was computed and who says so."""

    name: str
    bytes: int
    formula: str
    source: str
    confidence: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes of one device that are neither weights nor cache."""

    reserved: int
    base: int
    """Bytes of which the utilization is a share."""
    left: int
    """What the utilization leaves of them."""
    activations: int
    graphs: int
    in_reserve: int
    """Bytes of activations and graphs that live in what is left."""
    communication: int
    communication_formula: str
    overhead: int
    hidden: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.reserved + self.activations + self.graphs + self.communication + self.overhead


@dataclass(frozen=True, slots=True)
class Used:
    """The entries of the engine's profile that hold here."""

    activation_base: ActivationBase | None
    overhead: Overhead
    communication: Communication
    kv_format: KvFormat
    method: CapacityMethod
    host_classes: tuple[HostClasses, ...]


class Limits(Protocol):
    """The settings that the lines name."""

    @property
    def utilization(self) -> float: ...  # noqa: D102 - the class says it
    @property
    def max_num_batched_tokens(self) -> int: ...  # noqa: D102 - the class says it


def device_lines(
    memory: Memory,
    architecture: Architecture,
    parts: Parts,
    shares: Mapping[str, Share],
    capacity: Capacity,
    limits: Limits,
    used: Used,
) -> tuple[Line, ...]:
    """The lines of the fullest device, in the order in which they are taken off."""
    shapes = f"{architecture.source} ({architecture.as_of})"
    kept, base = used.kv_format, used.activation_base
    grown = (
        f"{memory.activation_factor.value:g} x hidden {parts.hidden:,} x {limits.max_num_batched_tokens:,} tokens x 2 B"
    )
    return (
        _reserved(memory, parts, limits),
        *(
            Line(f"weights: {name}", share.bytes, share.formula, shapes, architecture.confidence)
            for name, share in sorted(shares.items())
        ),
        _said(
            "activations",
            parts.activations,
            f"{base.gib:g} GiB + {grown}" if base else grown,
            memory.activation_factor,
        ),
        _said("graphs", parts.graphs, f"{memory.graphs.value:g} GiB of captured graphs", memory.graphs),
        Line(
            "communication",
            parts.communication,
            parts.communication_formula,
            f"{used.communication.source} ({used.communication.as_of})",
            used.communication.confidence,
        ),
        Line(
            "overhead",
            parts.overhead,
            f"{used.overhead.gib:g} GiB, engine {used.overhead.versions}",
            f"{used.overhead.source} ({used.overhead.as_of})",
            used.overhead.confidence,
        ),
        Line(
            "kvCache",
            capacity.kv_cache_bytes,
            f"{capacity.formula} ({kept.main} entries, {kept.index} indexer)",
            used.method.source,
            used.method.confidence,
        ),
    )


def _reserved(memory: Memory, parts: Parts, limits: Limits) -> Line:
    formula = f"{parts.base / GIB:,.2f} GiB x (1 - {limits.utilization:g})"
    if memory.reserve_holds_runtime:
        formula = f"(total - overhead - communication) = {formula} - activations - graphs, which live in it"
    elif memory.reserve_holds_graphs:
        formula = f"{formula} - graphs, which live in it"
    return Line("reserved", parts.reserved, formula, memory.utilization_flag, "primary")


def _said(name: str, size: int, formula: str, fact: Fact[float]) -> Line:
    return Line(name, size, formula, f"{fact.source} ({fact.as_of})", fact.confidence)


def host_lines(
    memory: Memory, used: Used, devices: int, *, pinned: int, shared: int, process: int, read: int
) -> tuple[Line, ...]:
    """The lines of one host; the page cache is reclaimed when it is needed, and counts to no total."""
    return tuple(_host_lines(memory, used, devices, pinned, shared, process, read))


def _host_lines(
    memory: Memory, used: Used, devices: int, pinned: int, shared: int, process: int, read: int
) -> Iterator[Line]:
    for entry in used.host_classes:
        classes = ", ".join(entry.classes)
        yield Line(
            "pinned", pinned, f"{classes}, once for each host", f"{entry.source} ({entry.as_of})", entry.confidence
        )
    each = memory.shared_memory.value or 0
    yield _said("sharedMemory", shared, f"{each:g} GiB x {devices} devices", memory.shared_memory)
    yield Line("process", process, f"{process / devices / GIB:g} GiB x {devices} devices", "the engine's container", "")
    yield Line(
        "page cache",
        read,
        "files that this host reads, reclaimed when needed: in no total",
        "the checkpoint's tensors",
        "",
    )
