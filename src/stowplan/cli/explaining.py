"""`stowplan explain`: why, with numbers and sources, from a pairing, a rendered folder or a check's code."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stowplan.cli.session import ProfilesOption, find_pairing, load_catalog
from stowplan.cli.tables import Output, OutputOption, print_data, print_rows

_WIDEST, _LONGEST = 160, 60
_CODE = re.compile("[A-Za-z][0-9]{3}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    pairing: Annotated[
        str | None, typer.Argument(help="Name, file, or rendered folder; or the code of a check.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Argument(
            help="A part of the answer (ledger, memory, layout, quantization, settings, security), or a key such as flags.--block-size.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        str | None, typer.Option("--check", help="Print the page of a check.", metavar="CODE", show_default=False)
    ] = None,
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Explain a plan: why this checkpoint, why this layout, what fills each device, what each flag is for."""
    from stowplan.cli import answers
    from stowplan.diagnostics import Diagnostic, Location, Refused

    if check is None and pairing and key is None and _CODE.fullmatch(pairing):
        check = pairing
    if check is not None:
        sys.stdout.write(_page(check))
        return 0
    if pairing is None:
        raise Refused([Diagnostic("P012", "give a PAIRING or --check CODE", Location("explain"))], unreadable=True)
    document = _document(pairing, profiles)
    try:
        chosen = answers.parts(document, key)
    except (KeyError, TypeError) as lacking:
        if not _rendered(pairing).is_file():
            raise
        message, place = (
            f"is a plan of another release of stowplan: it has no {lacking}",
            Location(str(_rendered(pairing))),
        )
        raise Refused([Diagnostic("P018", message, place, hint="render the pairing again")], unreadable=True) from None
    if not chosen:
        known = ", ".join(answers.PARTS)
        raise Refused(
            [
                Diagnostic(
                    "P015",
                    f"the plan has no '{key}'",
                    Location(pairing),
                    hint=answers.nearest(document, str(key)) or f"parts: {known}",
                )
            ],
            unreadable=True,
        )
    if output.is_data:
        print_data(
            {title: [dict(zip(headers, row, strict=True)) for row in rows] for title, headers, rows in chosen}, output
        )
        return 0
    for title, headers, rows in chosen:
        sys.stdout.write(f"\n## {title}\n\n" if output is Output.markdown else f"\n{title}\n{'-' * len(title)}\n")
        print_rows(headers, rows, output)
    return 0


def _document(pairing: str, profiles: Path | None) -> dict[str, Any]:
    """The plan's document: read where it was rendered, else made."""
    rendered = _rendered(pairing)
    if rendered.is_file():
        from stowplan.plan.document import read_plan

        return read_plan(rendered)
    from stowplan.plan.planner import plan
    from stowplan.render.pairing import full_document

    return full_document(plan(find_pairing(pairing, load_catalog(profiles))))


def _rendered(pairing: str) -> Path:
    """Where the plan of a rendered folder of that name would be."""
    return Path(pairing) / "plan.yaml"


def _page(code: str) -> str:
    from stowplan.check.pages import page_of, pages
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean

    page = page_of(code.upper())
    if page is None:
        hint = did_you_mean(code, pages()) or f"known: {', '.join(pages())}"
        raise Refused(
            [Diagnostic("P016", f"there is no check '{code}'", Location("--check"), hint=hint)], unreadable=True
        )
    return (
        f"{page.code} ({page.level}, {page.severity}): {page.text()}\n\n"
        f"Found in:\n\n{_clipped(page.bad)}\n\nWrite instead:\n\n{_clipped(page.good)}\n"
    )


def _clipped(example: str) -> str:
    """An example on one screen: some checks need a value of many kilobytes to fail."""
    from stowplan.cli.tables import cut

    return "\n".join(cut(line, _WIDEST) for line in example.strip().splitlines()[:_LONGEST])
