"""One pool of tokens, every layer's share of a token being paid from the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import Any

from stowplan.fit.cache import Cache
from stowplan.fit.paging import Batch, Capacity, Situation, by_ratio, whole


@dataclass(frozen=True, slots=True)
class WindowCap:
    """How many window slots are reserved where their share of the pool is not given.

    A running request keeps the window, what has not yet been evicted, and what the next step may write;
    beside that come the prompts in flight, and the tails of cached prefixes.
    """

    eviction_tokens: int
    """Steps between two evictions; each writes the draft tokens."""
    chunks: int
    tails_per_request: int
    draft_tokens: int
    """Tokens that one verification writes; 0: nothing is drafted."""
    step_tokens: int
    """Tokens that one drafting step may allocate."""

    def tokens(self, window: int, page: int, batch: Batch) -> int:
        """Slots, in whole pages."""
        trailing = window + self.eviction_tokens * max(self.draft_tokens, 1) + page
        step = 2 * self.step_tokens if self.draft_tokens else page
        running = batch.max_num_seqs * (trailing + step) + self.chunks * batch.max_num_batched_tokens + page
        tails = self.tails_per_request * batch.max_num_seqs * (window + page)
        return ceil((running + tails) / page) * page


@dataclass(frozen=True)
class TokenPool:
    """A pool of tokens: its log line is the pool's size, whatever the maximum length.

    Each token of the pool pays for its compressed entries in all layers, and for a share of a window slot;
    what depends on the number of requests is taken off first.
    Source: the engine's pool configurator, checked against start-up logs (docs/explanation/capacity.md).
    """

    cache: Cache
    page_tokens: int
    align: int
    """Pages are padded to a multiple of it, but for those of compressed entries whose ratio is in `unpadded`."""
    unpadded: frozenset[int]
    window_ratio: float
    """Window slots for each token of the pool."""
    cap: WindowCap | None
    """Reserves window slots by the number of requests instead."""
    ring_tokens: int
    """Window slots that share one ring of compressor state."""
    rings: Mapping[int, int]
    """Compression ratio to the rows of its ring, one ring for every `ring_tokens` window slots."""
    slot_rings: Mapping[int, int]
    """Compression ratio to the rows of its ring, one ring for each request."""
    slot_rows: int
    """Rows of the requests' rings are padded to a multiple of it."""
    drafts: int
    """Layers that the draft module adds, as the engine counts them."""
    limit: int | None
    """Tokens that the settings allow at most."""

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """See `Paging`."""
        fixed = self._fixed(batch)
        tokens = self._tokens(available, batch)
        used = fixed + ceil(tokens * self.bytes_per_token) if tokens else 0
        formula = f"({available:,} - {fixed:,} B for requests) / {self.bytes_per_token:,.2f} B a token, in pages of {self.page_tokens}"
        return Capacity(
            available,
            min(used, max(available, 0)),
            fixed + ceil(self._pages(batch.max_model_len) * self.bytes_per_token),
            tokens,
            tokens / batch.max_model_len,
            formula,
        )

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """Running requests: limited by the pool, and by the window slots where those are a share of it."""
        pool = self._tokens(available, batch)
        by_pool = pool / self._pages(tokens)
        if self.cap:
            return by_pool
        return min(by_pool, floor(pool * self.window_ratio) / (self.cache.window + self.page_tokens))

    def _tokens(self, available: int, batch: Batch) -> int:
        tokens = max(floor((available - self._fixed(batch)) / self.bytes_per_token), 0)
        return min(tokens, tokens if self.limit is None else self.limit) // self.page_tokens * self.page_tokens

    def _pages(self, tokens: int) -> int:
        return ceil(tokens / self.page_tokens) * self.page_tokens

    @property
    def _layers(self) -> int:
        """Layers of the main stack."""
        return self.cache.layers - self.cache.drafted

    @cached_property
    def _inflation(self) -> float:
        return (self._layers + self.drafts) / self._layers

    def _padded(self, entries: int, record: int) -> float:
        """Bytes of an entry with its share of the padding of a page of that many."""
        return ceil(entries * record / self.align) * self.align / entries

    def _entry(self, ratio: int) -> float:
        record = self.cache.main
        return record if ratio in self.unpadded else self._padded(self.page_tokens // ratio, record)

    @cached_property
    def bytes_per_token(self) -> float:
        """What one token of the pool costs over all layers."""
        main, index = self.cache.main_layers, self.cache.index_layers
        entries = sum(n * self._entry(r) / r for r, n in main.items())
        entries += sum(n * self.cache.index / r for r, n in index.items())
        window = 0.0 if self.cap else self.window_ratio * self._window_slot
        return (entries + window) * self._inflation

    @cached_property
    def _window_slot(self) -> float:
        """Bytes of one window slot over all layers, with its share of the rings."""
        rings = sum(
            rows / self.ring_tokens * self._state_row(r) * self.cache.main_layers[r]
            for r, rows in self.rings.items()
            if r in self.cache.main_layers
        )
        return self._layers * self._padded(self.page_tokens, self.cache.window_entry) + rings

    def _state_row(self, ratio: int) -> float:
        return self.cache.state[ratio] / self.cache.state_entries[ratio]

    def _fixed(self, batch: Batch) -> int:
        """Bytes that the number of requests asks for."""
        slots = batch.max_num_seqs + 1
        fixed = 0.0
        for ratio, rows in self.slot_rings.items():
            if ratio in self.cache.main_layers:
                padded = ceil((slots * rows + rows + 1) / self.slot_rows) * self.slot_rows
                fixed += padded * self._state_row(ratio) * self.cache.main_layers[ratio]
        if self.cap:
            window = self.cap.tokens(self.cache.window, self.page_tokens, batch)
            fixed += window * self._window_slot * self._inflation
        return ceil(fixed)


def token_pool(cache: Cache, numbers: Mapping[str, Any], situation: Situation) -> TokenPool:
    """Method `token-pool`: see `TokenPool`; the numbers and the flags' names come from the engine's profile."""
    held = cache if numbers.get("wholeModel") else cache.stage(situation.stages)
    flags = situation.flags
    drafted = flags.get(str(numbers["draftFlag"])) is not None
    ratio = flags.get(str(numbers["windowRatioFlag"]))
    limit = flags.get(str(numbers["limitFlag"]))
    cap = numbers.get("windowCap") if ratio is None else None
    return TokenPool(
        cache=held.widened(whole(numbers, "extraLayers")) if "extraLayers" in numbers else held,
        page_tokens=whole(numbers, "pageTokens"),
        align=whole(numbers, "align"),
        unpadded=frozenset(numbers.get("unpadded", ())),
        window_ratio=float(numbers["windowRatio"] if ratio is None else ratio),
        cap=_cap(cap, flags, drafted=drafted) if isinstance(cap, Mapping) else None,
        ring_tokens=whole(numbers, "ringTokens"),
        rings=by_ratio(numbers, "draftRings" if drafted else "rings"),
        slot_rings=by_ratio(numbers, "draftSlotRings" if drafted else "slotRings"),
        slot_rows=whole(numbers, "slotRows") if "slotRows" in numbers else 1,
        drafts=whole(numbers, "drafts") if drafted else 0,
        limit=None if limit is None else int(limit),
    )


def _cap(numbers: Mapping[str, Any], flags: Mapping[str, Any], *, drafted: bool) -> WindowCap:
    drafts = int(flags.get(str(numbers["draftTokensFlag"])) or numbers["draftTokens"]) if drafted else 0
    steps = int(flags.get(str(numbers["draftStepsFlag"])) or 1)
    kept = flags.get(str(numbers["noPrefixFlag"])) is not True
    return WindowCap(
        eviction_tokens=whole(numbers, "evictionTokens"),
        chunks=whole(numbers, "chunks"),
        tails_per_request=whole(numbers, "tailsPerRequest") if kept else 0,
        draft_tokens=drafts,
        step_tokens=max(steps, drafts),
    )
