"""`stowplan matrix`: the verdict of every variant x server x use case."""

from __future__ import annotations

from typing import Annotated

import typer

from stowplan.cli.session import ProfilesOption, load_catalog
from stowplan.cli.tables import Output, OutputOption, cut, print_data, print_rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(matrix)


def matrix(
    variant: Annotated[
        list[str] | None, typer.Option(help="Only this variant (repeat for more).", show_default=False)
    ] = None,
    server: Annotated[
        list[str] | None, typer.Option(help="Only this server (repeat for more).", show_default=False)
    ] = None,
    use_case: Annotated[
        list[str] | None, typer.Option(help="Only this use case (repeat for more).", show_default=False)
    ] = None,
    site: Annotated[str, typer.Option(help="Site.")] = "default",
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Print the verdict of each cell; always exits 0."""
    from stowplan.plan.matrix import cells

    found = list(cells(load_catalog(profiles), variant or (), server or (), use_case or (), site))
    if output.is_data:
        print_data(found, output)
        return 0
    width = None if output is Output.wide else 80
    rows = [
        [
            c["variant"],
            c["server"],
            c["useCase"],
            c["verdict"],
            c["devices"],
            (c["checkpoint"] or "-").rpartition("/")[2],
            c["engine"],
            cut((c["reasons"] or [""])[0], width),
        ]
        for c in found
    ]
    print_rows(["variant", "server", "use case", "verdict", "devices", "checkpoint", "engine", "reason"], rows, output)
    return 0
