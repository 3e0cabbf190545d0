"""How far a long search is: one line on a terminal's standard error, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
_PATIENCE = 1.0
"""Seconds without an answer after which people wonder."""


def shown(items: Sequence[T], words: str) -> Iterator[T]:
    """The items, with a line of how many are done while they are worked on."""
    started, visible = time.monotonic(), sys.stderr.isatty()
    told = ""
    for done, item in enumerate(items):
        if visible and time.monotonic() - started > _PATIENCE:
            told = f"{words}: {done} of {len(items)}"
            sys.stderr.write(f"\r\033[K{told}")
            sys.stderr.flush()
        yield item
    if told:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
