"""One Kubernetes object and a minor version in; where it departs from that version's API out.

Built-in kinds come from schemas/kubernetes (one file per minor, loaded when first asked for), the
custom kinds we render from schemas/custom/<group>/<version>/<Kind>.json, in which a reference
`kubernetes:<definition>` means that definition of the chosen minor.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stowplan.diagnostics import did_you_mean
from stowplan.resources import folder

if TYPE_CHECKING:
    import jsonschema_rs

MINORS: tuple[str, ...] = ("1.33", "1.34", "1.35", "1.36", "1.37")

_PREFIX = "#/$defs/"
_FEW = 8  # fields that a hint may list
_LONG = 40  # characters of a text that a message shows
_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?|true|false")
_UNQUOTED = {"boolean", "integer", "number"}
_FORMATS = {"byte": "base64 text", "date-time": "a time such as 2026-01-31T12:00:00Z"}
_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_BOUNDS = {"minimum": "at least", "maximum": "at most"}
_SIZES = {
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
}


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One departure; for an unknown field the path ends in that field's name."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    unknown_field: bool = False


@functools.cache
def schemas(minor: str) -> SchemaSet:
    """Read the schemas of one minor version, once."""
    if minor not in MINORS:
        message = f"Kubernetes {minor} is not among {', '.join(MINORS)}"
        raise ValueError(message)
    return SchemaSet(minor)


def minors_serving(api_version: str, kind: str) -> tuple[str, ...]:
    """Find the minor versions that have this kind; reads them all, so for messages only."""
    return tuple(minor for minor in MINORS if schemas(minor).serves(api_version, kind))


class SchemaSet:
    """The kinds of one minor version, and ours; validators are compiled when first used."""

    def __init__(self, minor: str) -> None:
        """Read that minor's file."""
        path = folder("schemas") / "kubernetes" / f"{minor}.json.gz"
        data = json.loads(gzip.decompress(path.read_bytes()))
        self.minor = minor
        self._kinds: dict[str, str] = data["kinds"]
        self._groups = frozenset(data["groups"])
        self._stability: dict[str, str] = data["stability"]
        self._scopes: dict[str, str] = data["scopes"]
        self._definitions: dict[str, dict[str, Any]] = data["definitions"]
        self._compiled: dict[str, Compiled] = {}

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether there is a schema: built into this minor, or custom and ours."""
        key = f"{api_version}/{kind}"
        return key in self._kinds or key in _custom_files()

    def stability(self, api_version: str, kind: str) -> str | None:
        """`ga`, `beta` or `alpha` by the version's name; `custom`; None where nothing serves it."""
        key = f"{api_version}/{kind}"
        return self._stability.get(key) or ("custom" if key in _custom_files() else None)

    def scope(self, api_version: str, kind: str) -> str | None:
        """`Namespaced` or `Cluster`; None where it is not known, or the file is for a client."""
        key = f"{api_version}/{kind}"
        if key in _custom_files():
            scope: str | None = _custom(key).get("x-stowplan-scope")
            return scope
        return self._scopes.get(key)

    def is_built_in_group(self, api_version: str) -> bool:
        """Whether the group is Kubernetes' own: a kind that it lacks is then an error."""
        group, _, version = api_version.rpartition("/")
        return group in self._groups if group else bool(re.fullmatch(r"v\d+\w*", version))

    def validate(self, data: object) -> list[SchemaError]:
        """All departures of one object, whose apiVersion and kind are served."""
        if not isinstance(data, dict):
            return [SchemaError((), f"expected a mapping, got {_got(data)}")]
        return self._compile(f"{data.get('apiVersion')}/{data.get('kind')}").judge(data)

    def closure(self, names: Iterable[str]) -> dict[str, Any]:
        """Definitions of this minor, and all that they name."""
        found: dict[str, Any] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self._definitions[name]
                waiting += _references(found[name])
        return found

    def _compile(self, key: str) -> Compiled:
        if key not in self._compiled:
            root = self._kinds.get(key, key)
            definitions = {} if key in self._kinds else _custom_definitions(key)
            named = [root] if key in self._kinds else _references(definitions)
            definitions |= self.closure(name for name in named if name not in definitions)
            self._compiled[key] = Compiled(_validator(root, definitions), definitions)
        return self._compiled[key]


@functools.cache
def _custom_files() -> dict[str, Path]:
    """Our schemas by `group/version/Kind`."""
    root = folder("schemas") / "custom"
    files = sorted(root.rglob("*.json"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in files}


@functools.cache
def _custom(key: str) -> dict[str, Any]:
    text = _custom_files()[key].read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text.replace('"kubernetes:', f'"{_PREFIX}'))
    return schema


def _custom_definitions(key: str) -> dict[str, Any]:
    schema = _custom(key)
    return {**schema.get("$defs", {}), key: {k: v for k, v in schema.items() if k != "$defs"}}


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_PREFIX)
        for value in node.values():
            if isinstance(value, dict | list):
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _validator(root: str, definitions: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs  # noqa: PLC0415 - not needed where nothing is validated

    pointer = _PREFIX + root.replace("~", "~0").replace("/", "~1")
    return jsonschema_rs.Draft202012Validator(
        {"$ref": pointer, "$defs": definitions},
        validate_formats=True,
        formats={"byte": is_base64},
        offline=True,
    )


def is_base64(text: str) -> bool:
    """Whether a text is base64; line ends are passed over."""
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Compiled:
    """A validator, and the definitions that its errors point into."""

    validator: jsonschema_rs.Draft202012Validator
    definitions: dict[str, Any]

    def judge(self, data: object) -> list[SchemaError]:
        """All departures of one object."""
        try:
            if self.validator.is_valid(data):
                return []
            errors = list(self.validator.iter_errors(data))
        except (TypeError, ValueError) as problem:  # a value that JSON does not have
            return [SchemaError((), f"cannot be written as JSON: {problem}")]
        return list(dict.fromkeys(finding for error in errors for finding in self.explain(error)))

    def explain(self, error: jsonschema_rs.ValidationError) -> list[SchemaError]:
        """One error of the validator in our words."""
        path = tuple(error.instance_path)
        kind: Any = error.kind
        match kind.name:
            case "additionalProperties":
                known = list(self._parent(error.schema_path).get("properties", ()))
                return [unknown_field(path, str(name), known) for name in kind.unexpected]
            case "anyOf" | "oneOf":
                return self._best(path, error)
            case "pattern":
                form = self._parent(error.schema_path).get("x-stowplan-form", kind.pattern)
                return [SchemaError(path, f"expected {form}, got {_got(error.instance)}")]
            case _:
                return [SchemaError(path, *_words(kind, error.instance))]

    def _parent(self, schema_path: Sequence[str | int]) -> dict[str, Any]:
        """Find the schema that holds the failed keyword."""
        node: Any = {"$defs": self.definitions}
        for step in schema_path[:-1]:
            node = node[int(step)] if isinstance(node, list) else node.get(step, {})
        found: dict[str, Any] = node
        return found

    def _best(self, path: tuple[str | int, ...], error: jsonschema_rs.ValidationError) -> list[SchemaError]:
        """Judge by the alternative that comes nearest; by type where none comes near."""
        alternatives: list[list[Any]] = getattr(error.kind, "context", [])
        near = [a for a in alternatives if a and not any(_is_other_type(e, path) for e in a)]
        if near:
            nearest = min(near, key=len)
            return [finding for nested in nearest for finding in self.explain(nested)]
        types = [t for a in alternatives for e in a for t in getattr(e.kind, "types", ())]
        return [SchemaError(path, *_wrong_type(list(dict.fromkeys(types)), error.instance))]


def _is_other_type(error: jsonschema_rs.ValidationError, path: tuple[str | int, ...]) -> bool:
    return error.kind.name == "type" and tuple(error.instance_path) == path


def unknown_field(path: tuple[str | int, ...], name: str, known: Sequence[str]) -> SchemaError:
    """The departure of a field that is not among those known at a path."""
    hint = did_you_mean(name, known)
    if not hint and 0 < len(known) <= _FEW:
        hint = f"known fields: {', '.join(sorted(known))}"
    return SchemaError((*path, name), f"unknown field '{name}'", hint, unknown_field=True)


def _words(kind: Any, value: Any) -> tuple[str, str]:
    """Message and hint for one failed keyword."""
    match kind.name:
        case "type":
            return _wrong_type(kind.types, value)
        case "enum":
            return _not_among(kind.options, value)
        case "required":
            message = f"the field '{kind.property}' is missing"
        case "format":
            message = f"expected {_FORMATS.get(kind.format, kind.format)}, got {_got(value)}"
        case name if name in _BOUNDS:
            message = f"expected {_BOUNDS[name]} {kind.limit}, got {value}"
        case name if name in _SIZES:
            message = f"expected {_SIZES[name].format(kind.limit)}, got {len(value)}"
        case name:
            message = f"does not satisfy '{name}' of the schema: {_got(value)}"
    return message, ""


def _wrong_type(types: Iterable[str], value: object) -> tuple[str, str]:
    wanted = [name for name in types if name != "null"]
    expected = " or ".join(_WORDS[name] for name in wanted)
    hint = ""
    if isinstance(value, bool | int | float) and "string" in wanted:
        hint = f'put it in quotes: "{json.dumps(value)}"'
    elif isinstance(value, str) and _PLAIN.fullmatch(value) and not {*wanted} - _UNQUOTED:
        hint = f"write it without quotes: {value}"
    return f"expected {expected}, got {_got(value)}", hint


def _not_among(options: Sequence[Any], value: object) -> tuple[str, str]:
    names = ", ".join(repr(option) for option in options)
    hint = did_you_mean(value, [str(o) for o in options]) if isinstance(value, str) else ""
    return f"expected {'one of ' if len(options) > 1 else ''}{names}, got {_got(value)}", hint


def _got(value: object) -> str:
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return json.dumps(value)
        case str():
            return f"the text {value[:_LONG]!r}{'...' if len(value) > _LONG else ''}"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return f"the number {value}"
