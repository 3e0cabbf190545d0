"""A located document in, a validated profile out: every problem of the file, each at its place."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stowplan.diagnostics import Diagnostic, Refused, did_you_mean
from stowplan.located_yaml import Document
from stowplan.profiles.kinds import API_VERSION, KINDS, Kind, Profile

_SENTENCES = {
    "bool_type": "expected true or false, got {got}",
    "dict_type": "expected a mapping, got {got}",
    "float_type": "expected a number, got {got}",
    "int_type": "expected a whole number, got {got}",
    "list_type": "expected a list, got {got}",
    "tuple_type": "expected a list, got {got}",
    "model_type": "expected a mapping, got {got}",
    "string_type": "expected text, got {got}",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "'{input}' does not match {pattern}",
    "literal_error": "'{input}' is not one of {expected}",
    "greater_than_equal": "{input} is less than the least allowed, {ge}",
    "less_than_equal": "{input} is more than the most allowed, {le}",
    "value_error": "{error}",
}
_HINTS = {
    "string_type": "quote it: YAML reads a bare number, true, false or null as that",
    "source_form": (
        "give a URL, 'owner/repo@commit path', 'owner/repo issue 12', 'arXiv 2407.00079' or 'package 1.2.0 wheel'; or begin with "
        "'measured by WHO, DATE', 'stated by WHO, DATE', 'agreed with WHO, DATE', 'computed from', 'assumption' or 'estimate'"
    ),
}


def read_profile(document: Document, *, kind: str | None = None) -> Profile[Any]:
    """Validate one document as the kind it says it is (and, where given, must be).

    Raises:
        Refused: with every problem of the document.
    """
    found = _kind_of(document, kind)
    try:
        return found.model.model_validate(document.data)
    except ValidationError as error:
        raise Refused(_diagnostics(error, document, found.model)) from None


def _kind_of(document: Document, expected: str | None) -> Kind:
    data = document.data
    if not isinstance(data, dict):
        got = "nothing" if data is None else _describe(data)
        raise Refused(
            [
                Diagnostic(
                    "P004",
                    f"expected a mapping with apiVersion, kind, metadata and spec, got {got}",
                    document.locate(()),
                )
            ],
            unreadable=data is None,
        )
    for key, known in (("apiVersion", [API_VERSION]), ("kind", [expected] if expected else list(KINDS))):
        value = data.get(key)
        if value not in known:
            said = f"'{value}' is not" if key in data else f"'{key}' is missing; it must be"
            message = f"{said} {' or '.join(known)}" if len(known) == 1 else f"{said} one of {', '.join(known)}"
            hint = did_you_mean(str(value), known)
            raise Refused([Diagnostic("P004", message, document.locate((key,)), hint=hint)])
    return KINDS[data["kind"]]


def _diagnostics(error: ValidationError, document: Document, model: type[BaseModel]) -> Iterator[Diagnostic]:
    for detail in error.errors(include_url=False):
        loc, kind = detail["loc"], detail["type"]
        if kind == "extra_forbidden":
            field = str(loc[-1])
            yield Diagnostic(
                "P004",
                f"unknown field '{field}'",
                document.locate(loc, key=True),
                hint=did_you_mean(field, _fields_at(model, loc[:-1])),
            )
        elif kind == "missing":
            yield Diagnostic("P004", f"the field '{loc[-1]}' is missing", document.locate(loc[:-1], key=True))
        else:
            yield Diagnostic("P004", _sentence(detail), document.locate(loc), hint=_hint(detail))


def _sentence(detail: ErrorDetails) -> str:
    template = _SENTENCES.get(detail["type"])
    if template is None:
        return detail["msg"]
    context = dict(detail.get("ctx", {}))
    return template.format_map({"got": _describe(detail["input"]), "input": detail["input"], **context})


def _hint(detail: ErrorDetails) -> str:
    if detail["type"] == "literal_error":
        known = [word.strip("' ") for word in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return did_you_mean(str(detail["input"]), known)
    if detail["type"] == "string_type" and isinstance(detail["input"], bool | int | float):
        return _HINTS["string_type"]
    return _HINTS["source_form"] if detail["type"] == "source_form" else ""


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    names: dict[type, str] = {dict: "a mapping", list: "a list", tuple: "a list"}
    if type(value) in names:
        return names[type(value)]
    return (
        f"the {'text' if isinstance(value, str) else 'number'} {str(value)[:60]!r}"
        if isinstance(value, str)
        else f"the number {value}"
    )


def _fields_at(model: object, loc: Sequence[str | int]) -> list[str]:
    """Names of the fields that the model at that place takes."""
    models = _models_in(model)
    for step in loc:
        inner = [f.annotation for m in models for n, f in m.model_fields.items() if step in (n, f.alias)]
        models = [found for annotation in inner for found in _models_in(annotation)] or models
    return [field.alias or name for m in models for name, field in m.model_fields.items()]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, dict, list):
        return [model for argument in get_args(annotation) for model in _models_in(argument)]
    return []
