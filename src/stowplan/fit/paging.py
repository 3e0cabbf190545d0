"""What every capacity method takes and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Batch:
    """The engine's limits that move its capacity, for one data-parallel rank."""

    max_model_len: int
    max_num_batched_tokens: int
    max_num_seqs: int = 1


@dataclass(frozen=True, slots=True)
class Situation:
    """What a method reads besides the cache: the plan's settings and its pipeline stages."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    stages: int = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """Capacity of one data-parallel rank."""

    available: int
    """Bytes that were free for the cache."""
    kv_cache_bytes: int
    """Bytes that the engine allocates of them (whole blocks)."""
    needed: int
    """Bytes without which no request of the maximum length is served."""
    log_tokens: int
    """The token number of the engine's start-up line."""
    concurrency: float
    """Requests of the maximum length at once."""
    formula: str = ""
    """How the bytes and tokens come about, in numbers."""

    @property
    def starts(self) -> bool:
        """Whether the engine serves its maximum length."""
        return self.available >= self.needed


class Paging(Protocol):
    """How one engine version pages the cache of one variant."""

    def capacity(self, available: int, batch: Batch) -> Capacity:
        """Figures at the engine's maximum length."""
        ...

    def requests(self, available: int, tokens: int, batch: Batch) -> float:
        """Running requests of that length that fit at once."""
        ...


def whole(numbers: Mapping[str, Any], key: str) -> int:
    """A whole number of the profile.

    Raises:
        TypeError: it is none.
    """
    value = numbers[key]
    if not isinstance(value, int):
        raise TypeError(f"{key}: a whole number is expected, not {value!r}")
    return value


def by_ratio(numbers: Mapping[str, Any], key: str) -> dict[int, int]:
    """Whole numbers of the profile by compression ratio; none where the key is absent."""
    table = numbers.get(key) or {}
    return {int(ratio): whole(table, ratio) for ratio in table}
