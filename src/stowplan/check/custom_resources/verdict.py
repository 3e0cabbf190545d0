"""An object and the definition of its kind in; every departure from it out, in the order in which the API server looks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from stowplan.check.custom_resources.definitions import Definition, Version
from stowplan.check.custom_resources.fields import completed, unknown_fields
from stowplan.check.custom_resources.lists import repeated
from stowplan.check.custom_resources.rules import broken_rules
from stowplan.check.custom_resources.values import METADATA, compiled
from stowplan.check.kubernetes_schema import Compiled, SchemaError, schemas, unknown_field
from stowplan.check.objects import Object
from stowplan.diagnostics import Diagnostic


def judge(item: Object, definition: Definition, minor: str) -> Iterator[Diagnostic]:
    """Every finding on one object of a custom kind."""
    version = definition.versions.get(item.api_version.partition("/")[2])
    if version is None or not version.served:
        told = "does not serve" if version else "does not have"
        message = f"the definition of {definition.group} {definition.kind} {told} the version of {item.api_version}"
        hint = f"it serves {', '.join(f'{definition.group}/{name}' for name in definition.served) or 'no version'}"
        yield Diagnostic("M002", message, item.at(("apiVersion",)), hint=hint, level="schema", object=str(item))
        return
    if version.deprecated:
        message = version.warning or f"{item.api_version} {item.kind} is deprecated by its definition"
        yield Diagnostic("M005", message, item.at(("apiVersion",)), "warning", level="schema", object=str(item))
    if definition.scope == "Cluster" and item.namespace:
        message = f"a {item.kind} belongs to no namespace: '{item.namespace}' is ignored"
        place = item.at(("metadata", "namespace"))
        yield Diagnostic("M105", message, place, "warning", "remove metadata.namespace", "admission", str(item))
    try:
        values = _values(version, minor)
    except ValueError as problem:
        message = f"the schema of {item.api_version} {item.kind} cannot be read here: {str(problem).splitlines()[0]}"
        yield Diagnostic("M003", message, item.at(("apiVersion",)), "unchecked", level="schema", object=str(item))
        return
    wrong = [*_departures(item.data, version, values)]
    for error in wrong:
        place = item.at(error.path, key=error.unknown_field)
        yield Diagnostic("M004", error.message, place, hint=error.hint, level="schema", object=str(item))
    if not wrong:
        yield from _rules(item, version)


@functools.cache
def _values(version: Version, minor: str) -> Compiled:
    return compiled(version.schema, schemas(minor).closure([METADATA]))


def _departures(data: Any, version: Version, values: Compiled) -> Iterator[SchemaError]:
    for path, known in unknown_fields(data, version.schema):
        yield unknown_field(path[:-1], str(path[-1]), known)
    stored = _stored(data, version)
    yield from values.judge(stored)
    yield from (SchemaError(path, message) for path, message in repeated(stored, version.schema))


def _stored(data: Any, version: Version) -> Any:
    kept = {key: value for key, value in data.items() if key != "status" or not version.has_status}
    return completed(kept, version.schema)


def _rules(item: Object, version: Version) -> Iterator[Diagnostic]:
    for broken in broken_rules(_stored(item.data, version), version.schema):
        code, severity = ("M007", "unchecked") if broken.unchecked else ("M006", "error")
        place = item.at(broken.path)
        yield Diagnostic(code, broken.message, place, severity, level="schema", object=str(item))  # type: ignore[arg-type]
