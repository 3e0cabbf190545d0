"""Free bytes in, the engine's own capacity figures out: one method for each way engines page a cache.

A method answers three questions for a request of some length: how many bytes one such request needs
before the engine agrees to start, how many such requests fit, and what the engine's log will print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from stowplan.fit.cache import Cache


@dataclass(frozen=True, slots=True)
class Batch:
    """What of the engine's settings moves its capacity."""

    max_model_len: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """Capacity of one data-parallel rank."""

    available: int
    """Bytes that were free for the cache."""
    kv_cache_bytes: int
    """Bytes that the engine allocates of them (whole blocks)."""
    needed: int
    """Bytes without which the engine does not start at this maximum length."""
    log_tokens: int
    """The token number of the engine's start-up line."""
    concurrency: float
    """Requests of the maximum length at once."""

    @property
    def starts(self) -> bool:
        """Whether the engine accepts its maximum length."""
        return self.available >= self.needed


class Paging(Protocol):
    """How one engine version pages the cache of one variant."""

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """Figures at the engine's maximum length."""
        ...

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """Running requests of that length that fit at once."""
        ...


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes of the entries themselves: the bound where an engine's paging is not published."""

    cache: Cache

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """See `Paging`."""
        needed = self.cache.payload(batch.max_model_len)
        concurrency = available / needed
        return Capacity(available, available, needed, int(concurrency * batch.max_model_len), concurrency)

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """See `Paging`."""
        del batch
        return available / self.cache.payload(tokens)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A block pool shared by groups of layers, each group with its own tokens per block.

    The log's token number is concurrency x maximum length. Sliding-window groups reserve the tokens in
    flight for each request, so that the number shrinks with a small maximum length.
    Source: the engine's block manager, checked against start-up logs (docs/explanation/capacity.md).
    """

    cache: Cache
    block_tokens: int
    window_block_tokens: int
    state_block_tokens: Mapping[int, int]
    align: int
    in_flight: int
    """Batches whose tokens are in flight at once."""
    block_size: str
    """Bytes of a block: `tuple` (layers of one group x all pages), `per-page` or `widest`."""
    weighted: bool
    """Whether a request is counted in bytes of the widest group (else in plain blocks)."""
    index_record: int
    """Bytes of an indexer entry as allocated, which may be more than as stored."""

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """See `Paging`."""
        blocks = available // self.block_bytes
        counts = self._counts(batch.max_model_len, self.in_flight * batch.max_num_batched_tokens)
        concurrency = blocks / self._request_blocks(counts)
        needed = self.block_bytes * self._plain(counts)
        return Capacity(
            available, blocks * self.block_bytes, needed, int(batch.max_model_len * concurrency), concurrency
        )

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """Running requests; the tokens in flight are reserved once for all of them."""
        flight = self.in_flight * batch.max_num_batched_tokens
        reserved = self._request_blocks(self._counts(tokens, flight)) - self._request_blocks(self._counts(tokens, 1))
        blocks = available // self.block_bytes - max(reserved, 0)
        return max(blocks, 0) / self._request_blocks(self._counts(tokens, 1))

    @property
    def _main_page(self) -> dict[int, int]:
        return {r: self._page(self.block_tokens // r, self.cache.main) for r in self.cache.main_layers}

    @property
    def _index_page(self) -> dict[int, int]:
        return {r: self._page(self.block_tokens // r, self.index_record) for r in self.cache.index_layers}

    def _page(self, entries: int, record: int) -> int:
        return ceil(entries * record / self.align) * self.align

    @property
    def _window_page(self) -> int:
        return self._page(self.window_block_tokens, self.cache.window_entry)

    @property
    def _widest(self) -> int:
        """Bytes of one block of the group that keeps the compressed entries."""
        main = sum(n * self._main_page[r] for r, n in self.cache.main_layers.items())
        return main + sum(n * self._index_page[r] for r, n in self.cache.index_layers.items())

    @property
    def _tuples(self) -> int:
        """Layers of the largest group, the sliding-window layers being cut into even groups."""
        return ceil(self.cache.layers / self._window_groups)

    @property
    def _window_groups(self) -> int:
        widest = max(self.cache.main_layers.values())
        return max(round(self.cache.layers / widest), 1)

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of the pool."""
        if self.block_size == "widest":
            return self._widest
        pages = {*self._main_page.values(), *self._index_page.values()}
        if self.block_size == "tuple":
            return self._tuples * sum(pages)
        by_page = dict.fromkeys(pages, 0)
        for layers, page in ((self.cache.main_layers, self._main_page), (self.cache.index_layers, self._index_page)):
            for ratio, count in layers.items():
                by_page[page[ratio]] = max(by_page[page[ratio]], count)
        by_page[self._window_page] = max(by_page.get(self._window_page, 0), self._tuples)
        return sum(page * count for page, count in by_page.items())

    def _counts(self, tokens: int, flight: int) -> tuple[int, int, dict[int, int]]:
        """Blocks of one request: compressed entries, window, and state by ratio."""
        full = ceil(tokens / self.block_tokens)
        window = ceil(min(self.cache.window - 1 + flight, tokens) / self.window_block_tokens) + 1
        state = {
            ratio: ceil(min(self.cache.state_entries[ratio] - 1 + flight, tokens) / block) + 1
            for ratio, block in self.state_block_tokens.items()
            if ratio in self.cache.main_layers
        }
        return full, window, state

    def _plain(self, counts: tuple[int, int, dict[int, int]]) -> int:
        full, window, state = counts
        return full + window * self._window_groups + sum(state.values())

    def _request_blocks(self, counts: tuple[int, int, dict[int, int]]) -> int:
        if not self.weighted:
            return self._plain(counts)
        full, window, state = counts
        total = full * self._widest + window * self.cache.layers * self._window_page
        for ratio, blocks in state.items():
            pages = self._window_page + self._index_page.get(ratio, 0)
            total += blocks * self.cache.main_layers[ratio] * pages
        return ceil(total / self._widest)


def payload(cache: Cache, _numbers: Mapping[str, object]) -> Paging:
    """Method `payload`: see `Payload`."""
    return Payload(cache)


def blocks(cache: Cache, numbers: Mapping[str, object]) -> Paging:
    """Method `blocks`: see `Blocks`; the numbers come from the engine's profile."""
    state = numbers["stateBlockTokens"]
    indexed = numbers.get("indexRecord")
    return Blocks(
        cache=cache,
        block_tokens=_int(numbers["blockTokens"]),
        window_block_tokens=_int(numbers["windowBlockTokens"]),
        state_block_tokens={int(k): _int(v) for k, v in state.items()} if isinstance(state, Mapping) else {},
        align=_int(numbers["align"]),
        in_flight=_int(numbers["inFlight"]),
        block_size=str(numbers["blockSize"]),
        weighted=bool(numbers["weighted"]),
        index_record=cache.index if indexed is None else _int(indexed),
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a whole number is expected, not {value!r}")
    return value


METHODS: dict[str, Callable[[Cache, Mapping[str, object]], Paging]] = {"payload": payload, "blocks": blocks}
