"""Findings for programs: the stable JSON shape."""

from __future__ import annotations

import json
from collections import Counter
from typing import TextIO

from stowplan.diagnostics import Report


def write_json(report: Report, stream: TextIO) -> None:
    """`{"findings": [...], "counts": {...}}`."""
    findings = [
        {
            "code": d.code,
            "level": d.level,
            "severity": d.severity,
            "message": d.message,
            "hint": d.hint,
            "file": d.location.file if d.location else None,
            "line": d.location.line if d.location else None,
            "column": d.location.column if d.location else None,
            "object": d.object or None,
        }
        for d in report
    ]
    counts = dict.fromkeys(("error", "warning", "info", "unchecked"), 0) | Counter(d.severity for d in report)
    json.dump({"findings": findings, "counts": counts}, stream, indent=2, ensure_ascii=False)
    stream.write("\n")
