"""One role under one layout and its engine settings in; where every byte goes, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stowplan.fit.cache import Cache, cache
from stowplan.fit.capacity import METHODS
from stowplan.fit.lines import Line, Parts, Used, device_lines, host_lines
from stowplan.fit.paging import Batch, Capacity, Paging, Situation
from stowplan.fit.units import GIB, MIB
from stowplan.fit.weights import Weights, weights
from stowplan.profiles.engine import (
    CapacityMethod,
    Communication,
    GroupClasses,
    HostClasses,
    KvFormat,
    LoadedAs,
    Memory,
)
from stowplan.profiles.recipe import Layout
from stowplan.profiles.rule import Context, asked, contains, holds, most_special
from stowplan.profiles.variant import Architecture, Checkpoint, Draft
from stowplan.versions import in_range


@dataclass(frozen=True, slots=True)
class Tuning:
    """The engine settings that move memory."""

    utilization: float
    max_model_len: int
    max_num_batched_tokens: int
    max_num_seqs: int
    env: Mapping[str, str]
    flags: Mapping[str, Any] = field(default_factory=dict)


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
    in_reserve: int
    """Bytes of activations and graphs that live in what the utilization leaves."""
    lacking: int
    """Bytes that they lack there; 0 where they fit."""
    host_pinned: int
    host_shared: int
    host_process: int
    explain: Callable[[], tuple[tuple[Line, ...], tuple[Line, ...]]] = field(repr=False)
    """Makes the lines of the device and of the host; only plans that are shown need them."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """The ledger of the device, line by line."""
        return self.explain()[0]

    @property
    def host_lines(self) -> tuple[Line, ...]:
        """The ledger of one host."""
        return self.explain()[1]

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
        """Bytes that are missing on a device before the engine serves its maximum length; 0 where it does."""
        return self.lacking + max(self.capacity.needed - self.capacity.available, 0)

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
        return batch_of(self.tuning, length)


def batch_of(tuning: Tuning, length: int | None = None) -> Batch:
    """The limits that move capacity, at another maximum length where one is given."""
    return Batch(tuning.max_model_len if length is None else length, tuning.max_num_batched_tokens, tuning.max_num_seqs)


@dataclass(frozen=True)
class Fitter:
    """What does not change between the layouts of one pairing."""

    architecture: Architecture
    checkpoint: Checkpoint
    memory: Memory
    device_bytes: int
    memory_per_device_gib: float
    draft: Draft | None
    unified_memory: bool

    @cached_property
    def hidden(self) -> int:
        """Hidden size."""
        return self.architecture.numbers["hidden"]

    def weights(self, context: Context) -> Weights:
        """The checkpoint's tensors as this engine keeps them on the device."""
        return weights(self.architecture, self.checkpoint, self.draft, _loaded(self.memory.loaded_as, context))

    def fit(self, context: Context, layout: Layout, devices_per_node: int, tuning: Tuning) -> Fit:
        """Fill one device and one host."""
        memory, held = self.memory, self.weights(context)
        pinned = _host_classes(memory.host_classes, context, tuning)
        over_group = _group_classes(memory.group_classes, context, tuning)
        shares = held.shares(layout, experts_over_group=memory.experts_over_group, over_group=over_group)
        if pinned:
            shares = {name: share for name, share in shares.items() if name not in pinned}
        if self.unified_memory:  # one memory: what the host pins, its devices lack
            shares = {**shares, **held.pinned(pinned, devices_per_node)}
            pinned = frozenset()
        on_device = {name: share.bytes for name, share in shares.items()}
        used = Used(
            activation_base=most_special(memory.activation_bases, context) if memory.activation_bases else None,
            overhead=most_special(memory.overheads, context),
            communication=most_special(memory.communication, context),
            kv_format=_kv_format(memory.kv_formats, context, tuning),
            method=most_special(memory.capacity, context),
            host_classes=tuple(entry for entry in memory.host_classes if pinned & {*entry.classes}),
        )
        kept = cache(self.architecture, main=used.kv_format.main, index=used.kv_format.index, draft=self.draft)
        situation = Situation(tuning.flags, tuning.env, layout.pp)
        paging = METHODS[used.method.method](kept, used.method.numbers, situation)
        parts, lacking = self._parts(used, layout, tuning)
        available = self.device_bytes - parts.total - sum(on_device.values()) + lacking
        batch = batch_of(tuning)
        capacity = paging.capacity(max(available, 0), batch)
        if available < 0:
            capacity = Capacity(available, 0, capacity.needed, 0, 0.0, capacity.formula)
        host_pinned = sum(size for (name, _), size in held.by_split.items() if name in pinned)
        host_shared = int((memory.shared_memory.value or 0) * GIB) * devices_per_node
        host_process = int(self.memory_per_device_gib * GIB) * devices_per_node
        return Fit(
            device_bytes=self.device_bytes,
            reserved=parts.reserved,
            weights=on_device,
            activations=parts.activations,
            graphs=parts.graphs,
            communication=parts.communication,
            overhead=parts.overhead,
            capacity=capacity,
            paging=paging,
            cache=kept.stage(layout.pp),
            tuning=tuning,
            kv_format=used.kv_format,
            method=used.method,
            in_reserve=parts.in_reserve,
            lacking=lacking,
            host_pinned=host_pinned,
            host_shared=host_shared,
            host_process=host_process,
            explain=lambda: (
                device_lines(memory, self.architecture, parts, shares, capacity, tuning, used),
                host_lines(
                    memory,
                    used,
                    devices_per_node,
                    pinned=host_pinned,
                    shared=host_shared,
                    process=host_process,
                    read=min(held.total, host_pinned + devices_per_node * sum(on_device.values())),
                ),
            ),
        )

    def _parts(self, used: Used, layout: Layout, tuning: Tuning) -> tuple[Parts, int]:
        """What is neither weights nor cache, and what lacks of the room of what lives in the reserve."""
        memory, communication = self.memory, used.communication
        tokens = tuning.max_num_batched_tokens
        grown = int((memory.activation_factor.value or 0) * self.hidden * tokens * 2)
        activations = grown + int((used.activation_base.gib if used.activation_base else 0) * GIB)
        graphs = int((memory.graphs.value or 0) * GIB)
        buffers = _COMMUNICATION[communication.method](communication, layout, tuning.env)
        overhead = int(used.overhead.gib * GIB)
        base = self.device_bytes
        if memory.reserve_holds_runtime:
            base -= buffers.bytes + overhead
        left = base - int(base * tuning.utilization)
        runtime, held = memory.reserve_holds_runtime, memory.reserve_holds_runtime or memory.reserve_holds_graphs
        inside = (activations if runtime else 0) + (graphs if held else 0)
        parts = Parts(
            reserved=max(left - inside, 0),
            base=base,
            left=left,
            activations=activations,
            graphs=graphs,
            in_reserve=inside,
            communication=buffers.bytes,
            communication_formula=buffers.formula,
            overhead=overhead,
            hidden=self.hidden,
        )
        return parts, max(inside - left, 0)


def _host_classes(entries: Sequence[HostClasses], context: Context, tuning: Tuning) -> frozenset[str]:
    """Tensor classes that stay in the host's memory."""
    return frozenset(
        name
        for entry in entries
        if holds(entry.when, context)
        and not (entry.unless and contains(tuning.flags, entry.unless))
        and contains(tuning.env, entry.only_env)
        for name in entry.classes
    )


def _group_classes(entries: Sequence[GroupClasses], context: Context, tuning: Tuning) -> frozenset[str]:
    """Tensor classes that are split over the whole group."""
    return frozenset(
        name
        for entry in entries
        if holds(entry.when, context) and not (entry.unless and contains(tuning.flags, entry.unless))
        for name in entry.classes
    )


def _kv_format(entries: Sequence[KvFormat], context: Context, tuning: Tuning) -> KvFormat:
    """The cache formats under these settings."""
    given = [e for e in entries if not e.only_flags or asked(e.only_flags, tuning.flags)]
    return most_special(given, context)


def _loaded(entries: Sequence[LoadedAs], context: Context) -> dict[str, str]:
    """Tensors that are expanded when loaded, to their storage on the device."""
    found: dict[str, str] = {}
    for entry in entries:
        if in_range(context.version, entry.versions) and holds(entry.when, context):
            found |= entry.tensors
    return found


@dataclass(frozen=True, slots=True)
class _Buffers:
    bytes: int
    formula: str


def _constant(communication: Communication, _layout: Layout, _env: Mapping[str, str]) -> _Buffers:
    gib = communication.numbers["gib"]
    return _Buffers(int(gib * GIB), f"{gib:g} GiB, whatever the layout")


def _env_buffer(communication: Communication, layout: Layout, env: Mapping[str, str]) -> _Buffers:
    """Each communicator keeps buffers of the size that a variable names."""
    numbers = communication.numbers
    communicators = [name for name in ("tp", "dp", "ep") if getattr(layout, name) > 1]
    mebibytes = float(env.get(communication.env, numbers["defaultMib"]))
    formula = f"{len(communicators)} communicators ({', '.join(communicators) or 'none'}) x {numbers['buffers']:g} buffers x {communication.env} {mebibytes:g} MiB"
    return _Buffers(int(len(communicators) * numbers["buffers"] * mebibytes * MIB), formula)


_COMMUNICATION: dict[str, Callable[[Communication, Layout, Mapping[str, str]], _Buffers]] = {
    "constant": _constant,
    "env-buffer": _env_buffer,
}
