"""A first pairing in; the files of a repository to start from, schemas for editors among them, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stowplan import __version__, resources
from stowplan.canonical_yaml import dump
from stowplan.catalog import Catalog
from stowplan.profiles.kinds import API_VERSION
from stowplan.render.artifact import Artifact
from stowplan.render.environment import render_text

FOLDER = "repository"
SITE = "here"
"""The site whose file is among them."""
_SHAPE = ".j2"


def repository_files(name: str, spec: Mapping[str, Any], catalog: Catalog) -> Iterator[Artifact]:
    """Everything but the schemas, which are the catalogue's."""
    root = resources.folder("templates") / FOLDER
    context = {"kubernetes": catalog.sites["default"].kubernetes}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        path = file.relative_to(root).as_posix()
        text = render_text(f"{FOLDER}/{path}", context) if file.suffix == _SHAPE else file.read_text("utf-8")
        yield Artifact(path.removesuffix(_SHAPE), text)
    yield Artifact("requirements.txt", f"stowplan=={__version__}\n")
    yield Artifact(f"profiles/pairings/{name}.yaml", pairing_text(name, spec))


def pairing_text(name: str, spec: Mapping[str, Any], folder: Path = Path("profiles/pairings")) -> str:
    """A pairing's file, with the line by which editors find its schema from that folder."""
    kind = {"apiVersion": API_VERSION, "kind": "Pairing", "metadata": {"name": name}, "spec": dict(spec)}
    up = "/".join([".."] * len(folder.parts))
    return f"# yaml-language-server: $schema={up}/schemas/{API_VERSION.rpartition('/')[2]}/pairing.json\n{dump(kind)}"
