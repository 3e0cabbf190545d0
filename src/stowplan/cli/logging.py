"""`stowplan log`: an engine's start-up log beside the plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stowplan.cli.session import ProfilesOption, find_pairing, load_catalog
from stowplan.cli.tables import Output, OutputOption, print_data, print_rows

if TYPE_CHECKING:
    from stowplan.catalog import Catalog
    from stowplan.plan.log_reading import Reading
    from stowplan.plan.model import Candidate, Role


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("log")(log)


def log(
    pairing: Annotated[str, typer.Argument(help="Name or file.")],
    file: Annotated[Path, typer.Argument(help="The engine's start-up log.")],
    role: Annotated[
        str | None, typer.Option(help="Role whose log it is, where there are several.", show_default=False)
    ] = None,
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Set an engine's start-up log beside the plan: weights, cache, capacity, settings; exit 1 where they differ."""
    from dataclasses import asdict

    from stowplan.diagnostics import Diagnostic, Refused
    from stowplan.plan.planner import plan
    from stowplan.plan.start_log import compare

    text = _text(file)
    catalog = load_catalog(profiles)
    made = plan(find_pairing(pairing, catalog))
    planned = made.chosen or next(iter(made.candidates), None)
    if planned is None:
        raise Refused([Diagnostic(r.code, r.message, made.pairing.locate()) for r in made.reasons])
    lines = list(compare(planned.stack, _role(planned, role), _reading(text, planned, file, catalog)))
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


def _role(planned: Candidate, name: str | None) -> Role:
    """The role of that name; the only one without a name."""
    from stowplan.diagnostics import Diagnostic, Location, Refused

    names = [role.name for role in planned.roles]
    if name not in names and (name or len(names) > 1):
        message = f"the plan has no role '{name}'" if name else "the plan has several roles, each with a log of its own"
        raise Refused(
            [Diagnostic("P025", message, Location("--role"), hint=f"roles: {', '.join(names)}")], unreadable=True
        )
    return planned.roles[names.index(name) if name else 0]


def _text(file: Path) -> str:
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.plan.log_reading import decode

    try:
        return decode(file.read_bytes())
    except OSError as error:
        raise Refused(
            [Diagnostic("P001", f"cannot be read: {error.strerror}", Location(str(file)))], unreadable=True
        ) from None


def _reading(text: str, planned: Candidate, file: Path, catalog: Catalog) -> Reading:
    """What the log says; a log of another engine, or none at all, is refused by name."""
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.plan.log_reading import of_engine, read_log

    name, patterns = planned.stack.engine_name, planned.stack.engine.log
    others = [
        other
        for other, engine in catalog.engines.items()
        if other != name and engine.log and of_engine(text, engine.log) and not read_log(text, engine.log).empty
    ]
    message = ""
    if patterns is None:
        message = f"is not read: the profile of {name} has no patterns of its start-up log"
    elif others and not of_engine(text, patterns):
        message = f"is a log of {' or '.join(others)}; the plan is for {name}"
    elif (reading := read_log(text, patterns)).empty:
        message = f"holds none of the lines of {name} that are known"
    else:
        return reading
    raise Refused([Diagnostic("P017", message, Location(str(file)))], unreadable=True)
