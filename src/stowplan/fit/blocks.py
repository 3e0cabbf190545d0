"""A pool of equal blocks that groups of layers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from stowplan.fit.cache import Cache
from stowplan.fit.paging import Batch, Capacity, Situation, by_ratio, whole


@dataclass(frozen=True, slots=True)
class Counts:
    """Blocks of one request: compressed entries by group, window, state by ratio, rings."""

    full: tuple[int, ...]
    window: int
    state: Mapping[int, int]
    rings: int


@dataclass(frozen=True)
class Blocks:
    """A block pool shared by groups of layers, each group with its own tokens per block.

    The log's token number is concurrency x maximum length. Sliding-window groups reserve the tokens in
    flight for each request, so that the number shrinks with a small maximum length.
    Source: the engines' block managers, checked against start-up logs (docs/explanation/capacity.md).
    """

    cache: Cache
    block_tokens: Mapping[int, int]
    """Compression ratio to the raw tokens of one block; ratios with the same number are one group."""
    window_block_tokens: int
    state_block_tokens: Mapping[int, int]
    ring_blocks: int
    """Blocks of each request that hold what is not yet compressed, whatever its length."""
    align: int
    """Pages are padded to a multiple of it, and whole blocks to one of `block_align`."""
    block_align: int
    in_flight: int
    """Batches whose tokens are in flight at once."""
    block_size: str
    """Bytes of a block: `tuple` (layers of one group x all pages), `per-page` or `widest`."""
    window_split: str
    """Groups of window layers: `even` (as many layers as the widest group), or `fit` (as many as its bytes hold)."""
    weighted: bool
    """Whether a request is counted in bytes of the first group (else in plain blocks)."""
    draft_apart: bool
    """Whether each draft layer has a tuple of its own, which the engine's check of one request leaves out."""
    index_record: int
    """Bytes of an indexer entry as allocated, which may be more than as stored."""

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """See `Paging`."""
        blocks = available // self.block_bytes
        counts = self._counts(batch.max_model_len, self.in_flight * batch.max_num_batched_tokens)
        each = self._request_blocks(counts)
        concurrency = blocks / each
        return Capacity(
            available,
            blocks * self.block_bytes,
            self._checked_bytes * self._plain(counts),
            int(batch.max_model_len * concurrency),
            concurrency,
            f"{blocks:,} blocks of {self.block_bytes:,} B; a request of {batch.max_model_len:,} tokens takes {each:,}",
        )

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """Running requests; the tokens in flight are reserved once for all of them."""
        flight = self.in_flight * batch.max_num_batched_tokens
        reserved = self._request_blocks(self._counts(tokens, flight)) - self._request_blocks(self._counts(tokens, 1))
        blocks = available // self.block_bytes - max(reserved, 0)
        return max(blocks, 0) / self._request_blocks(self._counts(tokens, 1))

    @cached_property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        """Ratios that share a group, the one with the fewest tokens per block first."""
        sizes = sorted({self.block_tokens[r] for r in self.cache.main_layers})
        return tuple(tuple(r for r in self.cache.main_layers if self.block_tokens[r] == size) for size in sizes)

    def _page(self, entries: int, record: int) -> int:
        return ceil(entries * record / self.align) * self.align

    @cached_property
    def _main_page(self) -> dict[int, int]:
        return {r: self._page(self.block_tokens[r] // r, self.cache.main) for r in self.cache.main_layers}

    @cached_property
    def _index_page(self) -> dict[int, int]:
        return {r: self._page(self.block_tokens[r] // r, self.index_record) for r in self.cache.index_layers}

    @cached_property
    def _window_page(self) -> int:
        return self._page(self.window_block_tokens, self.cache.window_entry)

    @cached_property
    def _group_bytes(self) -> tuple[int, ...]:
        """Bytes of one block of each group that keeps compressed entries."""
        main, index = self.cache.main_layers, self.cache.index_layers
        return tuple(
            sum(main[r] * self._main_page[r] + index.get(r, 0) * self._index_page.get(r, 0) for r in ratios)
            for ratios in self._groups
        )

    @cached_property
    def _window_groups(self) -> int:
        if self.window_split == "fit":
            return ceil(self.cache.layers / max(max(self._group_bytes) // self._window_page, 1))
        return max(round(self.cache.layers / max(self.cache.main_layers.values())), 1)

    @property
    def _tuples(self) -> int:
        """Layers of the largest group, the sliding-window layers being cut into even groups."""
        return ceil(self.cache.layers / self._window_groups)

    @cached_property
    def block_bytes(self) -> int:
        """Bytes of one block of the pool."""
        return self._checked_bytes + (self.cache.drafted * self._tuple_bytes if self.draft_apart else 0)

    @cached_property
    def _checked_bytes(self) -> int:
        """Bytes of one block as the engine counts them when it checks that one request fits."""
        return ceil(self._grouped_bytes / self.block_align) * self.block_align

    @property
    def _tuple_bytes(self) -> int:
        """Bytes of the pages of one layer tuple."""
        return sum({*self._main_page.values(), *self._index_page.values()})

    @property
    def _grouped_bytes(self) -> int:
        if self.block_size == "widest":
            return max(self._group_bytes)
        pages = {*self._main_page.values(), *self._index_page.values()}
        if self.block_size == "tuple":
            return self._tuples * self._tuple_bytes
        by_page = dict.fromkeys(pages, 0)
        for layers, page in ((self.cache.main_layers, self._main_page), (self.cache.index_layers, self._index_page)):
            for ratio, count in layers.items():
                by_page[page[ratio]] = max(by_page[page[ratio]], count)
        by_page[self._window_page] = max(by_page.get(self._window_page, 0), self._tuples)
        return sum(page * count for page, count in by_page.items())

    def _counts(self, tokens: int, flight: int) -> Counts:
        state = {
            ratio: ceil(min(self.cache.state_entries[ratio] - 1 + flight, tokens) / block) + 1
            for ratio, block in self.state_block_tokens.items()
            if ratio in self.cache.main_layers
        }
        return Counts(
            full=tuple(ceil(tokens / self.block_tokens[ratios[0]]) for ratios in self._groups),
            window=ceil(min(self.cache.window - 1 + flight, tokens) / self.window_block_tokens) + 1,
            state=state,
            rings=self.ring_blocks,
        )

    def _plain(self, counts: Counts) -> int:
        return sum(counts.full) + counts.window * self._window_groups + sum(counts.state.values()) + counts.rings

    def _request_blocks(self, counts: Counts) -> int:
        if not self.weighted:
            return self._plain(counts)
        total = sum(blocks * size for blocks, size in zip(counts.full, self._group_bytes, strict=True))
        total += counts.window * self.cache.layers * self._window_page
        for ratio, blocks in counts.state.items():
            total += blocks * self.cache.main_layers[ratio] * (self._window_page + self._index_page.get(ratio, 0))
        return ceil(total / self._group_bytes[0])


def blocks(cache: Cache, numbers: Mapping[str, Any], situation: Situation) -> Blocks:
    """Method `blocks`: see `Blocks`; the numbers come from the engine's profile."""
    held = cache.stage(situation.stages)
    tokens = numbers["blockTokens"]
    return Blocks(
        cache=held,
        block_tokens=by_ratio(numbers, "blockTokens")
        if isinstance(tokens, Mapping)
        else dict.fromkeys(held.main_layers, whole(numbers, "blockTokens")),
        window_block_tokens=whole(numbers, "windowBlockTokens"),
        state_block_tokens=by_ratio(numbers, "stateBlockTokens"),
        ring_blocks=whole(numbers, "ringBlocks") if "ringBlocks" in numbers else 0,
        align=whole(numbers, "align"),
        block_align=whole(numbers, "blockAlign") if "blockAlign" in numbers else 1,
        in_flight=_in_flight(numbers, situation),
        block_size=str(numbers["blockSize"]),
        window_split=str(numbers.get("windowSplit", "even")),
        weighted=bool(numbers["weighted"]),
        draft_apart=bool(numbers.get("draftApart", False)),
        index_record=whole(numbers, "indexRecord") if "indexRecord" in numbers else held.index,
    )


def _in_flight(numbers: Mapping[str, Any], situation: Situation) -> int:
    """Batches in flight: a number, or one for each stage and one more where the scheduler runs ahead.

    Over several stages it runs ahead only where the variable `stagedAheadEnv` is "1".
    """
    given = numbers["inFlight"]
    if not isinstance(given, Mapping):
        return whole(numbers, "inFlight")
    ahead = situation.flags.get(str(given["aheadFlag"]), True) is not False
    if situation.stages > 1:
        ahead = ahead and situation.env.get(str(given["stagedAheadEnv"])) == "1"
    return situation.stages + int(ahead)
