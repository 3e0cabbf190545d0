"""What may stand as a source: something that a reader can open, or a plain word for what nobody can."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

NONE_FOUND = "no public source found"
"""Looked for, and not found: only a value that is null may say so."""

_PATH = r"(?:\w[\w.@%+-]*/\S*\w|[\w.-]*\w\.[A-Za-z]\w*|(?:Docker|Make)file|README)\b"
_REPOSITORY = r"(?<![\w./-])[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
FORMS = {
    "https://example.com/page": r"https?://[\w.-]+\.[a-z]{2,}/\S",
    "example.com/page": r"(?<![\w./-])(?:[a-z0-9-]+\.)+[a-z]{2,}/\w",
    "owner/repo@0123abc path/file.md": rf"{_REPOSITORY}@[0-9a-f]{{7,40}}\b.*? {_PATH}",
    "owner/repo v1.2.0 path/file.md": rf"{_REPOSITORY} v?[0-9]+(?:\.[0-9]+)+\b.*? {_PATH}",
    "owner/repo issue 12": rf"{_REPOSITORY} (?:issue|pull)s? [0-9]+",
    "owner/image:1.2.0": r"(?<![\w./-])[a-z0-9][\w.-]*/[\w.-]+:[\w.-]*[0-9][\w.-]*",
    "arXiv 2407.00079": r"arXiv [0-9]{4}\.[0-9]{4,5}",
    "package 1.2.0 wheel": r"[\w-]+ [0-9]+(?:\.[0-9]+)+\S* wheel",
    "PyPI package 1.2.0": r"PyPI [\w.-]+ [0-9]+(?:\.[0-9]+)+",
    "document DS-1234": r"document \S*[0-9]",
    "profiles/recipes/name": r"(?<![\w./-])(?:profiles/[a-z-]+|scripts|benchmarks)/[a-z0-9]",
}
"""What can be opened, as an example, to its pattern."""

_TOLD = re.compile(r"(?:measured by|stated by|agreed with) [^,]+, [0-9]{4}-[0-9]{2}(?:-[0-9]{2})?\b")
_DERIVED = re.compile(r"(?:computed:|(?:computed from|fitted|assumption|estimate)\b)")
_RECALLED = re.compile(r"\b(?:recall(?:ed)?|from memory)\b", re.IGNORECASE)
_OPENED = re.compile("|".join(FORMS.values()))


def _form(source: str) -> str:
    if _RECALLED.search(source):
        raise ValueError("a value from memory is not a fact: look it up, or leave the value null")
    if not (_OPENED.search(source) or is_told(source) or is_derived(source) or is_missing(source)):
        raise PydanticCustomError("source_form", "nothing in the source '{source}' can be opened", {"source": source})
    return source


Source = Annotated[str, Field(min_length=1), AfterValidator(_form)]


def is_told(source: str) -> bool:
    """Somebody's own word, which nobody else can open: for profiles that stay with them."""
    return _TOLD.match(source) is not None


def is_derived(source: str) -> bool:
    """Nobody said it: computed, assumed or estimated here."""
    return _DERIVED.match(source) is not None


def is_missing(source: str) -> bool:
    """No source was found."""
    return source.startswith(NONE_FOUND)
