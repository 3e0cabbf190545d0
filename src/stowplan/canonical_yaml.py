"""Plain data in, the one canonical YAML text out: the same bytes everywhere, safe to read back.

Kubernetes tooling reads YAML with a mixture of 1.1 and 1.2 readers; whatever either of them would
not take as text is quoted here (PyYAML alone leaves `1e3` and `0o17` bare, its issue 860).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

_NO_BLOCK = re.compile(r"[^\S\n]\n|\t|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u2028\u2029]")
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    """libyaml's dumper without aliases, with lists indented under their key."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: Any, value: str) -> Any:
    style = None
    if "\n" in value:
        style = "|" if value.strip() and not _NO_BLOCK.search(value) else None
    if not value.isascii() and _LINE_ENDS.search(value):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
for _tag, _pattern, _first in (
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("int", r"^[-+]?(0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_]*)$", "-+0123456789"),
    ("bool", r"^[yYnN]$", "yYnN"),
):
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def dump(data: object) -> str:
    """One document, keys in the order given, ending in a newline."""
    return str(
        yaml.dump(
            data,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            width=2**31 - 1,
        )
    )


def dump_stream(documents: Iterable[object]) -> str:
    """Several documents, each begun by `---`."""
    return "".join(f"---\n{dump(document)}" for document in documents)
