"""Definitions of custom kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._structural_schema import schema_problems
from stowplan.check.admission._syntax import dns_label_1035, dns_subdomain, short, text
from stowplan.check.objects import Object, Path, mapping, sequence

_SOURCE = "Kubernetes API validation, apiextensions-apiserver pkg/apis/apiextensions/validation"
_API, _KIND = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
_TYPES = ("boolean", "date", "integer", "number", "string")
_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_PROTECTED = (".k8s.io", ".kubernetes.io")
_APPROVED = "api-approved.kubernetes.io"
_LONGEST_WARNING = 256
_AT_ROOT = {
    "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength",
    "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items", "properties",
    "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip
"""What the schema of an object with a status of its own may say of the object as a whole."""


def _definition(versions: str, name: str = "engines.example.com") -> str:
    names = "names: {plural: engines, singular: engine, kind: Engine}"
    return thing(
        _API, _KIND, f"spec:\n  group: example.com\n  scope: Namespaced\n  {names}\n  versions:\n{versions}", name
    )


_VERSION = "    - name: v1\n      served: true\n      storage: true\n      schema: {{openAPIV3Schema: {}}}\n"
_GOOD = _definition(_VERSION.format("{type: object}"))


@object_check(
    "M415",
    _KIND,
    reason="The API server refuses a custom kind whose names, group or scope are impossible, or whose object is named otherwise.",
    source=f"{_SOURCE}: ValidateCustomResourceDefinition and ValidateCustomResourceDefinitionNames.",
    bad=_definition(_VERSION.format("{type: object}"), name="engine.example.com"),
    good=_GOOD,
)
def names(item: Object, _context: Context) -> Iterator[Problem]:
    """A custom kind has possible names, and its definition is called by them."""
    spec = item.spec
    group, given = text(spec.get("group")), mapping(spec.get("names"))
    if wrong := dns_subdomain(group) or ("" if "." in group else "has no dot"):
        yield Problem(("spec", "group"), f"the group {short(group)} {wrong}")
    if item.name and item.name != f"{text(given.get('plural'))}.{group}":
        message = f"the name {short(item.name)} is not the plural and the group, '{text(given.get('plural'))}.{group}'"
        yield Problem(("metadata", "name"), message)
    yield from _names(given)
    if text(spec.get("scope")) not in ("Cluster", "Namespaced"):
        yield Problem(("spec", "scope"), "scope is not one of Cluster, Namespaced")
    approved = text(mapping(item.metadata.get("annotations")).get(_APPROVED))
    if group.endswith(_PROTECTED) and "://" not in approved and not approved.startswith("unapproved"):
        yield Problem(("metadata",), f"the group {group} is Kubernetes' own: it needs the annotation {_APPROVED}")


def _names(given: Mapping[str, Any]) -> Iterator[Problem]:
    for field in ("plural", "singular", "kind", "listKind"):
        name = given.get(field)
        if (not name and field in ("plural", "kind")) or (text(name) and dns_label_1035(text(name).lower())):
            yield Problem(
                ("spec", "names", field), f"{field} {short(text(name))} is no DNS label that begins with a letter"
            )
        elif field in ("plural", "singular") and text(name) != text(name).lower():
            yield Problem(("spec", "names", field), f"{field} {short(text(name))} has capital letters")
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        yield Problem(("spec", "names", "listKind"), "kind and listKind are the same")
    for field in ("shortNames", "categories"):
        for index, name in enumerate(sequence(given.get(field))):
            if wrong := dns_label_1035(text(name)):
                yield Problem(("spec", "names", field, index), f"{short(text(name))} {wrong}")


@object_check(
    "M416",
    _KIND,
    reason="The API server refuses a custom kind without exactly one stored version, or with versions that have no name or schema.",
    source=f"{_SOURCE}: validateCustomResourceDefinitionSpec.",
    bad=_definition(_VERSION.format("{type: object}").replace("storage: true", "storage: false")),
    good=_GOOD,
)
def versions(item: Object, _context: Context) -> Iterator[Problem]:
    """A custom kind has one stored version, and every version a name of its own and a schema."""
    if item.spec.get("preserveUnknownFields") is True:
        hint = "set x-kubernetes-preserve-unknown-fields in the schema"
        yield Problem(("spec", "preserveUnknownFields"), "preserveUnknownFields: true is no longer taken", hint)
    entries = [mapping(entry) for entry in sequence(item.spec.get("versions"))]
    stored = sum(entry.get("storage") is True for entry in entries)
    if stored != 1:
        yield Problem(("spec", "versions"), f"{stored} versions are stored, exactly one is", "set storage: true on one")
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name, path = text(entry.get("name")), ("spec", "versions", index)
        if wrong := "is given twice" if name in seen else dns_label_1035(name):
            yield Problem((*path, "name"), f"the version {short(name)} {wrong}")
        seen.add(name)
        if mapping(entry.get("schema")).get("openAPIV3Schema") is None:
            yield Problem(path, "the version has no schema", "give schema.openAPIV3Schema")
        warning = entry.get("deprecationWarning")
        if warning is not None and (
            entry.get("deprecated") is not True or not 0 < len(text(warning)) <= _LONGEST_WARNING
        ):
            message = f"deprecationWarning is a text of 1 to {_LONGEST_WARNING} characters of a deprecated version"
            yield Problem((*path, "deprecationWarning"), message)
        yield from _columns(entry, path)
        yield from _scale(entry, path)
    yield from _conversion(item.spec.get("conversion"))


def _columns(version: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for index, entry in enumerate(sequence(version.get("additionalPrinterColumns"))):
        column, place = mapping(entry), (*path, "additionalPrinterColumns", index)
        if not column.get("name"):
            yield Problem(place, "the column has no name")
        if column.get("type") not in _TYPES:
            yield Problem((*place, "type"), f"{short(text(column.get('type')))} is not one of {', '.join(_TYPES)}")
        if column.get("format") not in (None, "", *_FORMATS):
            yield Problem((*place, "format"), f"{short(text(column['format']))} is not one of {', '.join(_FORMATS)}")
        if not text(column.get("jsonPath")).startswith("."):
            yield Problem((*place, "jsonPath"), "jsonPath does not begin with '.'")


def _scale(version: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    scale = mapping(version.get("subresources")).get("scale")
    if not isinstance(scale, Mapping):
        return
    for field, below in (
        ("specReplicasPath", (".spec.",)),
        ("statusReplicasPath", (".status.",)),
        ("labelSelectorPath", (".spec.", ".status.")),
    ):
        value = text(scale.get(field))
        if (value or field != "labelSelectorPath") and not value.startswith(below):
            message = f"{field} {short(value)} does not begin with {' or '.join(below)}"
            yield Problem((*path, "subresources", "scale", field), message)


def _conversion(conversion: object) -> Iterator[Problem]:
    data, path = mapping(conversion), ("spec", "conversion")
    webhook = mapping(data.get("webhook"))
    if not data:
        return
    if data.get("strategy") not in ("None", "Webhook"):
        yield Problem((*path, "strategy"), "strategy is not one of None, Webhook")
    elif data["strategy"] == "None":
        if webhook.get("clientConfig") or webhook.get("conversionReviewVersions"):
            yield Problem((*path, "webhook"), "the strategy None takes no webhook", key=True)
        return
    client, reviews = mapping(webhook.get("clientConfig")), sequence(webhook.get("conversionReviewVersions"))
    if (client.get("url") is None) == (client.get("service") is None):
        yield Problem(path, "the webhook needs a clientConfig with either url or service")
    if not {"v1", "v1beta1"} & {text(version) for version in reviews}:
        yield Problem(path, "the webhook knows no review of the version v1", "give conversionReviewVersions: [v1]")
    if len({text(version) for version in reviews}) < len(reviews) or any(dns_label_1035(text(v)) for v in reviews):
        yield Problem((*path, "webhook", "conversionReviewVersions"), "a version is given twice, or is no DNS label")


@object_check(
    "M417",
    _KIND,
    reason="The API server refuses a custom kind whose schema is not structural, or says what it cannot prune, default or check.",
    source=f"{_SOURCE}: ValidateCustomResourceDefinitionOpenAPISchema; pkg/apiserver/schema: ValidateStructural.",
    bad=_definition(_VERSION.format("{type: object, properties: {spec: {}}}")),
    good=_definition(_VERSION.format("{type: object, properties: {spec: {type: object}}}")),
)
def schemas(item: Object, _context: Context) -> Iterator[Problem]:
    """The schema of a custom kind is structural."""
    for index, entry in enumerate(sequence(item.spec.get("versions"))):
        path: Path = ("spec", "versions", index, "schema", "openAPIV3Schema")
        schema = mapping(mapping(entry).get("schema")).get("openAPIV3Schema")
        if not isinstance(schema, Mapping):
            continue
        yield from schema_problems(schema, path)
        if mapping(mapping(entry).get("subresources")).get("status") is not None:
            for field in schema:
                if field not in _AT_ROOT and schema[field] not in (None, "", [], {}, False):
                    message = f"{field} is not allowed at the root of an object with a status subresource"
                    yield Problem((*path, field), message, key=True)
