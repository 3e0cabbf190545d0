"""What rendering gives: a relative path and its bytes' text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stowplan.canonical_yaml import dump, dump_stream

_KUSTOMIZATION = "kustomization.yaml"
_NAMED = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file below the output folder."""

    path: str
    text: str
    objects: tuple[Mapping[str, Any], ...] = ()
    """Kubernetes objects in it, which belong to the folder's kustomization; empty for other files."""


def slim(artifact: Artifact) -> Artifact:
    """The file with no more of its objects than what names them, for once they are checked: they take more memory than their text."""
    return replace(artifact, objects=tuple({key: item[key] for key in _NAMED} for item in artifact.objects))


def objects_file(path: str, objects: Iterable[Mapping[str, Any]]) -> Artifact:
    """A file of Kubernetes objects."""
    held = tuple(objects)
    return Artifact(path, dump(held[0]) if len(held) == 1 else dump_stream(held), held)


def data_file(path: str, data: object) -> Artifact:
    """A file that no cluster reads."""
    return Artifact(path, dump(data))


def kustomization(folder: str, artifacts: Iterable[Artifact]) -> Artifact:
    """The `kustomization.yaml` of a folder over its files of objects."""
    resources = sorted(a.path.removeprefix(f"{folder}/") for a in artifacts if a.objects)
    data = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
    return data_file(f"{folder}/{_KUSTOMIZATION}", data)
