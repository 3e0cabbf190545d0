"""Objects in; what a live API server would say if they were applied, as findings, out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from stowplan.check.custom_resources.definitions import definitions_of
from stowplan.check.objects import Object, mapping, sequence
from stowplan.cluster.field_paths import field_path
from stowplan.cluster.server import Answer, Server
from stowplan.diagnostics import Diagnostic, Level, Severity

_UNTYPED = ("failed to create typed patch object", "failed to convert new object")
"""What the server answers with status 500, though the fault is the object's."""
_MERGING = re.compile(r"^\s*(\.\S*?): (.+)$", re.MULTILINE)
"""One line of what cannot be read as an object of its kind."""
_RIGHTS = re.compile(r"cannot \w+ resource")
"""The user may not do it at all, whatever the object."""
_WITHHELD = "is refused; the server's words are left out, for they quote a Secret"
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')
NOT_JUDGED = ("K005", "K006", "K007")
"""Codes of objects of which the server said nothing."""


@dataclass
class _Bundle:
    """What is applied together, and what the cluster turned out to lack."""

    namespaces: frozenset[str]
    kinds: frozenset[tuple[str, str]]
    """Group and kind of the definitions among the objects."""
    missing: set[str] = field(default_factory=set)
    """Namespaces that the cluster does not have."""


def dry_run(objects: Sequence[Object], server: Server, manager: str) -> Iterator[Diagnostic]:
    """Server-side apply of every object as a dry run, one after the other, each as if the others did not exist.

    Raises:
        Refused: the server stops answering.
    """
    definitions = (d for item in objects if item.kind == "CustomResourceDefinition" for d in definitions_of(item.data))
    bundle = _Bundle(
        frozenset(item.name for item in objects if item.kind == "Namespace"),
        frozenset((d.group, d.kind) for d in definitions),
    )
    for item in objects:
        problem = unaskable(item)
        yield from [problem] if problem else _asked(item, bundle, server, manager)


def unaskable(item: Object) -> Diagnostic | None:
    """Why an object cannot even be sent: the address of a request is made of kind and name."""
    for key in ("apiVersion", "kind"):
        if not isinstance(item.data.get(key), str) or not item.data[key]:
            return _finding(item, "K003", f"the field '{key}' is missing or not text", (key,))
    if item.name and item.name not in (".", ".."):
        return None
    if item.metadata.get("generateName") and "name" not in item.metadata:
        message = "was not asked: by generateName it is created, and never applied"
        return _finding(item, "K007", message, ("metadata", "generateName"), "unchecked")
    return _finding(item, "K003", "has no name that is text", ("metadata", "name"))


def _asked(item: Object, bundle: _Bundle, server: Server, manager: str) -> Iterator[Diagnostic]:
    resource = server.resource(item.api_version, item.kind)
    if resource is None:
        yield _no_kind(item, bundle)
        return
    namespace = (item.namespace or server.namespace) if resource.namespaced else ""
    if namespace in bundle.missing:
        yield _no_namespace(item, namespace, bundle)
        return
    answer = server.merged(item, resource, manager)
    if answer.status == HTTPStatus.NOT_FOUND and answer.details.get("kind") == "namespaces":
        bundle.missing.add(namespace)
        yield _no_namespace(item, namespace, bundle)
        return
    yield from (_finding(item, "K008", said, (), "warning") for said in answer.warnings)
    if not answer.accepted:
        yield from refusals(item, answer)


def refusals(item: Object, answer: Answer) -> Iterator[Diagnostic]:
    """What a server that did not accept an object found wrong, each at its field."""
    causes = [mapping(cause) for cause in sequence(answer.details.get("causes"))]
    named = [(str(cause.get("field", "")), str(cause.get("message", ""))) for cause in causes]
    if answer.status == HTTPStatus.CONFLICT and named:
        yield from (_conflict(item, place, said) for place, said in named)
        return
    if answer.status == HTTPStatus.FORBIDDEN and _RIGHTS.search(answer.message):
        yield _finding(item, "K007", f"was not asked: {answer.message}", (), "unchecked", "ask with a user who may")
        return
    untyped = any(words in answer.message for words in _UNTYPED)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or (
        answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not untyped
    ):
        hint = "the cluster failed, not the object: run it again, or look at the webhook that the message names"
        yield _finding(item, "K007", f"the cluster could not say: {answer.message}", (), "unchecked", hint)
        return
    if not named and untyped:
        named = [(found[1], found[2]) for found in _MERGING.finditer(answer.message.partition("): ")[2])]
    if not named:
        named = [(found, "unknown field") for found in _UNKNOWN.findall(answer.message)]
    for place, said in named or [("", answer.message)]:
        words = _WITHHELD if item.kind == "Secret" else said
        yield _finding(item, "K003", f"{place.lstrip('.')}: {words}" if place else words, field_path(item.data, place))


def _conflict(item: Object, place: str, said: str) -> Diagnostic:
    message = f"{place.lstrip('.')}: {said}"
    hint = "leave the field out where another program sets it, name who applies these files with --field-manager, or take it over: kubectl apply --server-side --force-conflicts"
    return _finding(item, "K004", message, field_path(item.data, place), hint=hint)


def _no_kind(item: Object, bundle: _Bundle) -> Diagnostic:
    what = f"{item.api_version} {item.kind}"
    if (item.group, item.kind) in bundle.kinds:
        message = f"was not asked: the cluster has no {what} yet, which these files define"
        return _finding(item, "K007", message, ("apiVersion",), "unchecked", "apply the definitions first")
    hint = "install what brings the kind, or leave the object out"
    return _finding(item, "K005", f"the cluster serves no {what}", ("apiVersion",), hint=hint, level="schema")


def _no_namespace(item: Object, namespace: str, bundle: _Bundle) -> Diagnostic:
    path = ("metadata", "namespace")
    if namespace in bundle.namespaces:
        message = f"was not asked: it lies in the namespace '{namespace}', which only these files create"
        return _finding(
            item, "K007", message, path, "unchecked", f"apply the Namespace '{namespace}' first, and run this again"
        )
    hint = f"kubectl create namespace {namespace}, or add it to the files"
    return _finding(
        item, "K006", f"the cluster has no namespace '{namespace}', and these files create none", path, hint=hint
    )


def _finding(
    item: Object,
    code: str,
    message: str,
    path: Iterable[str | int],
    severity: Severity = "error",
    hint: str = "",
    level: Level = "admission",
) -> Diagnostic:
    unknown = "unknown field" in message or "not declared" in message
    return Diagnostic(code, message, item.at(tuple(path), key=unknown), severity, hint, level, str(item))
