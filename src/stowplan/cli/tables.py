"""Data on standard output: `-o table|wide|json|yaml|markdown`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer


class Output(StrEnum):
    """Shape of data."""

    table = "table"
    wide = "wide"
    json = "json"
    yaml = "yaml"
    markdown = "markdown"

    @property
    def is_data(self) -> bool:
        """Whether programs read it."""
        return self in (Output.json, Output.yaml)


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Shape of the data.")]


def print_data(data: object, output: Output) -> None:
    """Plain data as JSON or YAML."""
    if output is Output.yaml:
        from stowplan.canonical_yaml import dump

        sys.stdout.write(dump(data))
    else:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def print_rows(headers: Sequence[str], rows: Sequence[Sequence[Any]], output: Output) -> None:
    """Rows as an aligned table or as Markdown."""
    cells = [[_cell(value) for value in row] for row in rows]
    if output is Output.markdown:
        lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    else:
        widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [[h.upper() for h in headers], *cells]
        ]
    sys.stdout.write("\n".join(lines) + "\n")


def cut(text: str, width: int | None) -> str:
    """A sentence as far as it fits, with a mark where it was cut."""
    return text if width is None or len(text) <= width else f"{text[: width - 3]}..."


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
