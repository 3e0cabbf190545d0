"""Two readers that are not ours: YAML 1.1 as PyYAML has it, and YAML 1.2's core schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_V11: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Core(_V11):  # type: ignore[misc]
    """The resolver table of YAML 1.2.2, section 10.3.2."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def construct_core_int(self, node: Any) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)

    def construct_core_float(self, node: Any) -> float:
        text = self.construct_scalar(node).lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in (
    ("null", r"^(null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    _Core.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Core.add_constructor("tag:yaml.org,2002:int", _Core.construct_core_int)
_Core.add_constructor("tag:yaml.org,2002:float", _Core.construct_core_float)


def yaml_1_1(text: str) -> Iterator[Any]:
    """Every document, as YAML 1.1."""
    return yaml.load_all(text, Loader=_V11)


def yaml_1_2(text: str) -> Iterator[Any]:
    """Every document, as YAML 1.2."""
    return yaml.load_all(text, Loader=_Core)


READERS = {"1.1": yaml_1_1, "1.2": yaml_1_2}
