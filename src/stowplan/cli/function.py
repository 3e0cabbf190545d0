"""`stowplan fn`: a KRM function for kustomize, kpt and whatever else speaks ResourceList."""

from __future__ import annotations

import sys

import typer

from stowplan.cli.session import ProfilesOption, load_catalog


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fn)


def fn(profiles: ProfilesOption = None) -> int:
    """Read a ResourceList, write it with results: a Pairing as functionConfig is rendered into its items; all items are checked."""
    from stowplan.canonical_yaml import dump
    from stowplan.check.resource_list import run_function

    answer = run_function(sys.stdin.buffer.read(), load_catalog(profiles))
    sys.stdout.write(dump(answer))
    errors = [result for result in answer["results"] if result["severity"] == "error"]
    for result in errors:  # runners show standard error, and not all show results
        where = ":".join(str(p) for p in (result.get("file", {}).get("path"), result.get("field", {}).get("path")) if p)
        sys.stderr.write(f"{f'{where}: ' if where else ''}error[{result['tags']['code']}]: {result['message']}\n")
    return int(bool(errors))
