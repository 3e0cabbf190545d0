"""`stowplan check`: findings on manifests and profiles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stowplan.cli.session import ProfilesOption, load_catalog

if TYPE_CHECKING:
    from stowplan.diagnostics import Report

FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="FORMAT[=FILE]",
        help="text (default), json, junit, sarif or github; with =FILE into a file. May be given again.",
        show_default=False,
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Warnings and what could not be checked count as errors.")]


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
    formats: FormatOption = None,
    strict: StrictOption = False,
    select: Annotated[
        list[str] | None, typer.Option("--select", help="Only codes that begin so.", show_default=False)
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="No codes that begin so.", show_default=False)
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", help="Leave out the findings of this file.", metavar="FILE", show_default=False),
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline", help="Write the findings to this file and exit 0.", metavar="FILE", show_default=False
        ),
    ] = None,
    profiles: ProfilesOption = None,
) -> int:
    """Check manifests (ours or anyone's) and profiles; exit 1 on errors."""
    from stowplan.check.tree import check_paths
    from stowplan.cli.reports.outputs import concluded, outputs, write_reports
    from stowplan.diagnostics import Report

    asked = outputs(formats or ())
    chosen, left_out = _codes("--select", select), _codes("--ignore", ignore)
    given = paths or [name for name in ("manifests", "profiles") if Path(name).is_dir()]
    catalog = load_catalog(profiles or _laid_over(given))
    found = check_paths(given, catalog, kubernetes_version, sys.stdin.buffer, crds or ())
    report = Report.of(
        d for d in found if (not chosen or d.code.startswith(chosen)) and not (left_out and d.code.startswith(left_out))
    )
    if write_baseline is not None:
        write_reports(report, [output for output in asked if output.file is not None])
        return _written(report, write_baseline)
    if baseline is not None:
        report = _new(report, baseline, [] if chosen or left_out else given)
    return concluded(report, asked, strict=strict)


def _codes(option: str, given: list[str] | None) -> tuple[str, ...]:
    """Beginnings of codes, several in one word parted by commas.

    Raises:
        Refused: no code of a check begins so.
    """
    import re

    from stowplan.check.pages import pages
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean

    asked = tuple(code.strip() for word in given or () for code in word.split(",") if code.strip())
    paged = {code[0] for code in pages()} if asked else set()
    for code in asked:
        known = any(page.startswith(code) for page in pages()) or code[0] not in paged
        if not known or not re.fullmatch(r"[A-Z][0-9]{0,3}", code):
            hint = did_you_mean(code, pages()) or "codes are a letter and three digits, or the beginning of that"
            raise Refused(
                [Diagnostic("P012", f"no code begins with '{code}'", Location(option), hint=hint)], unreadable=True
            )
    return asked


def _written(report: Report, path: Path) -> int:
    from stowplan.check.baseline import baseline_text
    from stowplan.write import replace_file

    replace_file(path, baseline_text(report))
    sys.stderr.write(f"{len(report)} findings written to {path}\n")
    return 0


def _new(report: Report, path: Path, looked_at: list[str]) -> Report:
    from stowplan.check.baseline import compared

    new, gone = compared(report, path, looked_at)
    if gone:
        sys.stderr.write(f"{gone} findings of {path} are gone; write it anew with --write-baseline\n")
    return new


def _laid_over(given: list[str]) -> Path | None:
    """The folder of profiles that is checked, so that its files know each other, where ./profiles does not exist."""
    from stowplan.profiles.kinds import KINDS

    if Path("profiles").is_dir():
        return None
    folders = (Path(name) for name in given if name != "-")
    return next((f for f in folders if any([*f.glob(f"{kind.folder}/*.yaml")] for kind in KINDS.values())), None)
