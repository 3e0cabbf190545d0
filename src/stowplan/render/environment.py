"""The Jinja2 environment that cannot emit wrong YAML.

Every value is written as JSON (which is YAML), an undefined one is an error, and the text is parsed
and emitted again by the one dumper, so that a template only gives the shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from pydantic import BaseModel

from stowplan import resources
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.located_yaml import read_bytes


class _Refusal(Exception):  # noqa: N818 - carries a template's own words out of Jinja2
    """A template found that what it was given contradicts itself."""


def _finalize(value: object) -> str:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()  # noqa: SLF001 - Jinja2's way to raise for an undefined value
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    raise TypeError(f"a template may not emit a {type(value).__name__}")


def _fail(message: str) -> NoReturn:
    raise _Refusal(message)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(resources.folder("templates")),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, not HTML, and every value is JSON
    )
    environment.globals["fail"] = _fail
    return environment


def templates_in(folder: str) -> list[str]:
    """Names of the templates of a folder, in order."""
    root = resources.folder("templates")
    return sorted(path.relative_to(root).as_posix() for path in (root / folder).glob("*.yaml.j2"))


def render_objects(template: str, context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The YAML documents that a template gives, as plain data.

    Raises:
        Refused: the template found a contradiction in what the profiles say.
    """
    try:
        text = _environment().get_template(template).render(context)
    except _Refusal as refusal:
        raise Refused([Diagnostic("C020", str(refusal), Location(template))]) from None
    for document in read_bytes(text.encode(), template):
        if document.data is not None:
            yield document.data


def render_text(template: str, context: Mapping[str, Any]) -> str:
    """A text that is not YAML (a program), its values written as JSON."""
    return _environment().get_template(template).render(context)


def stem(template: str) -> str:
    """`serving/service.yaml.j2` is `service`."""
    return Path(template).name.removesuffix(".yaml.j2")
