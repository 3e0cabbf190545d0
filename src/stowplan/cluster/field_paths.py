"""A field as the API server names it in; its path in an object out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from stowplan.check.objects import Path, dig

_NAME = re.compile(r"[^.\[]+")


def field_path(data: object, field: str) -> Path:
    """The path that a field's name stands for, as far as the object has it, and its first step beyond.

    The server writes `spec.containers[0].resources.limits[example.com/gpu]` where it validates and
    `.spec.containers[name="server"].image` where it merges, with dots inside of keys in both: what a dot
    means is told by the keys that the object has.
    """
    node, rest, path = data, field.lstrip("."), []
    while rest:
        step, rest = _bracket(node, rest) if rest.startswith("[") else _name(node, rest)
        path.append(step)
        node = dig(node, (step,))
        if node is None:
            break
        rest = rest.lstrip(".")
    return tuple(path)


def _name(node: object, text: str) -> tuple[str, str]:
    """The longest key of a mapping that the text begins with, else all up to the next dot."""
    keys = [key for key in node if isinstance(key, str)] if isinstance(node, Mapping) else []
    fitting = [key for key in keys if text.startswith(key) and text[len(key) : len(key) + 1] in ("", ".", "[")]
    found = max(fitting, key=len, default="")
    if not found:
        match = _NAME.match(text)
        found = match[0] if match else text
    return found, text[len(found) :]


def _bracket(node: object, text: str) -> tuple[str | int, str]:
    inside, _, rest = text[1:].partition("]")
    if not isinstance(node, list):
        return inside, rest
    if inside.isdigit():
        return int(inside), rest
    wanted = _selected(inside)
    return next((i for i, item in enumerate(node) if _is(item, wanted)), len(node)), rest


def _selected(text: str) -> Mapping[str, Any]:
    """`name="server",port=8000` as a mapping; the key of a plain value in a list is empty."""
    return {key: _value(value) for key, _, value in (part.partition("=") for part in text.split(","))}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is(item: object, wanted: Mapping[str, Any]) -> bool:
    """Whether an item of a list has those keys; a key that it leaves out has its default."""
    if not isinstance(item, Mapping):
        return wanted.get("") == item
    return all(item.get(key, value) == value for key, value in wanted.items())
