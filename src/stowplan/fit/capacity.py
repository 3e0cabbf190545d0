"""Free bytes in, the engine's own capacity figures out: one method for each way engines page a cache.

A method answers three questions for a request of some length: how many bytes one such request needs
before the engine serves it, how many such requests fit, and what the engine's log will print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.fit.blocks import blocks
from stowplan.fit.cache import Cache
from stowplan.fit.paging import Batch, Capacity, Paging, Situation
from stowplan.fit.token_pool import token_pool


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes of the entries themselves: the bound where an engine's paging is not published."""

    cache: Cache

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """See `Paging`."""
        needed = self.cache.payload(batch.max_model_len)
        concurrency = available / needed
        tokens = int(concurrency * batch.max_model_len)
        formula = f"a request of {batch.max_model_len:,} tokens keeps {needed:,} B"
        return Capacity(available, available, needed, tokens, concurrency, formula)

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """See `Paging`."""
        del batch
        return available / self.cache.payload(tokens)


def payload(cache: Cache, _numbers: Mapping[str, Any], situation: Situation) -> Paging:
    """Method `payload`: see `Payload`."""
    return Payload(cache.stage(situation.stages))


METHODS: dict[str, Callable[[Cache, Mapping[str, Any], Situation], Paging]] = {
    "payload": payload,
    "blocks": blocks,
    "token-pool": token_pool,
}
