"""`stowplan schema`: the JSON Schema of a kind of file."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    kind: Annotated[
        str,
        typer.Argument(
            help="chip, server, variant, use-case, engine, device-layer, platform, quantizer, recipe, site or pairing."
        ),
    ],
) -> int:
    """Print the draft-07 JSON Schema of a kind of file, for editors and CI."""
    from stowplan.profiles.schema import json_schema

    sys.stdout.write(json.dumps(json_schema(kind_name(kind)), indent=2) + "\n")
    return 0


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
