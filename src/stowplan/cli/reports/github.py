"""Findings as annotations on a change, in the workflow commands that GitHub Actions reads from a job's output."""

from __future__ import annotations

from typing import TextIO

from stowplan.diagnostics import Diagnostic, Report

_COMMANDS = {"error": "error", "warning": "warning", "info": "notice", "unchecked": "notice"}


def write_github(report: Report, stream: TextIO) -> None:
    """One command on each line; nothing where there is nothing to say."""
    stream.writelines(_one(diagnostic) for diagnostic in report)


def _one(diagnostic: Diagnostic) -> str:
    place = diagnostic.location
    fields = {"title": f"{diagnostic.severity} {diagnostic.code}"}
    if place:
        fields = {"file": place.file, "line": str(place.line or 1), "col": str(place.column or 1)} | fields
    told = ",".join(f"{name}={_property(value)}" for name, value in fields.items())
    text = diagnostic.message + (f"\nhint: {diagnostic.hint}" if diagnostic.hint else "")
    return f"::{_COMMANDS[diagnostic.severity]} {told}::{_data(text)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
