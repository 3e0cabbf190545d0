"""A file, a tree or pairings in; one side of a comparison out: plans by pairing, and all that is applied or read beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stowplan.check.objects import mapping
from stowplan.check.runner import is_plan
from stowplan.check.tree import SUFFIXES, documents_of, is_hidden
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.diff.rows import rows
from stowplan.diff.settings import setting_changes
from stowplan.located_yaml import Document, read_bytes
from stowplan.pairing import Pairing
from stowplan.plain_scalars import kubernetes_scalar
from stowplan.plan.device_layer import Host
from stowplan.plan.document import digest
from stowplan.plan.planner import plan
from stowplan.render.artifact import Artifact
from stowplan.render.pairing import full_document, render_all

_TEXT = (".md",)
_KUSTOMIZE = "kustomize.config.k8s.io/"


@dataclass(frozen=True, slots=True)
class Held:
    """One object of a tree, or one other file in it."""

    path: str
    data: Any
    """Plain data, or the text of a file that is not YAML."""

    @property
    def is_object(self) -> bool:
        """Whether a cluster takes it."""
        return isinstance(self.data, Mapping) and "apiVersion" in self.data and "kind" in self.data


@dataclass(frozen=True)
class Side:
    """What stands on one side of a comparison."""

    name: str
    plans: Mapping[str, Mapping[str, Any]]
    """Pairing to its plan's document."""
    held: tuple[Held, ...]
    unrendered: Mapping[str, str]
    """Pairing to the reason why it has a plan and no manifests."""


def of_tree(name: str, root: Path) -> Side:
    """A rendered tree or any other folder of manifests, or one file of them.

    Raises:
        Refused: a file that cannot be read.
    """
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() and not is_hidden(p, root))
    held: list[Held] = []
    plans: dict[str, Mapping[str, Any]] = {}
    for file in files:
        path = file.relative_to(root).as_posix() if file != root else file.name
        if file.suffix in _TEXT:
            held.append(Held(path, file.read_text("utf-8", errors="replace")))
        elif file.suffix in SUFFIXES or file == root:
            for document in documents_of(file):
                if is_plan(document.data):
                    plans[_named(document)] = document.data
                else:
                    held += _held(path, document.data)
    return Side(name, plans, tuple(held), {})


def of_pairings(name: str, pairings: Iterable[Pairing], sites: Iterable[Sequence[Host]] = ()) -> Side:
    """What pairings, and the servers that sites list, render to; a pairing that cannot be rendered has its plan alone.

    Raises:
        Refused: what a pairing pins contradicts itself, or the catalogue.
    """
    plans: dict[str, Mapping[str, Any]] = {}
    made: dict[str, Artifact] = {}
    unrendered: dict[str, str] = {}
    for pairing in pairings:
        planned = plan(pairing)
        document = full_document(planned)
        plans[pairing.name] = {**document, "digest": digest(document)}
        try:
            made |= {artifact.path: artifact for artifact in render_all([planned])}
        except Refused as refused:
            unrendered[pairing.name] = "; ".join(d.message for d in refused.report)
    made |= {artifact.path: artifact for artifact in render_all([], sites)}
    held = [item for path in sorted(made) for item in _artifact(made[path])]
    return Side(name, plans, tuple(held), unrendered)


def _named(document: Document) -> str:
    """The pairing of a rendered plan.

    Raises:
        Refused: it was edited into something that no plan is.
    """
    plan_ = document.data
    pairing = mapping(plan_.get("pairing"))
    said = [pairing.get(key) for key in ("name", "variant", "server")]
    try:
        told = [list(rows(plan_)), list(setting_changes(plan_, {}))]
    except (AttributeError, KeyError, TypeError, ValueError):
        told = []
    if not told or not all(isinstance(value, str) for value in said):
        message, hint = "is not a plan that stowplan rendered", "render the pairing again"
        raise Refused([Diagnostic("P018", message, Location(document.file), hint=hint)], unreadable=True)
    return str(said[0])


def _artifact(artifact: Artifact) -> Iterator[Held]:
    path = Path(artifact.path)
    if artifact.objects:
        yield from (Held(artifact.path, item) for item in artifact.objects)
    elif path.suffix in _TEXT:
        yield Held(artifact.path, artifact.text)
    elif path.suffix in SUFFIXES and path.name != "plan.yaml":
        yield from _held(artifact.path, next(iter(_parsed(artifact))).data)


def _parsed(artifact: Artifact) -> Iterator[Document]:
    return read_bytes(artifact.text.encode(), artifact.path, scalar=kubernetes_scalar)


def _held(path: str, data: Any) -> Iterator[Held]:
    """The objects of a document; a kustomization is how a tree is read, and no part of what is applied."""
    if isinstance(data, Mapping) and str(data.get("apiVersion", "")).startswith(_KUSTOMIZE):
        return
    if isinstance(data, Mapping) and str(data.get("kind", "")).endswith("List") and isinstance(data.get("items"), list):
        yield from (Held(path, item) for item in data["items"])
    elif data is not None:
        yield Held(path, data)
