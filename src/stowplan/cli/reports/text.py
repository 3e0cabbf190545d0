"""Findings for people: place, sentence, source line with a caret, hint."""

from __future__ import annotations

import os
from collections import Counter
from typing import TextIO

from stowplan.diagnostics import Diagnostic, Report

_COLOURS = {"error": "31", "warning": "33", "info": "36", "unchecked": "35"}
_WIDEST = 160


def write_text(report: Report, stream: TextIO) -> None:
    """All findings, then how many there are of each severity."""
    colour = stream.isatty() and "NO_COLOR" not in os.environ
    stream.writelines(_one(diagnostic, colour=colour) for diagnostic in report)
    counts = Counter(d.severity for d in report)
    if len(report) > 1:
        stream.write(
            ", ".join(
                f"{n} {severity}{'s' if n > 1 and severity != 'unchecked' else ''}" for severity, n in counts.items()
            )
            + "\n"
        )


def _one(diagnostic: Diagnostic, *, colour: bool) -> str:
    word = f"{diagnostic.severity}[{diagnostic.code}]"
    if colour:
        word = f"\033[{_COLOURS[diagnostic.severity]}m{word}\033[0m"
    place = f"{diagnostic.location}: " if diagnostic.location else ""
    lines = [f"{place}{word}: {diagnostic.message}"]
    location = diagnostic.location
    if location and location.column and location.text.strip() and len(location.text) <= _WIDEST:
        lines += [f"    {location.text}", f"    {' ' * (location.column - 1)}^"]
    if diagnostic.hint:
        lines.append(f"    hint: {diagnostic.hint}")
    return "\n".join(lines) + "\n"
