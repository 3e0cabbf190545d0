"""A KRM ResourceList in; the same with what its functionConfig generates, and with findings as results, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.kubernetes_schema import MINORS
from stowplan.check.objects import Object, mapping, sequence
from stowplan.check.rendered import check_rendered
from stowplan.check.runner import check_bundle, objects_of
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.located_yaml import Document, read_bytes
from stowplan.pairing import resolve
from stowplan.plain_scalars import json_scalar, kubernetes_scalar
from stowplan.plan.planner import plan
from stowplan.profiles.kinds import API_VERSION
from stowplan.profiles.reading import read_profile
from stowplan.render.artifact import Artifact
from stowplan.render.pairing import full_document, render_pairing

API, KIND = "config.kubernetes.io/v1", "ResourceList"
_STDIN = "<stdin>"
_PATH = ("internal.config.kubernetes.io/path", "config.kubernetes.io/path")
_INDEX = ("internal.config.kubernetes.io/index", "config.kubernetes.io/index")
_PAIRING = "stowplan.dev/pairing"
_SEVERITY = {"error": "error", "warning": "warning", "info": "info", "unchecked": "info"}
_OPTION = "kubernetesVersion"
_NOT_OURS = ("annotations", "labels", "namespace")
"""Metadata of a functionConfig that says how the function is run, and nothing of the pairing."""

Result = dict[str, Any]


def run_function(raw: bytes, catalog: Catalog) -> dict[str, Any]:
    """Items as given; where functionConfig is a Pairing, what it renders to stands in place of what it rendered before.

    Raises:
        Refused: the input is no ResourceList, or asks for a Kubernetes version without schemas.
    """
    document, config = _read(raw)
    items: list[Any] = list(sequence(document.data.get("items")))
    minor, results, replaced = catalog.sites["default"].kubernetes, list[Result](), ""
    if config is not None and config.data.get("apiVersion") == API_VERSION:
        name = str(mapping(config.data.get("metadata")).get("name"))
        try:
            made, minor, found = _generated(config, catalog)
            items, replaced = [*(item for item in items if _owner(item) != name), *made], name
        except Refused as refused:
            found = list(refused.report)
        results += [_config_result(d, config, mapping(document.data["functionConfig"])) for d in found]
    elif config is not None:
        minor = _minor(config, minor)
    objects = list(objects_of([document]))
    for finding in check_bundle([document], minor, None, catalog):
        item, result = _item_result(finding, document, objects)
        if item is None or not replaced or _owner(item.data) != replaced:
            results.append(result)
    given = {"functionConfig": document.data["functionConfig"]} if config is not None else {}
    return {"apiVersion": API, "kind": KIND, "items": items, **given, "results": results}


def _read(raw: bytes) -> tuple[Document, Document | None]:
    """The list, and its functionConfig as a document with the places of the list."""
    documents = list(read_bytes(raw, _STDIN, scalar=kubernetes_scalar))
    data = documents[0].data if len(documents) == 1 else None
    if not isinstance(data, Mapping) or data.get("kind") != KIND:
        message = f"expected one {KIND} ({API})"
        raise Refused([Diagnostic("M001", message, Location(_STDIN), level="schema")], unreadable=True)
    config = data.get("functionConfig")
    if not isinstance(config, Mapping):
        return documents[0], None
    if config.get("apiVersion") != API_VERSION:
        return documents[0], replace(documents[0], data=config, base=("functionConfig",))
    ours = next(iter(read_bytes(raw, _STDIN, scalar=json_scalar)))
    metadata = ours.data["functionConfig"].get("metadata")
    for key in _NOT_OURS if isinstance(metadata, dict) else ():
        metadata.pop(key, None)
    return documents[0], replace(ours, data=ours.data["functionConfig"], base=("functionConfig",))


def _minor(config: Document, default: str) -> str:
    """The Kubernetes version that a ConfigMap asks for.

    Raises:
        Refused: there are no schemas of it.
    """
    minor = str(mapping(config.data.get("data")).get(_OPTION, default))
    if minor not in MINORS:
        where, hint = config.locate(("data", _OPTION)), f"known: {', '.join(MINORS)}"
        raise Refused([Diagnostic("M000", f"no schemas for Kubernetes {minor}", where, hint=hint)], unreadable=True)
    return minor


def _generated(config: Document, catalog: Catalog) -> tuple[list[dict[str, Any]], str, list[Diagnostic]]:
    profile = read_profile(config, kind="Pairing")
    planned = plan(resolve(profile.metadata.name, profile.spec, catalog, config))
    artifacts = render_pairing(planned)
    minor = planned.pairing.site.kubernetes
    plans = {f"pairings/{planned.pairing.name}": full_document(planned)}
    return [*_items(artifacts)], minor, check_rendered(artifacts, minor, plans, catalog)


def _items(artifacts: Iterable[Artifact]) -> Iterator[dict[str, Any]]:
    """Objects with the file that a function's runner would write them to."""
    for artifact in artifacts:
        for index, item in enumerate(artifact.objects):
            metadata = mapping(item["metadata"])
            place = {**dict.fromkeys(_PATH, artifact.path), **dict.fromkeys(_INDEX, str(index))}
            annotations = {**mapping(metadata.get("annotations")), **place}
            yield {**item, "metadata": {**metadata, "annotations": annotations}}


def _owner(item: object) -> object:
    return _annotations(mapping(item)).get(_PAIRING)


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(item.get("metadata")).get("annotations"))


def _item_result(found: Diagnostic, document: Document, objects: Iterable[Object]) -> tuple[Object | None, Result]:
    path = _path_at(document, found.location)
    item = next((o for o in objects if o.base and path[: len(o.base)] == o.base), None)
    if item is None:
        return None, _result(found, {}, ())
    return item, _result(found, item.data, path[len(item.base) :])


def _config_result(found: Diagnostic, config: Document, given: Mapping[str, Any]) -> Result:
    """A finding on what is generated has no place in the list, one on the pairing has."""
    inside = found.location is not None and found.location.file == _STDIN
    return _result(found, given, _path_at(config, found.location) if inside else ())


def _result(found: Diagnostic, item: Mapping[str, Any], field: tuple[str | int, ...]) -> Result:
    """One finding: of which object, at which field, in which file it was read from."""
    result: Result = {
        "message": f"{found.message}; {found.hint}" if found.hint else found.message,
        "severity": _SEVERITY[found.severity],
        "tags": {"code": found.code, "level": found.level},
    }
    if item:
        metadata = mapping(item.get("metadata"))
        named = {"apiVersion": item.get("apiVersion"), "kind": item.get("kind")}
        named |= {key: metadata.get(key) for key in ("name", "namespace")}
        result["resourceRef"] = {key: value for key, value in named.items() if value}
    if field:
        result["field"] = {"path": ".".join(map(str, field))}
    annotations = _annotations(item)
    file = next((str(annotations[key]) for key in _PATH if key in annotations), None)
    if file is not None:
        index = next((str(annotations[key]) for key in _INDEX if key in annotations), "0")
        result["file"] = {"path": file, "index": int(index) if index.isdigit() else 0}
    return result


def _path_at(document: Document, place: Location | None) -> tuple[str | int, ...]:
    """The deepest part of the document that begins at a place, as a key or as a value."""
    found: tuple[str | int, ...] = ()
    for path, places in document.places() if place else ():
        if place in places and len(path) > len(found):
            found = path
    return found
