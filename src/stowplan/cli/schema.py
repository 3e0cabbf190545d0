"""`stowplan schema`: the JSON Schema of a kind of file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stowplan.cli.session import ProfilesOption, load_catalog

if TYPE_CHECKING:
    from stowplan.catalog import Catalog
    from stowplan.render.artifact import Artifact


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="chip, server, variant, use-case, engine, device-layer, platform, quantizer, recipe, benchmark, site or pairing.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder: write the schemas of all kinds to its v1/.", show_default=False),
    ] = None,
    profiles: ProfilesOption = None,
) -> int:
    """Print the draft-07 JSON Schema of a kind of file, for editors and CI, with the catalogue's names to offer."""
    from stowplan.catalog.suggestions import editor_schema
    from stowplan.diagnostics import Diagnostic, Location, Refused

    if (kind is None) == (out is None):
        raise Refused([Diagnostic("P012", "give a KIND or --out DIR", Location("schema"))], unreadable=True)
    if kind is not None:
        name = kind_name(kind)
        sys.stdout.write(schema_text(editor_schema(name, load_catalog(profiles))))
    if out is not None:
        from stowplan.write import write

        done = write(out, schema_files(load_catalog(profiles)), [""])
        sys.stderr.write(f"{out}: {len(done.written)} written, {len(done.removed)} removed, {done.same} unchanged\n")
    return 0


def schema_text(data: object) -> str:
    """As it is printed and committed."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def schema_files(catalog: Catalog) -> list[Artifact]:
    """The schemas of all kinds, below the version of the file format: the path that modelines name."""
    from stowplan.catalog.suggestions import editor_schema
    from stowplan.profiles.kinds import API_VERSION, KINDS
    from stowplan.render.artifact import Artifact

    version = API_VERSION.rpartition("/")[2]
    return [
        Artifact(f"{version}/{kind.word}.json", schema_text(editor_schema(name, catalog)))
        for name, kind in KINDS.items()
    ]


def kind_name(word: str) -> str:
    """`Chip` for `chip`, `chips` or `Chip`.

    Raises:
        Refused: there is no such kind.
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean
    from stowplan.profiles.kinds import KINDS

    for kind in KINDS.values():
        if word.lower() in (kind.name.lower(), kind.word, kind.folder):
            return kind.name
    words = [kind.word for kind in KINDS.values()]
    hint = did_you_mean(word, words) or f"known: {', '.join(words)}"
    raise Refused([Diagnostic("P014", f"there is no kind '{word}'", Location("KIND"), hint=hint)], unreadable=True)
