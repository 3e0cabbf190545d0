"""Findings as SARIF 2.1.0, which code hosts and editors read: rules with their pages, results with a stable fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Any, TextIO
from urllib.parse import quote

from stowplan import __version__
from stowplan.check.pages import page_of
from stowplan.diagnostics import Diagnostic, Report, Severity

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note", "unchecked": "note"}


def write_sarif(report: Report, stream: TextIO) -> None:
    """One run; files that lie below the working directory are named from there."""
    codes = sorted({d.code for d in report})
    driver = {"name": "stowplan", "version": __version__, "rules": [_rule(code) for code in codes]}
    results = [_result(d, codes.index(d.code)) for d in report]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    json.dump({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, stream, indent=2, ensure_ascii=False)
    stream.write("\n")


def _rule(code: str) -> dict[str, Any]:
    page = page_of(code)
    if page is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.reason},
        "help": {"text": page.text()},
        "defaultConfiguration": {"level": _LEVELS[page.severity]},
        "properties": {"tags": [page.level]},
    }


def _result(diagnostic: Diagnostic, index: int) -> dict[str, Any]:
    text = diagnostic.message + (f" ({diagnostic.hint})" if diagnostic.hint else "")
    place = diagnostic.location
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": index,
        "level": _LEVELS[diagnostic.severity],
        "message": {"text": text},
        "partialFingerprints": {"stowplan/v1": _fingerprint(diagnostic)},
        "properties": {"severity": diagnostic.severity, "level": diagnostic.level},
    }
    if place:
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.file)}}
        if place.line:
            physical["region"] = {"startLine": place.line, "startColumn": place.column or 1}
        where: dict[str, Any] = {"physicalLocation": physical}
        if diagnostic.object:
            where["logicalLocations"] = [{"fullyQualifiedName": diagnostic.object, "kind": "resource"}]
        result["locations"] = [where]
    return result


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _fingerprint(diagnostic: Diagnostic) -> str:
    """The same while lines move: what is wrong with which object of which file."""
    file = diagnostic.location.file if diagnostic.location else ""
    text = f"{diagnostic.code}\n{file}\n{diagnostic.object}\n{diagnostic.message}"
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
