"""What a file holds, as the key of a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Held(Generic[T]):
    """Equal by identity: files are frozen, and comparing them costs more than what is kept of them."""

    value: T

    def __hash__(self) -> int:
        """By which object it is, whatever it says."""
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        """Whether it is the very object."""
        return isinstance(other, Held) and other.value is self.value
