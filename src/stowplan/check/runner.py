"""Files and documents in, one report out: every level, for each bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.kubernetes_schema import SchemaError, minors_serving, schemas
from stowplan.check.objects import Advertised, Bundle, Object
from stowplan.check.quantization import is_quantization_file
from stowplan.check.registry import all_checks
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import Document
from stowplan.profiles.kinds import API_VERSION

_ENVELOPE = ("apiVersion", "kind")


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
) -> list[Diagnostic]:
    """Every finding on the objects that are applied together."""
    documents = list(documents)
    beside = [d for d in documents if is_plan(d.data)]
    if beside:
        plan, documents = plan or beside[0].data, [d for d in documents if d not in beside]
    others = [d for d in documents if catalog and is_quantization_file(d.data, catalog)]
    documents = [d for d in documents if d not in others]
    found = [_not_an_object(d) for d in documents if d.data is not None and not isinstance(d.data, Mapping)]
    bundle = Bundle(tuple(objects_of(documents)), minor, plan, catalog, advertised, tuple(others))
    for item in bundle.objects:
        found += _schema(item, minor)
    for check in all_checks():
        if check.whole_bundle:
            found += [check.diagnose(f) for f in check.run(bundle)]
            continue
        for item in bundle.objects if check.kinds is None else (o for kind in check.kinds for o in bundle.of(kind)):
            found += [check.diagnose(f) for f in check.run(item, bundle)]
    return found


def is_plan(data: object) -> bool:
    """Whether a document is a rendered plan: it stands beside manifests and is none."""
    return isinstance(data, Mapping) and data.get("apiVersion") == API_VERSION and data.get("kind") == "Plan"


def _not_an_object(document: Document) -> Diagnostic:
    message = "a Kubernetes object is a mapping with apiVersion and kind"
    return Diagnostic("M001", message, document.locate(()), level="schema")


def _schema(item: Object, minor: str) -> Iterator[Diagnostic]:
    for key in _ENVELOPE:
        if not isinstance(item.data.get(key), str) or not item.data[key]:
            yield Diagnostic(
                "M001", f"the field '{key}' is missing or not text", item.at((key,)), level="schema", object=str(item)
            )
            return
    known = schemas(minor)
    if not known.serves(item.api_version, item.kind):
        yield _unserved(item, minor)
        return
    for error in known.validate(item.data):
        yield _diagnostic(item, error)


def _unserved(item: Object, minor: str) -> Diagnostic:
    what, place = f"{item.api_version} {item.kind}", item.at(("apiVersion",))
    if schemas(minor).is_built_in_group(item.api_version):
        serving = minors_serving(item.api_version, item.kind)
        hint = f"served by {', '.join(serving)}" if serving else ""
        return Diagnostic(
            "M002", f"Kubernetes {minor} does not serve {what}", place, hint=hint, level="schema", object=str(item)
        )
    return Diagnostic(
        "M003", f"no schema for {what}: not checked", place, "unchecked", level="schema", object=str(item)
    )


def _diagnostic(item: Object, error: SchemaError) -> Diagnostic:
    place = item.at(tuple(error.path), key=error.unknown_field)
    return Diagnostic("M004", error.message, place, hint=error.hint, level="schema", object=str(item))
