"""Rules that the definition of a custom kind sets for its objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._expressions import rule_problem
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._structural_schema import every_schema
from stowplan.check.admission._syntax import short, text
from stowplan.check.objects import Object, Path, mapping, sequence

_FIELDS = re.compile(r"\bself((?:\.[A-Za-z_]\w*\b(?!\s*\())+)")
_OLD = re.compile(r"\boldSelf\b")
_META = ("apiVersion", "kind", "metadata")
_RULE = "x-kubernetes-validations"


def _definition(rule: str) -> str:
    schema = f"{{type: object, properties: {{spec: {{type: object, properties: {{size: {{type: integer}}}}, {_RULE}: [{{rule: {rule}}}]}}}}}}"
    return thing(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "spec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: engines, singular: engine, kind: Engine}\n"
        f"  versions:\n    - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {schema}}}}}",
        "engines.example.com",
    )


@object_check(
    "M424",
    "CustomResourceDefinition",
    reason="The API server compiles the rules of a custom kind, and refuses one that is no condition on the values it has.",
    source="Kubernetes API validation, apiextensions-apiserver pkg/apiserver/schema/cel: Compile.",
    bad=_definition("size > 0"),
    good=_definition("self.size > 0"),
)
def rules(item: Object, _context: Context) -> Iterator[Problem]:
    """A rule of a custom kind is a condition on the values that it has."""
    for index, version in enumerate(sequence(item.spec.get("versions"))):
        base: Path = ("spec", "versions", index, "schema", "openAPIV3Schema")
        root = mapping(mapping(mapping(version).get("schema")).get("openAPIV3Schema"))
        for schema, path in every_schema(root, base):
            for number, entry in enumerate(sequence(schema.get(_RULE))):
                yield from _rule(mapping(entry), schema, (*path, _RULE, number), root=path == base)


def _rule(rule: Mapping[str, Any], schema: Mapping[str, Any], path: Path, *, root: bool) -> Iterator[Problem]:
    expression, message = text(rule.get("rule")), text(rule.get("messageExpression"))
    if expression.strip() and (wrong := rule_problem(expression) or _unknown_field(expression, schema, root=root)):
        yield Problem((*path, "rule"), f"the rule {short(expression)} cannot be compiled: {wrong}")
    if message.strip() and (wrong := rule_problem(message, wanted="STRING")):
        yield Problem((*path, "messageExpression"), f"the expression {short(message)} cannot be compiled: {wrong}")
    if rule.get("optionalOldSelf") is not None and not _OLD.search(expression):
        yield Problem((*path, "optionalOldSelf"), "optionalOldSelf needs a rule that uses oldSelf", key=True)


def _unknown_field(expression: str, schema: Mapping[str, Any], *, root: bool) -> str:
    """The first field of the object that a rule reads and its schema does not have."""
    for match in _FIELDS.finditer(expression):
        node: Mapping[str, Any] = schema
        for depth, name in enumerate(match[1].strip(".").split(".")):
            known = mapping(node.get("properties"))
            if not known or "__" in name or (root and depth == 0 and name in _META):
                break
            if name not in known:
                return f"the schema has no field {short(name)}"
            node = mapping(known[name])
            if node.get("x-kubernetes-embedded-resource") is True:
                break
    return ""
