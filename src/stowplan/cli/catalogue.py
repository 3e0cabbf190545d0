"""`stowplan list` and `stowplan show`: what exists, what it says, and who says so."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer

from stowplan.cli.session import CHECKPOINTS, ProfilesOption, load_catalog
from stowplan.cli.tables import Output, OutputOption, cut, print_data, print_rows

_EXTRA = ("gaps", "images")
_KINDS_OF = {"--vendor": "chips, servers or device-layers", "--supports": "chips or servers"}
_PROSE = ("title", "status")
"""Columns that a table cuts; `-o wide` has them whole."""
_PROSE_WIDTH = 56
_HEADINGS = {
    "bandwidthGbs": "GB/s",
    "concurrency": "in flight",
    "inputP50": "tokens in p50",
    "inputP99": "in p99",
    "maxContext": "context tokens",
    "outputP50": "out p50",
}
"""Columns whose name, as words, would be long or without its unit."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_kind)
    app.command()(show)


def list_kind(
    kind: Annotated[
        str,
        typer.Argument(
            help="variants, checkpoints, chips, servers, use-cases, engines, device-layers, platforms, quantizers, recipes, benchmarks, sites, pairings; gaps; images."
        ),
    ],
    vendor: Annotated[str | None, typer.Option(help="Only of this vendor.", show_default=False)] = None,
    supports: Annotated[
        str | None,
        typer.Option(help="Only chips (or servers with chips) that compute on this number format.", show_default=False),
    ] = None,
    fits: Annotated[
        str | None, typer.Option(help="Only servers that carry this variant for some use case.", show_default=False)
    ] = None,
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """List what the catalogue holds."""
    from stowplan.catalog.listing import images, rows
    from stowplan.fit.inventory import checkpoints
    from stowplan.plan.gaps import gaps

    catalog = load_catalog(profiles)
    word = _kind(kind, catalog, _EXTRA)
    if word == CHECKPOINTS:
        found = list(checkpoints(catalog))
    elif word in _EXTRA:
        found = list(gaps(catalog) if word == "gaps" else images(catalog))
    else:
        found = list(rows(catalog.shelves[word], catalog))
    found = _only(found, "--vendor", "vendor", vendor)
    found = _only(found, "--supports", "formats", supports)
    if fits is not None:
        found = _carrying(found, word, fits, catalog)
    if output.is_data:
        print_data(found, output)
    elif found:
        headers = [
            key for key in found[0] if output is Output.wide or not isinstance(found[0][key], list) or word in _EXTRA
        ]
        cells = [[_shown(key, row[key], output) for key in headers] for row in found]
        print_rows([_heading(key) for key in headers], cells, output)
    return 0


def _heading(key: str) -> str:
    """A column's name in words."""
    return _HEADINGS.get(key) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key).lower()


def _shown(key: str, value: Any, output: Output) -> Any:
    return cut(value, _PROSE_WIDTH) if key in _PROSE and output is Output.table else value


def _only(rows: list[dict[str, Any]], option: str, column: str, wanted: str | None) -> list[dict[str, Any]]:
    """The rows whose column is (or holds) what an option names; a word that no row has is a mistake."""
    from stowplan.diagnostics import did_you_mean

    if wanted is None:
        return rows
    held = [value if isinstance(value, list) else [value] for value in (row.get(column) for row in rows)]
    values = {value for each in held for value in each if value is not None}
    if not values:
        raise _wrong(option, "is not for this kind", f"use it with {_KINDS_OF[option]}")
    if wanted not in values:
        hint = did_you_mean(wanted, values) or f"known: {', '.join(sorted(values))}"
        raise _wrong(option, f"no entry has '{wanted}'", hint)
    return [row for row, each in zip(rows, held, strict=True) if wanted in each]


def _carrying(rows: list[dict[str, Any]], kind: str, variant: str, catalog: Any) -> list[dict[str, Any]]:
    from stowplan.plan.matrix import fits

    if kind != "servers":
        raise _wrong("--fits", "is not for this kind", "use it with servers")
    if variant not in catalog.variants:
        raise _wrong("--fits", f"unknown variant '{variant}'", catalog.variants.unknown(variant))
    return [row for row in rows if fits(catalog, variant, row["name"])]


def _wrong(option: str, message: str, hint: str) -> Exception:
    from stowplan.diagnostics import Diagnostic, Location, Refused

    return Refused([Diagnostic("P013", message, Location(option), hint=hint)], unreadable=True)


def show(
    kind: Annotated[str, typer.Argument(help="Kind, as for `list`, but for gaps and images.")],
    name: Annotated[str, typer.Argument(help="Name, as `list` prints it.")],
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Show one entry: each value with unit, source, date, confidence, and what other sources say; then what is computed.

    `-o yaml` is the file itself, `-o json` its spec with what is computed under `computed`.
    """
    from stowplan.cli.entry import entry_page

    catalog = load_catalog(profiles)
    word = _kind(kind, catalog)
    found, whole = _found(word, name, catalog)
    if output is Output.yaml:
        print_data(whole, output)
        return 0
    page = entry_page(word, found, catalog)
    if output is Output.json:
        print_data({"name": found, **whole["spec"], "computed": page.computed()}, output)
    elif output is Output.markdown:
        sys.stdout.write(page.markdown())
    else:
        sys.stdout.write(page.text(fold=output is Output.table))
    return 0


def _found(word: str, name: str, catalog: Any) -> tuple[str, dict[str, Any]]:
    """The full name of an entry, and what its file says; of a checkpoint, what its variant's file says of it.

    Raises:
        Refused: there is none of that name.
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean
    from stowplan.fit.inventory import checkpoints
    from stowplan.pairing import find_checkpoint

    if word != CHECKPOINTS:
        shelf = catalog.shelves[word]
        if name in shelf:
            return name, shelf.entry(name).document.data
        noun, hint = shelf.kind.word, shelf.unknown(name)
    else:
        variants = {row["name"]: row["variant"] for row in checkpoints(catalog)}
        full = find_checkpoint(name, list(variants))
        if full is not None:
            said = catalog.variants.entry(variants[full]).document.data["spec"]["checkpoints"]
            return full, {"spec": {"variant": variants[full], **next(c for c in said if c["id"] == full)}}
        noun, hint = "checkpoint", did_you_mean(name, variants) or "known: see `stowplan list checkpoints`"
    raise Refused([Diagnostic("P010", f"unknown {noun} '{name}'", Location("NAME"), hint=hint)], unreadable=True)


def _kind(kind: str, catalog: Any, further: tuple[str, ...] = ()) -> str:
    """The kind that a word, or its singular, names.

    Raises:
        Refused: there is no such kind.
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean

    known = [*catalog.shelves, CHECKPOINTS, *further]
    for word in (kind, f"{kind}s"):
        if word in known:
            return word
    hint = did_you_mean(kind, known) or f"known: {', '.join(known)}"
    raise Refused([Diagnostic("P014", f"there is no kind '{kind}'", Location("KIND"), hint=hint)], unreadable=True)
