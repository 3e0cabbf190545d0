"""One role under one layout and its engine settings in; where every byte goes, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from stowplan.fit.cache import Cache, cache
from stowplan.fit.capacity import METHODS, Batch, Capacity, Paging
from stowplan.fit.weights import Weights
from stowplan.profiles.engine import CapacityMethod, Communication, HostClasses, KvFormat, Memory, Overhead
from stowplan.profiles.recipe import Layout
from stowplan.profiles.rule import Context, holds, most_special
from stowplan.profiles.variant import Architecture, Draft

GIB = 2**30
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Tuning:
    """The engine settings that move memory."""

    utilization: float
    max_model_len: int
    max_num_batched_tokens: int
    max_num_seqs: int
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger, with how it was computed and who says so."""

    name: str
    bytes: int
    formula: str
    source: str
    confidence: str = ""


@dataclass(frozen=True)
class Fit:
    """The ledger of the fullest device of a role, its capacity, and the host's part."""

    device_bytes: int
    reserved: int
    weights: Mapping[str, int]
    activations: int
    graphs: int
    communication: int
    overhead: int
    capacity: Capacity
    paging: Paging = field(repr=False)
    cache: Cache = field(repr=False)
    tuning: Tuning = field(repr=False)
    kv_format: KvFormat = field(repr=False)
    method: CapacityMethod = field(repr=False)
    host_pinned: int
    host_shared: int
    host_process: int
    lines: tuple[Line, ...] = field(repr=False)

    @property
    def weights_total(self) -> int:
        """Weights on the device."""
        return sum(self.weights.values())

    @property
    def free(self) -> int:
        """What no part of the ledger uses; negative where the device is over-full."""
        used = self.reserved + self.weights_total + self.activations + self.graphs + self.communication + self.overhead
        return self.device_bytes - used - self.capacity.kv_cache_bytes

    @property
    def shortfall(self) -> int:
        """Bytes that are missing on a device before the engine starts; 0 where it starts."""
        if self.capacity.starts:
            return 0
        return self.capacity.needed - self.capacity.available

    def requests(self, tokens: int) -> float:
        """Running requests of that length on one data-parallel rank, the engine's own limit included."""
        fit = self.paging.requests(max(self.capacity.available, 0), tokens, self._batch(self.tuning.max_model_len))
        return min(fit, self.tuning.max_num_seqs)

    def longest_context(self, limit: int) -> int:
        """The longest maximum length with which the engine starts, at most `limit`; 0: none."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            starts = self.paging.capacity(self.capacity.available, self._batch(middle)).starts
            low, high = (middle, high) if starts else (low, middle - 1)
        return low

    def _batch(self, length: int) -> Batch:
        return Batch(length, self.tuning.max_num_batched_tokens)


@dataclass(frozen=True)
class Fitter:
    """What does not change between the layouts of one pairing."""

    architecture: Architecture
    weights: Weights
    memory: Memory
    device_bytes: int
    memory_per_device_gib: float
    draft: Draft | None
    unified_memory: bool

    @cached_property
    def hidden(self) -> int:
        """Hidden size."""
        return self.architecture.numbers["hidden"]

    def fit(self, context: Context, layout: Layout, devices_per_node: int, tuning: Tuning) -> Fit:
        """Fill one device and one host."""
        memory = self.memory
        pinned = frozenset() if self.unified_memory else _host_classes(memory.host_classes, context)
        on_device = self.weights.on_device(layout, experts_over_group=memory.experts_over_group)
        weights = {name: size for name, size in on_device.items() if name not in pinned}
        overhead = most_special(memory.overheads, context)
        communication = most_special(memory.communication, context)
        kv_format, method = most_special(memory.kv_formats, context), most_special(memory.capacity, context)
        kept = cache(self.architecture, main=kv_format.main, index=kv_format.index, draft=self.draft)
        paging = METHODS[method.method](kept, method.numbers)
        parts = {
            "reserved": self.device_bytes - int(self.device_bytes * tuning.utilization),
            "activations": int((memory.activation_factor.value or 0) * self.hidden * tuning.max_num_batched_tokens * 2),
            "graphs": int((memory.graphs.value or 0) * GIB),
            "communication": _COMMUNICATION[communication.method](communication, layout, tuning.env),
            "overhead": int(overhead.gib * GIB),
        }
        available = self.device_bytes - sum(parts.values()) - sum(weights.values())
        capacity = paging.capacity(max(available, 0), Batch(tuning.max_model_len, tuning.max_num_batched_tokens))
        if available < 0:
            capacity = Capacity(available, 0, capacity.needed, 0, 0.0)
        return Fit(
            device_bytes=self.device_bytes,
            weights=weights,
            capacity=capacity,
            paging=paging,
            cache=kept,
            tuning=tuning,
            kv_format=kv_format,
            method=method,
            host_pinned=sum(size for (name, _), size in self.weights.by_split.items() if name in pinned),
            host_shared=int((memory.shared_memory.value or 0) * GIB) * devices_per_node,
            host_process=int(self.memory_per_device_gib * GIB) * devices_per_node,
            lines=self._lines(parts, weights, capacity, tuning, kv_format, method, communication, overhead),
            **parts,
        )

    def _lines(
        self,
        parts: Mapping[str, int],
        weights: Mapping[str, int],
        capacity: Capacity,
        tuning: Tuning,
        kv_format: KvFormat,
        method: CapacityMethod,
        communication: Communication,
        overhead: Overhead,
    ) -> tuple[Line, ...]:
        memory = self.memory
        factor = memory.activation_factor
        shapes = f"{self.architecture.source} ({self.architecture.as_of})"
        return (
            Line(
                "reserved",
                parts["reserved"],
                f"device x (1 - {tuning.utilization})",
                memory.utilization_flag,
                "primary",
            ),
            *(
                Line(
                    f"weights: {name}",
                    size,
                    "tensor shapes x storage, split by the layout",
                    shapes,
                    self.architecture.confidence,
                )
                for name, size in sorted(weights.items())
            ),
            Line(
                "activations",
                parts["activations"],
                f"{factor.value} x hidden {self.hidden} x {tuning.max_num_batched_tokens} tokens x 2",
                f"{factor.source} ({factor.as_of})",
                factor.confidence,
            ),
            Line(
                "graphs",
                parts["graphs"],
                "captured graphs",
                f"{memory.graphs.source} ({memory.graphs.as_of})",
                memory.graphs.confidence,
            ),
            Line(
                "communication",
                parts["communication"],
                communication.method,
                f"{communication.source} ({communication.as_of})",
                communication.confidence,
            ),
            Line(
                "overhead",
                parts["overhead"],
                f"engine {overhead.versions}",
                f"{overhead.source} ({overhead.as_of})",
                overhead.confidence,
            ),
            Line(
                "kvCache",
                capacity.kv_cache_bytes,
                f"method {method.method}, {kv_format.main} entries, {kv_format.index} indexer",
                method.source,
                method.confidence,
            ),
        )


def _host_classes(entries: Sequence[HostClasses], context: Context) -> frozenset[str]:
    """Tensor classes that stay in the host's memory."""
    return frozenset(name for entry in entries if holds(entry.when, context) for name in entry.classes)


def _constant(communication: Communication, _layout: Layout, _env: Mapping[str, str]) -> int:
    return int(communication.numbers["gib"] * GIB)


def _env_buffer(communication: Communication, layout: Layout, env: Mapping[str, str]) -> int:
    """Each communicator keeps buffers of the size that a variable names."""
    numbers = communication.numbers
    communicators = sum(1 for size in (layout.tp, layout.dp, layout.ep) if size > 1)
    mebibytes = float(env.get(communication.env, numbers["defaultMib"]))
    return int(communicators * numbers["buffers"] * mebibytes * MIB)


_COMMUNICATION: dict[str, Callable[[Communication, Layout, Mapping[str, str]], int]] = {
    "constant": _constant,
    "env-buffer": _env_buffer,
}
