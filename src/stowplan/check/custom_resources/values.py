"""A structural schema in, the validator of values out: the keywords of OpenAPI v3 as Kubernetes means them, in JSON Schema."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from stowplan.check.admission._syntax import ip_network
from stowplan.check.custom_resources.fields import EMBEDDED, Schema
from stowplan.check.kubernetes_schema import Compiled, is_base64
from stowplan.check.objects import mapping, sequence

METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_REFERENCE = {"$ref": f"#/$defs/{METADATA}"}
_AS_IS = (
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minItems",
    "minLength",
    "minProperties",
    "multipleOf",
    "pattern",
    "required",
    "uniqueItems",
)
_RANGES = {"int32": 2**31, "int64": 2**63}
_DURATION = re.compile(
    r"[+-]?(0|([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*)\Z"
)
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")


def value_schema(schema: Schema, *, resource: bool = False) -> dict[str, Any]:
    """The JSON Schema of a structural schema; unknown fields, duplicates and rules are judged apart from it."""
    made: dict[str, Any] = {key: schema[key] for key in _AS_IS if key in schema}
    kinds = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") is True else _list(schema.get("type"))
    if kinds:
        made["type"] = [*kinds, "null"] if schema.get("nullable") is True else kinds
    made |= _bounds(schema)
    for key in ("allOf", "anyOf", "oneOf"):
        if schema.get(key):
            made[key] = [value_schema(mapping(part)) for part in sequence(schema[key])]
    if isinstance(schema.get("not"), Mapping):
        made["not"] = value_schema(schema["not"])
    if isinstance(schema.get("items"), Mapping):
        made["items"] = value_schema(schema["items"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        made["additionalProperties"] = value_schema(schema["additionalProperties"])
    known = {name: value_schema(mapping(inner)) for name, inner in mapping(schema.get("properties")).items()}
    if resource or schema.get(EMBEDDED) is True:
        known["metadata"] = {"allOf": [_REFERENCE, known.get("metadata", {})]}
        known |= {
            key: {"allOf": [{"type": "string", "minLength": 1}, known.get(key, {})]} for key in ("apiVersion", "kind")
        }
        made["required"] = list(dict.fromkeys([*made.get("required", ()), "apiVersion", "kind"]))
    if known:
        made["properties"] = known
    return made


def _list(kind: object) -> list[str]:
    return [kind] if isinstance(kind, str) and kind else []


def _bounds(schema: Schema) -> dict[str, Any]:
    """Numbers: the format's range is a bound, and an exclusive bound is a flag beside the bound."""
    least, most = schema.get("minimum"), schema.get("maximum")
    made: dict[str, Any] = {}
    if least is not None:
        made["exclusiveMinimum" if schema.get("exclusiveMinimum") is True else "minimum"] = least
    if most is not None:
        made["exclusiveMaximum" if schema.get("exclusiveMaximum") is True else "maximum"] = most
    limit = _RANGES.get(str(schema.get("format")))
    if limit and schema.get("type") == "integer":
        made["minimum"] = max(made.get("minimum", -limit), -limit)
        made["maximum"] = min(made.get("maximum", limit - 1), limit - 1)
    return made


def compiled(schema: Schema, shared: Mapping[str, Any]) -> Compiled:
    """The validator of a kind's values; `shared` holds the definition of metadata and what it names.

    Raises:
        ValueError: the schema does not compile, a pattern of a syntax that the library does not have, say.
    """
    import jsonschema_rs  # noqa: PLC0415 - not needed where nothing is validated

    definitions = {**shared, "self": value_schema(schema, resource=True)}
    validator = jsonschema_rs.Draft202012Validator(
        {"$ref": "#/$defs/self", "$defs": definitions},
        validate_formats=True,
        formats=_FORMATS,
        pattern_options=jsonschema_rs.RegexOptions(),  # linear time, as the server's own
        offline=True,
    )
    return Compiled(validator, definitions)


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


_FORMATS = {
    "byte": is_base64,
    "cidr": lambda text: ip_network(text) is not None,
    "date": _is_date,
    "duration": lambda text: bool(_DURATION.match(text)),
    "mac": lambda text: bool(_MAC.match(text)),
}
