"""The command line: one file for each command; only this layer prints or exits.

Command modules import the pipeline inside their functions, so that `--help` stays light.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from stowplan.cli import (
    catalogue,
    checking,
    clusters,
    comparing,
    explaining,
    function,
    logging,
    matrix,
    planning,
    rendering,
    schema,
    starting,
    version,
)

app = typer.Typer(
    name="stowplan",
    help="Plan and render DeepSeek V4 deployments: a pairing of variant x hardware x use case becomes validated Kubernetes manifests.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    rendering,
    checking,
    comparing,
    clusters,
    planning,
    explaining,
    logging,
    matrix,
    catalogue,
    schema,
    starting,
    function,
    version,
):
    module.register(app)


def main() -> NoReturn:
    """Run the command line and exit with its documented code."""
    from stowplan.cli.outcome import guarded

    sys.exit(guarded(app))
