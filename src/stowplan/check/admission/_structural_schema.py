"""What the API server refuses in the schema of a custom kind: it must be structural, and without what pruning cannot follow."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._register import Problem
from stowplan.check.admission._syntax import integer, short, text
from stowplan.check.objects import Path, mapping, sequence

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("$ref", "$schema", "additionalItems", "definitions", "dependencies", "id", "patternProperties")
_JUNCTIONS = ("allOf", "anyOf", "oneOf")
_NOT_NESTED = (
    "additionalProperties",
    "default",
    "description",
    "nullable",
    "title",
    "type",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)
_EITHER = [{"type": "integer"}, {"type": "string"}]
_FREE = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
_META = ("apiVersion", "kind", "metadata")
_REASONS = (None, "FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")
_NOT_IN_GO = re.compile(r"\(\?(=|!|<=|<!)|\\[1-9]")
_ONLY_IN_GO = re.compile(r"\\p(\{\^?\w+\}|\w)|\[:\^?\w+:\]", re.IGNORECASE)

Schema = Mapping[str, Any]


def schema_problems(schema: Schema, path: Path) -> Iterator[Problem]:
    """What is wrong with a whole schema."""
    if schema.get("nullable") is True:
        yield Problem((*path, "nullable"), "an object as a whole cannot be null")
    if isinstance(schema.get("additionalProperties"), Mapping | bool):
        yield Problem((*path, "additionalProperties"), "additionalProperties is not allowed at the root", key=True)
    yield from _structure(schema, path, root=True)
    yield from _everywhere(schema, path)


def _children(schema: Schema, path: Path) -> Iterator[tuple[Schema, Path]]:
    """The schemas of the values inside a value."""
    for name, inner in mapping(schema.get("properties")).items():
        yield mapping(inner), (*path, "properties", name)
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), Mapping):
            yield schema[field], (*path, field)


def _junctions(schema: Schema, path: Path) -> Iterator[tuple[Schema, Path]]:
    """The schemas that the same value meets beside this one."""
    for field in _JUNCTIONS:
        for index, inner in enumerate(sequence(schema.get(field))):
            yield mapping(inner), (*path, field, index)
    if isinstance(schema.get("not"), Mapping):
        yield schema["not"], (*path, "not")


def every_schema(schema: Schema, path: Path) -> Iterator[tuple[Schema, Path]]:
    """A schema and those of all values inside."""
    yield schema, path
    for inner, place in _children(schema, path):
        yield from every_schema(inner, place)


def _structure(schema: Schema, path: Path, *, root: bool = False) -> Iterator[Problem]:
    kind = schema.get("type") or ""
    embedded = schema.get("x-kubernetes-embedded-resource") is True
    if embedded and kind != "object":
        yield Problem(path, "an embedded resource has the type object")
    elif not kind and not any(schema.get(field) is True for field in _FREE):
        yield Problem(path, "the schema has no type", "give type, or x-kubernetes-preserve-unknown-fields: true")
    if root and kind and kind != "object":
        yield Problem((*path, "type"), "the type at the root is object")
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        yield Problem(path, "the array has no schema of its items", "give items")
    if schema.get(_FREE[0]) is True and (schema.get(_FREE[1]) is True or embedded):
        yield Problem(path, f"{_FREE[0]} excludes the other extensions beside it")
    yield from _metadata(schema, path, root=root, embedded=embedded)
    for name in _META if root else ():
        if mapping(mapping(schema.get("properties")).get(name)).get("default") is not None:
            yield Problem((*path, "properties", name, "default"), f"{name} of the object takes no default")
    for inner, place in _nested(schema, path):
        yield from _value_rules(inner, place)
        yield from _completeness(inner, schema, place)
    for inner, place in _children(schema, path):
        yield from _structure(inner, place)


def _nested(schema: Schema, path: Path) -> Iterator[tuple[Schema, Path]]:
    """Junctions, without the two ways to write a whole number or text."""
    for inner, place in _junctions(schema, path):
        either = place[-2] == "anyOf" and _is_either(schema)
        first = place[-2:] == ("allOf", 0) and _is_either(inner)
        if first:
            yield {key: value for key, value in inner.items() if key != "anyOf"}, place
        elif not either:
            yield inner, place


def _is_either(schema: Schema) -> bool:
    return [{"type": mapping(inner).get("type")} for inner in sequence(schema.get("anyOf"))] == _EITHER


def _metadata(schema: Schema, path: Path, *, root: bool, embedded: bool) -> Iterator[Problem]:
    known = mapping(schema.get("properties"))
    for name in _META if root or embedded else ():
        wanted = "object" if name == "metadata" else "string"
        if name in known and mapping(known[name]).get("type") != wanted:
            yield Problem((*path, "properties", name), f"the type of {name} is {wanted}")
    given = {key for key, value in mapping(known.get("metadata")).items() if value not in (None, "", False, [], {})}
    extra = given - {"type", "properties", "default"}
    names = set(mapping(mapping(known.get("metadata")).get("properties")))
    if root and (extra or names - {"name", "generateName"}):
        yield Problem((*path, "properties", "metadata"), "metadata may restrict name and generateName only")
    if embedded and not known and schema.get(_FREE[1]) is not True:
        yield Problem(path, "an embedded resource has properties")


def _value_rules(schema: Schema, path: Path) -> Iterator[Problem]:
    """A schema below allOf, anyOf, oneOf or not restricts values and defines nothing."""
    for field in _NOT_NESTED:
        if schema.get(field) not in (None, "", False, []):
            yield Problem((*path, field), f"{field} is not allowed below allOf, anyOf, oneOf or not", key=True)
    if "metadata" in mapping(schema.get("properties")):
        yield Problem(
            (*path, "properties", "metadata"), "metadata is not allowed below allOf, anyOf, oneOf or not", key=True
        )
    for inner, place in (*_junctions(schema, path), *_children(schema, path)):
        yield from _value_rules(inner, place)


def _completeness(rules: Schema, schema: Schema | None, path: Path) -> Iterator[Problem]:
    """What value rules speak of is defined in the schema around them."""
    for name, inner in mapping(rules.get("properties")).items():
        defined = mapping((schema or {}).get("properties")).get(name)
        if defined is None:
            yield Problem((*path, "properties", name), f"the property {short(name)} is defined only here", key=True)
        else:
            yield from _completeness(mapping(inner), mapping(defined), (*path, "properties", name))
    if isinstance(rules.get("items"), Mapping):
        items = (schema or {}).get("items")
        if isinstance(items, Mapping):
            yield from _completeness(rules["items"], items, (*path, "items"))
        else:
            yield Problem((*path, "items"), "items is defined only here", key=True)
    for inner, place in _junctions(rules, path):
        yield from _completeness(inner, schema, place)


def _everywhere(schema: Schema, path: Path) -> Iterator[Problem]:
    for field in _UNSUPPORTED:
        if schema.get(field) not in (None, "", {}, False) or (
            field == "additionalItems" and schema.get(field) is False
        ):
            yield Problem((*path, field), f"{field} is not supported", key=True)
    kind = schema.get("type") or ""
    if kind and kind not in _TYPES:
        yield Problem((*path, "type"), f"{short(text(kind))} is not one of {', '.join(_TYPES)}")
    if schema.get("uniqueItems") is True:
        yield Problem(
            (*path, "uniqueItems"), "uniqueItems is not supported", "use x-kubernetes-list-type: set", key=True
        )
    if (schema.get("properties") and isinstance(schema.get("additionalProperties"), Mapping)) or (
        schema.get("properties") and schema.get("additionalProperties") is False
    ):
        yield Problem(
            (*path, "additionalProperties"), "additionalProperties and properties exclude each other", key=True
        )
    if schema.get(_FREE[1]) is False:
        yield Problem((*path, _FREE[1]), f"{_FREE[1]} is true or left out")
    if wrong := _pattern(text(schema.get("pattern"))):
        yield Problem((*path, "pattern"), f"{short(schema['pattern'])} {wrong}")
    yield from _lists_and_maps(schema, path)
    yield from _rules(schema, path)
    yield from _default(schema, path)
    for inner, place in (*_junctions(schema, path), *_children(schema, path)):
        yield from _everywhere(inner, place)


def _pattern(pattern: str) -> str:
    """What keeps a text from being a regular expression of Go's."""
    if _NOT_IN_GO.search(pattern):
        return "looks around or back, which the API server's regular expressions cannot"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(_ONLY_IN_GO.sub("a", pattern).replace(r"\z", r"\Z"))
        except (re.error, OverflowError):
            return "is no regular expression"
    return ""


def _lists_and_maps(schema: Schema, path: Path) -> Iterator[Problem]:
    kind, list_type, map_type = (schema.get(f) for f in ("type", "x-kubernetes-list-type", "x-kubernetes-map-type"))
    if map_type is not None and (kind != "object" or map_type not in ("atomic", "granular")):
        yield Problem((*path, "x-kubernetes-map-type"), "a map type is atomic or granular, of the type object")
    if list_type is not None and (kind != "array" or list_type not in ("atomic", "set", "map")):
        yield Problem((*path, "x-kubernetes-list-type"), "a list type is atomic, set or map, of the type array")
    items, keys = mapping(schema.get("items")), sequence(schema.get("x-kubernetes-list-map-keys"))
    if bool(keys) != (list_type == "map"):
        yield Problem(path, "x-kubernetes-list-type: map and x-kubernetes-list-map-keys need each other")
    if list_type in ("set", "map") and items.get("nullable") is True:
        yield Problem((*path, "items", "nullable"), f"items of a {list_type} cannot be null")
    if list_type == "set" and _is_no_set(items):
        yield Problem((*path, "items"), "items of a set are atomic", "set x-kubernetes-map-type: atomic on them")
    if list_type != "map":
        return
    if items.get("type") != "object":
        yield Problem((*path, "items"), "items of a list of the type map are objects")
    if len({text(key) for key in keys}) < len(keys):
        yield Problem((*path, "x-kubernetes-list-map-keys"), "a key is listed twice")
    for key in keys:
        yield from _map_key(text(key), items, path)


def _is_no_set(items: Schema) -> bool:
    if items.get("type") == "array":
        return items.get("x-kubernetes-list-type") not in (None, "atomic")
    return items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic"


def _map_key(key: str, items: Schema, path: Path) -> Iterator[Problem]:
    known = mapping(items.get("properties")).get(key)
    place = (*path, "x-kubernetes-list-map-keys")
    if known is None:
        yield Problem(place, f"the items have no property {short(key)}")
    elif mapping(known).get("type") in ("array", "object") or mapping(known).get("nullable") is True:
        yield Problem(place, f"the property {short(key)} is no scalar, or can be null")
    elif key not in sequence(items.get("required")) and mapping(known).get("default") is None:
        yield Problem(place, f"the property {short(key)} is neither required nor has a default")


def _rules(schema: Schema, path: Path) -> Iterator[Problem]:
    for index, entry in enumerate(sequence(schema.get("x-kubernetes-validations"))):
        rule, place = mapping(entry), (*path, "x-kubernetes-validations", index)
        expression, message = text(rule.get("rule")).strip(), text(rule.get("message"))
        if not expression:
            yield Problem(place, "the validation has no rule")
        if (message and not message.strip()) or "\n" in message.strip() or "\r" in message.strip():
            yield Problem((*place, "message"), "the message is blank, or longer than one line")
        if not message.strip() and ("\n" in expression or "\r" in expression):
            yield Problem(place, "a rule of several lines needs a message")
        if rule.get("reason") not in _REASONS:
            yield Problem((*place, "reason"), f"{short(text(rule['reason']))} is no reason")
        for field in ("messageExpression", "fieldPath"):
            if text(rule.get(field)) and not rule[field].strip():
                yield Problem((*place, field), f"{field} is blank")


def _default(schema: Schema, path: Path) -> Iterator[Problem]:
    default = schema.get("default")
    if default is not None and (wrong := _misfit(default, schema)):
        yield Problem((*path, "default"), f"the default {wrong}")


def _misfit(value: object, schema: Schema) -> str:
    """Why a value does not fit a schema, by its types, words and bounds."""
    if value is None:
        return "" if schema.get("nullable") is True else "is null, which the schema does not allow"
    kind = schema.get("type")
    fits = {
        "array": isinstance(value, list),
        "boolean": isinstance(value, bool),
        "integer": integer(value) is not None,
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "object": isinstance(value, Mapping),
        "string": isinstance(value, str),
    }.get(text(kind), True)
    if not fits:
        return f"is not of the type {kind}"
    words = sequence(schema.get("enum"))
    if words and value not in words:
        return f"{value!r} is not one of {', '.join(str(word) for word in words)}"
    return _misfit_inside(value, schema)


def _misfit_inside(value: object, schema: Schema) -> str:
    if isinstance(value, Mapping):
        missing = [name for name in sequence(schema.get("required")) if name not in value]
        known, others = mapping(schema.get("properties")), schema.get("additionalProperties")
        if others in (None, False) and schema.get(_FREE[1]) is not True and set(value) - set(known):
            return f"has the unknown field {min(set(value) - set(known))}"
        inside = (_misfit(v, mapping(known.get(k, others))) for k, v in value.items())
        return f"lacks {missing[0]}" if missing else next((wrong for wrong in inside if wrong), "")
    if isinstance(value, list):
        items = mapping(schema.get("items"))
        return next((wrong for wrong in (_misfit(item, items) for item in value) if wrong), "")
    for field, size in (("minLength", -1), ("maxLength", 1)):
        bound = integer(schema.get(field))
        if isinstance(value, str) and bound is not None and (len(value) - bound) * size > 0:
            return f"has {len(value)} characters, {field} is {bound}"
    for field, side in (("minimum", -1), ("maximum", 1)):
        limit = schema.get(field)
        if isinstance(value, int | float) and isinstance(limit, int | float) and (value - limit) * side > 0:
            return f"{value} is beyond the {field} of {limit}"
    return ""
