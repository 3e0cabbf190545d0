"""What every stage reports: diagnostics with a place, collected into one report."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Severity = Literal["error", "warning", "info", "unchecked"]
Level = Literal["profile", "syntax", "schema", "admission", "bundle", "plan", "domain"]


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file: 1-based line and column; `text` is that line, for the caret."""

    file: str
    line: int | None = None
    column: int | None = None
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        """`file:line:column`, as far as it is known."""
        parts = [self.file, *(str(part) for part in (self.line, self.column) if part is not None)]
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a stable code, one sentence with the numbers, where, and what to do."""

    code: str
    message: str
    location: Location | None = None
    severity: Severity = "error"
    hint: str = ""
    level: Level = "profile"
    object: str = ""

    def sort_key(self) -> tuple[str, int, int, str, str]:
        """By place, then code, then text: the order in which people read a file."""
        place = self.location or Location("")
        return (place.file, place.line or 0, place.column or 0, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Report:
    """A sorted set of diagnostics without repeats."""

    diagnostics: tuple[Diagnostic, ...] = ()

    @classmethod
    def of(cls, diagnostics: Iterable[Diagnostic]) -> Report:
        """Collect, drop exact repeats, sort."""
        return cls(tuple(sorted(dict.fromkeys(diagnostics), key=Diagnostic.sort_key)))

    def __iter__(self) -> Iterator[Diagnostic]:
        """In reading order."""
        return iter(self.diagnostics)

    def __len__(self) -> int:
        """How many there are, of every severity."""
        return len(self.diagnostics)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Only the findings that refuse the input."""
        return tuple(d for d in self.diagnostics if d.severity == "error")


class Refused(Exception):  # noqa: N818 - reads as what happened: the input was refused
    """A stage's answer "no", with all that it found.

    `unreadable` tells the command line that the input could not even be read (exit 2, not 1).
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], *, unreadable: bool = False) -> None:
        """Keep the findings as a report."""
        self.report = Report.of(diagnostics)
        self.unreadable = unreadable
        super().__init__("; ".join(d.message for d in self.report))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the nearest known name, or an empty text."""
    return _nearest(word, tuple(known))


@lru_cache(maxsize=256)
def _nearest(word: str, known: tuple[str, ...]) -> str:
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.6)
    return f"did you mean '{names[near[0]]}'?" if near else ""
