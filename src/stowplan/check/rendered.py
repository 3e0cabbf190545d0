"""Artifacts that were just rendered in, findings out; nothing is read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import Document
from stowplan.render.artifact import Artifact


def check_rendered(
    artifacts: Iterable[Artifact], minor: str, plans: Mapping[str, Mapping[str, Any]], catalog: Catalog
) -> list[Diagnostic]:
    """Every finding, bundle by bundle; `plans` gives a pairing folder's document."""
    bundles: dict[str, list[Document]] = {}
    for artifact in artifacts:
        for item in artifact.objects:
            document = Document(item, artifact.path)
            bundles.setdefault(_bundle(artifact.path), []).append(document)
    return [
        d for folder, documents in bundles.items() for d in check_bundle(documents, minor, plans.get(folder), catalog)
    ]


def _bundle(path: str) -> str:
    """The folder of the kustomization: a server's bundle lies below its layer's."""
    parts = path.split("/")
    return "/".join(parts[:-1]) if "servers" in parts else "/".join(parts[:2])
