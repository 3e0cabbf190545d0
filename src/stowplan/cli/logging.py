"""`stowplan log`: an engine's start-up log beside the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stowplan.cli.session import ProfilesOption, find_pairing, load_catalog
from stowplan.cli.tables import Output, OutputOption, print_data, print_rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("log")(log)


def log(
    pairing: Annotated[str, typer.Argument(help="Name or file.")],
    file: Annotated[Path, typer.Argument(help="The engine's start-up log.")],
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Set an engine's start-up log beside the plan: weights, cache, capacity, settings; exit 1 where they differ."""
    from dataclasses import asdict

    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.plan.planner import plan
    from stowplan.plan.start_log import compare, read_log

    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError as error:
        raise Refused(
            [Diagnostic("P001", f"cannot be read: {error.strerror}", Location(str(file)))], unreadable=True
        ) from None
    made = plan(find_pairing(pairing, load_catalog(profiles)))
    if made.chosen is None:
        raise Refused([Diagnostic(r.code, r.message, made.pairing.locate()) for r in made.reasons])
    patterns = made.chosen.stack.engine.log
    lines = list(compare(made.chosen, read_log(text, patterns))) if patterns else []
    if not lines:
        message = f"holds none of the lines of {made.chosen.stack.engine_name} that are known"
        raise Refused([Diagnostic("P017", message, Location(str(file)))], unreadable=True)
    if output.is_data:
        print_data([asdict(line) for line in lines], output)
    else:
        rows = [
            [
                x.figure,
                x.planned,
                x.logged,
                "-" if x.difference is None else f"{x.difference:+.1%}",
                "yes" if x.agrees else "no",
                x.explanation,
            ]
            for x in lines
        ]
        print_rows(["figure", "plan", "log", "difference", "agrees", "explanation"], rows, output)
    return int(not all(line.agrees for line in lines))
