"""Data on standard output: `-o table|wide|json|yaml|markdown`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

COLUMNS = 100
"""Width that text for people is folded to."""


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
    made = markdown_table(headers, rows) if output is Output.markdown else text_table(headers, rows)
    sys.stdout.write("\n".join(made) + "\n")


def text_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None) -> Iterator[str]:
    """Lines of an aligned table; where a width is given, the last column is folded to it."""
    cells = [[h.upper() for h in headers], *([cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    start = sum(widths[:-1]) + 2 * len(widths[:-1])
    for row in cells:
        *first, last = row
        lines = folded(last, max(width - start, 1)) if width else [last]
        yield "".join(
            [*(f"{text.ljust(size)}  " for text, size in zip(first, widths, strict=False)), *lines[:1]]
        ).rstrip()
        yield from (" " * start + line for line in lines[1:])


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| " + " | ".join(headers) + " |"
    yield "|" + "---|" * len(headers)
    for row in rows:
        yield "| " + " | ".join(_escaped(cell(value)) for value in row) + " |"


def folded(text: str, width: int | None) -> list[str]:
    """A paragraph in lines of a width; a word is never broken, so that what is copied is whole."""
    import textwrap

    line = " ".join(text.split())
    if width is None:
        return [line] if line else []
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def cut(text: str, width: int | None) -> str:
    """A sentence as far as it fits, with a mark where it was cut."""
    return text if width is None or len(text) <= width else f"{text[: width - 3]}..."


def cell(value: object) -> str:
    """A value in one cell."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _escaped(text: str) -> str:
    """Text that a Markdown table shows as it is: no end of cell, of line, no tag and no escape of its own."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
