"""`stowplan diff`: what changes between two sides, in the operator's terms and in YAML."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stowplan.cli.session import ProfilesOption, exists, find_pairing, load_catalog, own_pairings, own_sites

if TYPE_CHECKING:
    from stowplan.catalog import Catalog
    from stowplan.diff.side import Side

_SIDE = "File, folder, pairing's name, or Git revision (REV or REV:PATH)."


class Shape(StrEnum):
    """Shape of a comparison."""

    text = "text"
    markdown = "markdown"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(diff)


def diff(
    old: Annotated[str, typer.Argument(help=_SIDE)],
    new: Annotated[str, typer.Argument(help=f"{_SIDE} Default: the working directory.")] = ".",
    output: Annotated[
        Shape, typer.Option("-o", "--output", help="Shape; markdown is that of a pull request's comment.")
    ] = Shape.text,
    profiles: ProfilesOption = None,
) -> int:
    """Compare two sides: exit 0 where they are the same, 1 where they differ.

    A folder with profiles is what its pairings render to; any other folder is read as manifests, with the plan.yaml in them.
    """
    from stowplan.cli import comparison
    from stowplan.diff import compare

    catalog = load_catalog(profiles)
    with ExitStack() as stack:
        before, after = (_side(given, catalog, stack) for given in (old, new))
        found = compare(before, after, catalog)
    write = {Shape.text: comparison.text, Shape.markdown: comparison.markdown, Shape.json: comparison.json}[output]
    sys.stdout.write(write(found))
    return int(bool(found))


def _side(given: str, catalog: Catalog, stack: ExitStack) -> Side:
    """One side by what is there: a path, a pairing of the catalogue, then a revision.

    Raises:
        Refused: it is none of them, or cannot be read; a comparison then has no answer (exit 2).
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean

    try:
        if exists(Path(given)):
            return _of_path(given, Path(given), catalog)
        if given in catalog.pairings:
            from stowplan.diff.side import of_pairings

            return of_pairings(given, [find_pairing(given, catalog)])
        if found := _of_revision(given, catalog, stack):
            return found
    except Refused as refused:
        raise Refused(refused.report, unreadable=True) from None
    message = "is no file, no folder, no pairing and no Git revision"
    hint = (
        did_you_mean(given, catalog.pairings) or "HEAD, origin/main, HEAD:manifests and v1.2.0:manifests are revisions"
    )
    raise Refused([Diagnostic("P011", message, Location(given), hint=hint)], unreadable=True)


def _of_revision(given: str, catalog: Catalog, stack: ExitStack) -> Side | None:
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from stowplan.diagnostics import Refused
    from stowplan.diff.revision import find_revision, write_files

    revision = find_revision(given)
    if revision is None:
        return None
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="stowplan-")))
    try:
        return _of_path(given, write_files(revision, folder), catalog)
    except Refused as refused:
        name = given.partition(":")[0]
        told = [
            replace(d, location=replace(d.location, file=d.location.file.replace(f"{folder}/", f"{name}:")))
            if d.location
            else d
            for d in refused.report
        ]
        raise Refused(told) from None


def _of_path(given: str, path: Path, catalog: Catalog) -> Side:
    from stowplan.diff.side import of_pairings, of_tree
    from stowplan.pairing import read_pairing
    from stowplan.plan.device_layer import site_hosts

    own = next((folder for folder in (path / "profiles", path) if _is_profiles(folder)), None)
    if own is not None:
        catalog = load_catalog(own)
        sites = [site_hosts(catalog, name) for name in own_sites(catalog)]
        return of_pairings(given, [find_pairing(name, catalog) for name in own_pairings(catalog)], sites)
    files = [path] if path.is_file() else sorted(path.glob("*.yaml"))
    if files and all(_is_pairing(file) for file in files):
        return of_pairings(given, [read_pairing(file, catalog) for file in files])
    return of_tree(given, path)


def _is_profiles(folder: Path) -> bool:
    """Whether files of ours lie where the catalogue reads them; a rendered tree has folders of the same names."""
    from stowplan.profiles.kinds import KINDS

    return any(
        file.name != "kustomization.yaml" for kind in KINDS.values() for file in folder.glob(f"{kind.folder}/*.yaml")
    )


def _is_pairing(file: Path) -> bool:
    from stowplan.located_yaml import read_file

    return any(isinstance(d.data, dict) and d.data.get("kind") == "Pairing" for d in read_file(file))
