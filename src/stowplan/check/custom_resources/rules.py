"""A valid object and its structural schema in; what the schema's own rules (CEL) say of it out, as on its creation."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from stowplan.check.custom_resources.fields import EMBEDDED, Schema, steps
from stowplan.check.custom_resources.functions import declarations
from stowplan.check.objects import Path, mapping, sequence

if TYPE_CHECKING:
    from cel_expr_python import cel

_RULES = "x-kubernetes-validations"
_EXTENSIONS = ("bindings", "encoders", "math", "optional", "regex", "sets", "strings", "two-var-comprehensions")
_LONGEST = 120  # characters of a rule that a message shows
_NAMES_OF_METADATA = ("name", "generateName")
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile("|".join(re.escape(text) for text in _ESCAPES))
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset(
    (
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
    )
)
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]|\[([0-9]+)\]")
_STATUS = re.compile(r"^[A-Z_]+: (ERROR: <input>:[0-9:]+ )?| \[[A-Z_]+\]$| \(in container ''\)")
_CANNOT = ("No matching overload", "Non-CEL value type")
"""What the library says where it lacks a type or function: the rule is then not judged."""


class Broken(NamedTuple):
    """A rule that the object breaks, or one that could not be judged."""

    path: Path
    message: str
    unchecked: bool = False


class _Cannot(Exception):  # noqa: N818 - an answer: this rule cannot be judged here
    """The library does not know something that the rule needs."""


def broken_rules(value: object, schema: Schema) -> Iterator[Broken]:
    """Rules that the object breaks; those about changes of an object are not for a new one."""
    if not _has_rules(schema):
        return
    try:
        library = _library()
    except ImportError:
        message = "the library that evaluates the rules of custom resources has no package for this machine: its rules were not checked"
        yield Broken((), message, unchecked=True)
        return
    yield from _broken(value, schema, (), library, resource=True)


def _has_rules(schema: object) -> bool:
    if isinstance(schema, Mapping):
        return bool(schema.get(_RULES)) or any(_has_rules(inner) for inner in schema.values())
    return isinstance(schema, list) and any(_has_rules(inner) for inner in schema)


def _broken(
    value: object, schema: Schema, path: Path, library: _Library, *, resource: bool = False
) -> Iterator[Broken]:
    rules = [mapping(rule) for rule in sequence(schema.get(_RULES))]
    if rules and value is not None:
        seen = _seen(value, schema, resource=resource)
        for rule in rules:
            yield from _judged(rule, seen, path, library)
    for step, item, inner in steps(value, schema):
        yield from _broken(item, inner, (*path, step), library)


def _judged(rule: Mapping[str, Any], seen: Any, path: Path, library: _Library) -> Iterator[Broken]:
    text = str(rule.get("rule", ""))
    place = (*path, *_field_path(str(rule.get("fieldPath") or "")))
    try:
        answer = library.evaluate(text, seen, with_old=rule.get("optionalOldSelf") is True)
    except _Cannot as reason:
        yield Broken(place, f"could not evaluate the rule {_short(text)}: {reason}", unchecked=True)
    except ValueError as error:
        yield Broken(place, f"the rule {_short(text)} ends in an error: {error}")
    else:
        if answer is False:
            yield Broken(place, _message(rule, seen, library))


def _message(rule: Mapping[str, Any], seen: Any, library: _Library) -> str:
    """The rule's own words: computed where it says how, else given, else the rule itself."""
    expression = rule.get("messageExpression")
    if isinstance(expression, str) and expression:
        try:
            said = library.evaluate(expression, seen, with_old=rule.get("optionalOldSelf") is True)
        except (_Cannot, ValueError):
            said = None
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said.strip()
    given = str(rule.get("message") or "").strip()
    return given or f"breaks the rule {_short(str(rule.get('rule', '')))}"


def _short(rule: str) -> str:
    text = " ".join(rule.split())
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _field_path(text: str) -> Path:
    return tuple(int(m[3]) if m[3] else m[1] or m[2] for m in _STEP.finditer(text))


def _seen(value: Any, schema: Schema, *, resource: bool = False) -> Any:
    """A value as rules see it: only fields that the schema has, under names that an expression can spell."""
    if isinstance(value, list):
        return [_seen(item, mapping(schema.get("items"))) for item in value]
    if not isinstance(value, Mapping):
        return float(value) if schema.get("type") == "number" and type(value) is int else value
    if isinstance(schema.get("additionalProperties"), Mapping):
        return {key: _seen(item, schema["additionalProperties"]) for key, item in value.items()}
    known = mapping(schema.get("properties"))
    made = {}
    for name, item in value.items():
        if name in known and (spelled := _spelled(name)):
            made[spelled] = _seen(item, mapping(known[name]))
    if resource or schema.get(EMBEDDED) is True:
        made |= {key: value[key] for key in ("apiVersion", "kind") if key in value}
        named = mapping(value.get("metadata"))
        made["metadata"] = {key: named[key] for key in _NAMES_OF_METADATA if key in named}
    return made


def _spelled(name: str) -> str:
    """A field's name inside an expression; empty where it has none."""
    if name in _RESERVED:
        return f"__{name}__"
    escaped = _ESCAPED.sub(lambda m: _ESCAPES[m[0]], name)
    return escaped if _IDENTIFIER.match(escaped) else ""


class _Library:
    """The CEL library with what Kubernetes adds; expressions are compiled once."""

    def __init__(self) -> None:
        """Load it."""
        from cel_expr_python import cel  # noqa: PLC0415 - a large library, needed only where rules are evaluated

        self._cel = cel
        self._plain = self._environment({"self": cel.Type.DYN, "pattern": cel.Type.STRING}, ())
        self._all = self._plain.compile("regex.extractAll(self, pattern)")
        more = declarations(self._extract)
        self._new = self._environment({"self": cel.Type.DYN}, more)
        self._changed = self._environment({"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}, more)

    def _environment(self, variables: dict[str, Any], functions: Any) -> cel.Env:
        config = self._cel.NewEnvConfigFromYaml("extensions:\n" + "".join(f"- name: {name}\n" for name in _EXTENSIONS))
        return self._cel.NewEnv(config=config, variables=variables, functions=list(functions))

    def _extract(self, text: str, pattern: str) -> list[str]:
        found = self._all.eval(data={"self": text, "pattern": pattern})
        if found.type() == self._cel.Type.ERROR:
            raise ValueError(str(found.value()))
        return list(found.plain_value())

    def evaluate(self, text: str, seen: Any, *, with_old: bool) -> Any:
        """What an expression says of a new object; None where it is about a change.

        Raises:
            _Cannot: the library lacks a function or a type.
            ValueError: the expression fails on this object, a missing field, say.
        """
        compiled = self._compiled(f"cel.bind(oldSelf, optional.none(), {text})" if with_old else text)
        if compiled is None:
            return None
        try:
            result = compiled.eval(data={"self": seen})
            kind, value = result.type(), result.value()
        except (RuntimeError, TypeError) as error:
            raise _Cannot(_first_line(error)) from None
        if kind != self._cel.Type.ERROR:
            return value
        message = _first_line(value)
        if any(text in message for text in _CANNOT):
            raise _Cannot(message)
        raise ValueError(message)

    @functools.cache  # noqa: B019 - one library for the process
    def _compiled(self, text: str) -> cel.Expression | None:
        try:
            return self._new.compile(text)
        except RuntimeError as error:
            reason = _first_line(error)
        try:
            self._changed.compile(text)
        except RuntimeError:
            raise _Cannot(reason) from None
        return None


def _first_line(error: object) -> str:
    """What the library says, without its own status codes and positions."""
    return _STATUS.sub("", str(error).partition("\n")[0])


@functools.cache
def _library() -> _Library:
    return _Library()
