"""Findings that were there before: a file that `check` writes once, and that later runs leave out.

A finding is known by its code, file, object and sentence, not by its line, and as often as it was there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from stowplan.diagnostics import Diagnostic, Location, Refused, Report

_FORMAT = "findings/v1"
_KEYS = ("code", "file", "object", "message")
Known = tuple[str, ...]


class Compared(NamedTuple):
    """What is new, and how many findings of the baseline are gone from what was looked at."""

    report: Report
    gone: int


def baseline_text(report: Report) -> str:
    """The findings as a file to keep beside the manifests."""
    counts = Counter(map(_known, report))
    found = [dict(zip(_KEYS, known, strict=True)) | {"count": n} for known, n in sorted(counts.items())]
    return json.dumps({_FORMAT: found}, indent=2, ensure_ascii=False) + "\n"


def compared(report: Report, path: Path, looked_at: Iterable[str]) -> Compared:
    """The findings that the baseline does not have; `looked_at` are the files and folders of which all is told.

    Raises:
        Refused: it cannot be read, or is no baseline.
    """
    left = _read(path)
    new: list[Diagnostic] = []
    for diagnostic in report:
        known = _known(diagnostic)
        if left[known] > 0:
            left[known] -= 1
        else:
            new.append(diagnostic)
    roots = [Path(root) for root in looked_at]
    gone = sum(n for known, n in left.items() if any(Path(known[1]).is_relative_to(root) for root in roots))
    return Compared(Report.of(new), gone)


def _known(diagnostic: Diagnostic) -> Known:
    file = diagnostic.location.file if diagnostic.location else ""
    return (diagnostic.code, file, diagnostic.object, diagnostic.message)


def _read(path: Path) -> Counter[Known]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))[_FORMAT]
        return Counter({tuple(str(f[key]) for key in _KEYS): int(f["count"]) for f in found})
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
    except (ValueError, KeyError, TypeError):
        message = "is no baseline: `stowplan check --write-baseline FILE` writes one"
    raise Refused([Diagnostic("P001", message, Location(str(path)))], unreadable=True)
