"""Paths in, findings out: files are sorted into bundles, profiles and kustomizations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from stowplan.catalog import Catalog
from stowplan.check.advertised import FILE, read_advertised
from stowplan.check.custom_resources.definitions import Definitions
from stowplan.check.ignores import without_ignored
from stowplan.check.kubernetes_schema import MINORS
from stowplan.check.objects import Advertised, Object, mapping
from stowplan.check.profiles import check_profile
from stowplan.check.quantization import is_quantization_file
from stowplan.check.runner import check_bundle, is_plan, objects_of
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.located_yaml import Document, read_bytes, read_file, read_stream
from stowplan.plain_scalars import json_scalar, kubernetes_scalar
from stowplan.profiles.kinds import API_VERSION

SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATION = "kustomization.yaml"
_STDIN = "<stdin>"
_NOT_APPLIED = (API_VERSION, "kustomize.config.k8s.io/")
_NOT_READ = ("P001", "P002")
"""Missing, no permission, too large; text that is not YAML is a finding like any other."""


@dataclass(frozen=True)
class _Against:
    """What files are checked against."""

    catalog: Catalog
    version: str
    """Kubernetes minor, where nothing beside the files says another."""
    pinned: bool
    """The caller named the minor."""
    crds: Definitions


def check_paths(
    paths: Iterable[str], catalog: Catalog, minor: str | None, stdin: BinaryIO, crds: Iterable[Path] = ()
) -> list[Diagnostic]:
    """Every finding below the paths; `crds` are folders and files of CustomResourceDefinitions.

    Raises:
        Refused: a path that cannot be read, or a Kubernetes version without schemas.
    """
    version = minor or catalog.sites["default"].kubernetes
    if version not in MINORS:
        message = f"no schemas for Kubernetes {version}"
        raise Refused(
            [Diagnostic("M000", message, Location("--kubernetes-version"), hint=f"known: {', '.join(MINORS)}")],
            unreadable=True,
        )
    against = _Against(catalog, version, minor is not None, Definitions(crds))
    found: list[Diagnostic] = []
    for path in paths:
        found += _check_stdin(read_stream(stdin), against) if path == "-" else _check_path(Path(path), against)
    return found


def applied_objects(paths: Iterable[str], stdin: BinaryIO) -> list[Object]:
    """The objects below the paths that are applied to a cluster: no profiles, no plans, nothing that only kustomize reads.

    Raises:
        Refused: a path that cannot be read, or text that is not YAML.
    """
    found: list[Object] = []
    for path in paths:
        if path == "-":
            documents = list(read_bytes(read_stream(stdin), _STDIN, scalar=kubernetes_scalar))
        else:
            documents = [d for file in _files(Path(path)) for d in read_file(file, scalar=kubernetes_scalar)]
        found += objects_of(documents)
    return [item for item in found if _is_object(item.data) and not item.api_version.startswith(_NOT_APPLIED)]


def _check_stdin(raw: bytes, against: _Against) -> list[Diagnostic]:
    try:
        documents = list(read_bytes(raw, _STDIN, scalar=kubernetes_scalar))
    except Refused as refused:
        return list(refused.report)
    return _check_documents(documents, against, None)


def _check_path(path: Path, against: _Against) -> list[Diagnostic]:
    if not path.is_dir():
        return _check_file(path, against)
    found: list[Diagnostic] = []
    said = tuple(read_advertised((file, document.data) for file in path.rglob(FILE) for document in _read(file)[0]))
    for root, files in _bundles(path).items():
        documents: list[Document] = []
        for file in files:
            read, problems = _read(file)
            documents += read
            found += problems
        plan = _plan(root, documents)
        beside = None if against.pinned else _minor_of(plan)
        found += _check_documents(documents, replace(against, version=beside or against.version), plan, said)
    return found


def _check_file(path: Path, against: _Against) -> list[Diagnostic]:
    """A file that was named: that it cannot be read is the caller's error, that it is empty a finding."""
    documents, problems = _read(path)
    if any(d.code in _NOT_READ for d in problems):
        raise Refused(problems, unreadable=True)
    if not problems and all(d.data is None for d in documents):
        return [Diagnostic("M001", "holds no object", Location(str(path)), level="schema")]
    return problems + _check_documents(documents, against, None)


def _bundles(path: Path) -> dict[Path, list[Path]]:
    """Files by the folder of the kustomization above them, or by the given folder where there is none."""
    roots = {file.parent for file in path.rglob(_KUSTOMIZATION)}
    bundles: dict[Path, list[Path]] = {}
    for file in _files(path):
        root = next((parent for parent in file.parents if parent in roots), path)
        bundles.setdefault(root, []).append(file)
    return bundles


def _files(path: Path) -> list[Path]:
    """Files of manifests below a folder, in order; a file is one of itself."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and not is_hidden(p, path))


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a part of a path below a folder begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _plan(root: Path, documents: Iterable[Document]) -> Mapping[str, Any] | None:
    """The plan that stands in the bundle's own folder."""
    file = str(root / "plan.yaml")
    return next((d.data for d in documents if d.file == file and is_plan(d.data)), None)


def _minor_of(plan: Mapping[str, Any] | None) -> str | None:
    value = mapping((plan or {}).get("pairing")).get("kubernetes")
    return value if value in MINORS else None


def _read(file: Path) -> tuple[list[Document], list[Diagnostic]]:
    """The documents of a file, and what is wrong with its text."""
    try:
        return documents_of(file), []
    except Refused as refused:
        return [], list(refused.report)


def documents_of(file: Path) -> list[Document]:
    """A file as Kubernetes reads it, or as JSON's types only where it is one of ours.

    Raises:
        Refused: as `read_file`.
    """
    documents = read_file(file, scalar=kubernetes_scalar)
    if any(isinstance(d.data, Mapping) and d.data.get("apiVersion") == API_VERSION for d in documents):
        return read_file(file, scalar=json_scalar)
    return documents


def _check_documents(
    documents: Sequence[Document],
    against: _Against,
    plan: Mapping[str, Any] | None,
    advertised: tuple[Advertised, ...] = (),
) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    manifests: list[Document] = []
    for document in documents:
        data = document.data
        if is_plan(data):
            plan = plan or data
        elif isinstance(data, Mapping) and data.get("apiVersion") == API_VERSION:
            found += check_profile(document, against.catalog)
        elif _is_object(data) or is_quantization_file(data, against.catalog):
            manifests.append(document)
    found = list(dict.fromkeys(found))  # a broken profile is met again wherever another names it
    found += check_bundle(manifests, against.version, plan, against.catalog, advertised, against.crds)
    return without_ignored(found, documents, objects_of(manifests))


def _is_object(data: object) -> bool:
    """Files beside manifests (labels, toolchain configs, values) are not Kubernetes objects and are left alone."""
    return (isinstance(data, Mapping) and ("apiVersion" in data or "kind" in data)) or isinstance(data, list | str)
