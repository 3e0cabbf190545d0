"""Where the shipped profiles, templates and schemas are: in the wheel, or in a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent.parent

Folder = Literal["profiles", "templates", "schemas"]


@cache
def folder(name: Folder) -> Path:
    """The folder of that shipped data; a wheel carries profiles and templates inside the package."""
    packed = _PACKAGE / name if name == "schemas" else _PACKAGE / "_data" / name
    return packed if packed.is_dir() else _CHECKOUT / name
