"""What `--format` asks for: one report on standard output, and any number of others in files."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from stowplan.diagnostics import Diagnostic, Location, Refused, Report, did_you_mean

FORMATS = ("text", "json", "junit", "sarif", "github")


class Output(NamedTuple):
    """One report: its format, and its file or none for standard output."""

    format: str
    file: Path | None


def outputs(given: Iterable[str]) -> list[Output]:
    """The reports that are asked for; text where nothing is.

    Raises:
        Refused: an unknown format, or two for the same place.
    """
    asked = [_output(text) for text in given] or [Output("text", None)]
    places = [output.file for output in asked]
    for place in places:
        if places.count(place) > 1:
            message = f"two reports are to be written to {place or 'standard output'}"
            raise _refused(message, "write FORMAT=FILE for all but one")
    return asked


def _output(text: str) -> Output:
    name, equals, file = text.partition("=")
    if name not in FORMATS or (equals and not file):
        message = f"there is no format '{name}'" if name not in FORMATS else f"'{text}' names no file"
        raise _refused(message, did_you_mean(name, FORMATS) or f"known: {', '.join(FORMATS)}")
    return Output(name, Path(file) if file else None)


def _refused(message: str, hint: str) -> Refused:
    return Refused([Diagnostic("P012", message, Location("--format"), hint=hint)], unreadable=True)


def write_reports(report: Report, asked: Iterable[Output]) -> None:
    """Write them all; a file is there whole or not at all."""
    from stowplan.write import replace_file

    for output in asked:
        module = importlib.import_module(f"stowplan.cli.reports.{output.format}")
        write = getattr(module, f"write_{output.format}")
        if output.file is None:
            write(report, sys.stdout)
            continue
        stream = io.StringIO()
        write(report, stream)
        replace_file(output.file, stream.getvalue())


def concluded(report: Report, asked: Iterable[Output], *, strict: bool) -> int:
    """Write the reports, and say so where there is nothing to report; the exit code that the findings make."""
    asked = list(asked)
    write_reports(report, asked)
    if not len(report) and any(output == ("text", None) for output in asked):
        sys.stderr.write("no findings\n")
    failing = {"error", "warning", "unchecked"} if strict else {"error"}
    return int(any(d.severity in failing for d in report))
