"""`stowplan check`: findings on manifests and profiles."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stowplan.cli.session import ProfilesOption, load_catalog


class Format(StrEnum):
    """Format of findings."""

    text = "text"
    json = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...|-]",
            help="Files and folders; - reads standard input; default: manifests and profiles.",
            show_default=False,
        ),
    ] = None,
    kubernetes_version: Annotated[
        str | None,
        typer.Option(
            "--kubernetes-version",
            help="Minor version; default: that of the plan beside the manifests, else of site default.",
            show_default=False,
        ),
    ] = None,
    crds: Annotated[
        list[Path] | None,
        typer.Option(
            "--crds", help="Folder or file of CustomResourceDefinitions; may be given again.", show_default=False
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="Format of the findings.")] = Format.text,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings and what could not be checked count as errors.")
    ] = False,
    select: Annotated[
        list[str] | None, typer.Option("--select", help="Only codes that begin so.", show_default=False)
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="No codes that begin so.", show_default=False)
    ] = None,
    profiles: ProfilesOption = None,
) -> int:
    """Check manifests (ours or anyone's) and profiles; exit 1 on errors."""
    from stowplan.check.tree import check_paths
    from stowplan.diagnostics import Report

    given = paths or [name for name in ("manifests", "profiles") if Path(name).is_dir()]
    catalog = load_catalog(profiles or _laid_over(given))
    found = check_paths(given, catalog, kubernetes_version, sys.stdin.buffer, crds or ())
    chosen, left_out = tuple(select or ()), tuple(ignore or ())
    report = Report.of(
        d for d in found if (not chosen or d.code.startswith(chosen)) and not (left_out and d.code.startswith(left_out))
    )
    if output is Format.json:
        from stowplan.cli.reports.json import write_json

        write_json(report, sys.stdout)
    else:
        from stowplan.cli.reports.text import write_text

        write_text(report, sys.stdout)
        if not len(report):
            sys.stderr.write("no findings\n")
    failing = {"error", "warning", "unchecked"} if strict else {"error"}
    return int(any(d.severity in failing for d in report))


def _laid_over(given: list[str]) -> Path | None:
    """The folder of profiles that is checked, so that its files know each other, where ./profiles does not exist."""
    from stowplan.profiles.kinds import KINDS

    if Path("profiles").is_dir():
        return None
    folders = (Path(name) for name in given if name != "-")
    return next((f for f in folders if any([*f.glob(f"{kind.folder}/*.yaml")] for kind in KINDS.values())), None)
