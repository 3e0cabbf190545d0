"""`stowplan version`: the tool's version and how old its facts are."""

from __future__ import annotations

import sys
from typing import Any

import typer

from stowplan.cli.session import ProfilesOption, load_catalog
from stowplan.cli.tables import Output, OutputOption, print_data


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(version)


def version(output: OutputOption = Output.table, profiles: ProfilesOption = None) -> int:
    """Print the version of the tool, of its facts and of its schemas."""
    from stowplan import __version__
    from stowplan.catalog.facts import digest, newest_fact
    from stowplan.check.kubernetes_schema import MINORS

    catalog = load_catalog(profiles)
    data: dict[str, Any] = {
        "stowplan": __version__,
        "facts": {"newest": newest_fact(catalog), "digest": digest(catalog)},
        "kubernetes": list(MINORS),
    }
    if output.is_data:
        print_data(data, output)
    else:
        sys.stdout.write(
            f"stowplan {__version__}\nfacts up to {data['facts']['newest']}, digest {data['facts']['digest']}\nKubernetes {', '.join(MINORS)}\n"
        )
    return 0
