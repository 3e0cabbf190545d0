"""Files and documents in, one report out: every level, for each bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.custom_resources.definitions import Definition, Definitions, definitions_of
from stowplan.check.kubernetes_schema import SchemaError, minors_serving, schemas
from stowplan.check.objects import Advertised, Bundle, Object, mapping
from stowplan.check.quantization import is_quantization_file
from stowplan.check.registry import checks_of, checks_of_bundles
from stowplan.diagnostics import Diagnostic, Severity
from stowplan.located_yaml import Document
from stowplan.profiles.kinds import API_VERSION

_ENVELOPE = ("apiVersion", "kind")
_OURS = ("app.kubernetes.io/managed-by", "stowplan")
_CRDS = "give its CustomResourceDefinition with --crds"

Find = Callable[[str, str], Definition | None]


def objects_of(documents: Iterable[Document]) -> Iterator[Object]:
    """Kubernetes objects; the items of a List are objects of their own, empty documents are none."""
    for document in documents:
        data = document.data
        if (
            isinstance(data, Mapping)
            and str(data.get("kind", "")).endswith("List")
            and isinstance(data.get("items"), list)
        ):
            for index, item in enumerate(data["items"]):
                if isinstance(item, Mapping):
                    yield Object(item, document, ("items", index))
        elif isinstance(data, Mapping):
            yield Object(data, document)


def check_bundle(
    documents: Iterable[Document],
    minor: str,
    plan: Mapping[str, Any] | None = None,
    catalog: Catalog | None = None,
    advertised: tuple[Advertised, ...] = (),
    crds: Definitions | None = None,
) -> list[Diagnostic]:
    """Every finding on the objects that are applied together; `crds` are definitions from elsewhere."""
    manifests: list[Document] = []
    others: list[Document] = []
    for document in documents:
        if is_plan(document.data):
            plan = plan or document.data
        elif catalog and is_quantization_file(document.data, catalog):
            others.append(document)
        else:
            manifests.append(document)
    found = [_not_an_object(d) for d in manifests if d.data is not None and not isinstance(d.data, Mapping)]
    bundle = Bundle(tuple(objects_of(manifests)), minor, plan, catalog, advertised, tuple(others))
    find = _finder(bundle, crds)
    for item in bundle.objects:  # all of one object at once: its places are read again for each that comes between
        found += dict.fromkeys(_schema(item, minor, find))
        for check in checks_of(item.kind):
            found += [check.diagnose(f) for f in check.run(item, bundle)]
    said = [(check, f) for check in checks_of_bundles() for f in check.run(bundle)]
    order = {id(item.document): number for number, item in enumerate(bundle.objects)}
    said.sort(key=lambda pair: order.get(id(pair[1].object.document), -1))
    return found + [check.diagnose(f) for check, f in said]


def is_plan(data: object) -> bool:
    """Whether a document is a rendered plan: it stands beside manifests and is none."""
    return isinstance(data, Mapping) and data.get("apiVersion") == API_VERSION and data.get("kind") == "Plan"


def _not_an_object(document: Document) -> Diagnostic:
    message = "a Kubernetes object is a mapping with apiVersion and kind"
    return Diagnostic("M001", message, document.locate(()), level="schema")


def _finder(bundle: Bundle, crds: Definitions | None) -> Find:
    """Definitions that were given, then those that are applied together with the objects."""
    own = {(d.group, d.kind): d for item in bundle.of("CustomResourceDefinition") for d in definitions_of(item.data)}
    return lambda group, kind: (crds.find(group, kind) if crds else None) or own.get((group, kind))


def _schema(item: Object, minor: str, find: Find) -> Iterator[Diagnostic]:
    for key in _ENVELOPE:
        if not isinstance(item.data.get(key), str) or not item.data[key]:
            yield Diagnostic(
                "M001", f"the field '{key}' is missing or not text", item.at((key,)), level="schema", object=str(item)
            )
            return
    known = schemas(minor)
    custom = known.stability(item.api_version, item.kind) in ("custom", None)
    definition = find(item.group, item.kind) if custom else None
    if definition is not None:
        from stowplan.check.custom_resources.verdict import judge  # noqa: PLC0415 - needed only where a definition is given

        yield from judge(item, definition, minor)
    elif not known.serves(item.api_version, item.kind):
        yield _unserved(item, minor)
    else:
        yield from _switched_off(item, minor)
        for error in known.validate(item.data):
            found = _diagnostic(item, error)
            yield _not_ours(found, item) if custom and error.unknown_field and not _is_ours(item) else found


def _is_ours(item: Object) -> bool:
    key, value = _OURS
    return mapping(item.metadata.get("labels")).get(key) == value


def _not_ours(found: Diagnostic, item: Object) -> Diagnostic:
    """Our schemas of custom kinds hold the fields that we write; others may well have more."""
    message = f"{found.message.replace('unknown field', 'the field')} of {item.kind} is not among those that are known here: not checked"
    return replace(found, code="M003", severity="unchecked", message=message, hint=found.hint or _CRDS)


def _switched_off(item: Object, minor: str) -> Iterator[Diagnostic]:
    """A built-in version before the stable one is served by no cluster that was not told to."""
    known = schemas(minor)
    if known.stability(item.api_version, item.kind) not in ("alpha", "beta"):
        return
    stable, place = known.stable(item.group, item.kind), item.at(("apiVersion",))
    message = f"Kubernetes {minor} serves {item.api_version} {item.kind} only where it is switched on"
    hint = f"use {stable}" if stable else "switch it on with --runtime-config of the API server"
    severity: Severity = "error" if stable else "warning"
    yield Diagnostic("M010", message, place, severity, hint, level="schema", object=str(item))


def _unserved(item: Object, minor: str) -> Diagnostic:
    what, place = f"{item.api_version} {item.kind}", item.at(("apiVersion",))
    known = schemas(minor)
    meant = known.misspelt(item.api_version, item.kind)
    if meant or known.is_impossible(item.api_version):
        serving = minors_serving(item.api_version, item.kind)
        hint = f"served by {', '.join(serving)}" if serving else f"did you mean {meant}?" if meant else ""
        return Diagnostic(
            "M002", f"Kubernetes {minor} does not serve {what}", place, hint=hint, level="schema", object=str(item)
        )
    return Diagnostic(
        "M003", f"no schema for {what}: not checked", place, "unchecked", _CRDS, level="schema", object=str(item)
    )


def _diagnostic(item: Object, error: SchemaError) -> Diagnostic:
    place = item.at(tuple(error.path), key=error.unknown_field)
    message, hint = error.message, error.hint
    if item.kind == "Secret":  # what stands there may be the secret
        message, hint = message.partition(", got ")[0], ""
    return Diagnostic("M004", message, place, hint=hint, level="schema", object=str(item))
