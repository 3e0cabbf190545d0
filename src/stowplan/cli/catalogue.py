"""`stowplan list` and `stowplan show`: what exists, what it says, and who says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from stowplan.cli.session import ProfilesOption, load_catalog
from stowplan.cli.tables import Output, OutputOption, print_data, print_rows

_EXTRA = ("gaps", "images")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_kind)
    app.command()(show)


def list_kind(
    kind: Annotated[
        str,
        typer.Argument(
            help="variants, chips, servers, use-cases, engines, device-layers, quantizers, recipes, sites, pairings; gaps; images."
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
    from stowplan.plan.gaps import gaps

    catalog = load_catalog(profiles)
    if kind in _EXTRA:
        found = list(gaps(catalog) if kind == "gaps" else images(catalog))
    else:
        shelf = _shelf(kind, catalog)
        found = _only(list(rows(shelf, catalog)), "--vendor", "vendor", vendor)
        found = _only(found, "--supports", "formats", supports)
        if fits is not None:
            found = _carrying(found, shelf, fits, catalog)
    if output.is_data:
        print_data(found, output)
    elif found:
        headers = [
            key for key in found[0] if output is Output.wide or not isinstance(found[0][key], list) or kind in _EXTRA
        ]
        print_rows(headers, [[row[key] for key in headers] for row in found], output)
    return 0


def _only(rows: list[dict[str, Any]], option: str, column: str, wanted: str | None) -> list[dict[str, Any]]:
    """The rows whose column is (or holds) what an option names; a word that no row has is a mistake."""
    from stowplan.diagnostics import did_you_mean

    if wanted is None:
        return rows
    held = [value if isinstance(value, list) else [value] for value in (row.get(column) for row in rows)]
    values = {value for each in held for value in each if value is not None}
    if not values:
        raise _wrong(option, "is not for this kind", "use it with chips or servers")
    if wanted not in values:
        hint = did_you_mean(wanted, values) or f"known: {', '.join(sorted(values))}"
        raise _wrong(option, f"no entry has '{wanted}'", hint)
    return [row for row, each in zip(rows, held, strict=True) if wanted in each]


def _carrying(rows: list[dict[str, Any]], shelf: Any, variant: str, catalog: Any) -> list[dict[str, Any]]:
    from stowplan.plan.matrix import fits

    if shelf is not catalog.shelves["servers"]:
        raise _wrong("--fits", "is not for this kind", "use it with servers")
    if variant not in catalog.variants:
        raise _wrong("--fits", f"unknown variant '{variant}'", catalog.variants.unknown(variant))
    return [row for row in rows if fits(catalog, variant, row["name"])]


def _wrong(option: str, message: str, hint: str) -> Exception:
    from stowplan.diagnostics import Diagnostic, Location, Refused

    return Refused([Diagnostic("P013", message, Location(option), hint=hint)], unreadable=True)


def show(
    kind: Annotated[str, typer.Argument(help="Kind, as for `list`.")],
    name: Annotated[str, typer.Argument(help="Name, as `list` prints it.")],
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Show one entry: each value with unit, source, date, confidence, and what other sources say."""
    from stowplan.catalog.facts import statements_in
    from stowplan.diagnostics import Diagnostic, Location, Refused

    catalog = load_catalog(profiles)
    shelf = _shelf(kind, catalog)
    if name not in shelf:
        raise Refused(
            [Diagnostic("P010", f"unknown {shelf.kind.word} '{name}'", Location("NAME"), hint=shelf.unknown(name))],
            unreadable=True,
        )
    whole = shelf.entry(name).document.data
    spec = whole["spec"]
    if output is Output.yaml:
        print_data(whole, output)
        return 0
    if output is Output.json:
        print_data({"name": name, **spec}, output)
        return 0
    plain = {
        k: v
        for k, v in spec.items()
        if isinstance(v, str | int | float) or (isinstance(v, list) and all(isinstance(i, str) for i in v))
    }
    print_rows(["field", "value"], [["name", name], *plain.items()], output)
    if shelf is catalog.shelves["variants"]:
        sys.stdout.write("\n")
        headers = ["checkpoint", "format", "computes in", "draft", "gb", "published gb", "source"]
        print_rows(headers, list(_checkpoints(name, catalog)), output)
    rows = []
    for statement in statements_in(kind, name, spec):
        data = statement.data
        rows.append(
            [
                statement.key,
                _value(data),
                data.get("unit", ""),
                data["source"],
                data.get("as_of", ""),
                data["confidence"],
                _said(data),
            ]
        )
    if rows:
        sys.stdout.write("\n")
        print_rows(
            ["fact", "value", "unit", "source", "as of", "confidence", "others say; what would settle it"], rows, output
        )
    return 0


def _checkpoints(variant: str, catalog: Any) -> Iterator[list[object]]:
    """Each checkpoint with its size from tensor shapes, and the published one where there is one."""
    from stowplan.fit.weights import weights

    for checkpoint in catalog.variants[variant].checkpoints:
        size = checkpoint.size
        computed = weights(catalog.architecture(variant), checkpoint, checkpoint.draft).total
        published = f"{'' if size.exact else 'about '}{size.bytes / 1e9:,.1f}" if size else "-"
        yield [
            checkpoint.id,
            checkpoint.format,
            ", ".join(checkpoint.compute),
            checkpoint.draft or "-",
            f"{computed / 1e9:,.1f}",
            published,
            checkpoint.source,
        ]


def _shelf(kind: str, catalog: Any) -> Any:
    from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean

    shelves = catalog.shelves
    for word in (kind, f"{kind}s"):
        if word in shelves:
            return shelves[word]
    known = [*shelves, *_EXTRA]
    hint = did_you_mean(kind, known) or f"known: {', '.join(known)}"
    raise Refused([Diagnostic("P014", f"there is no kind '{kind}'", Location("KIND"), hint=hint)], unreadable=True)


def _value(data: Mapping[str, Any]) -> str:
    if "value" in data:
        value = data["value"]
        bounds = data.get("bounds")
        unknown = f"unknown, {bounds['low']:g} to {bounds['high']:g}" if bounds else "unknown"
        return unknown if value is None else str(value)
    own = {
        k: v
        for k, v in data.items()
        if k not in ("source", "as_of", "confidence", "note", "conflicts", "usedBecause")
        and not isinstance(v, dict | list)
    }
    return ", ".join(f"{k} {v}" for k, v in own.items())


def _said(data: Mapping[str, Any]) -> str:
    said = [f"{c['value']} ({c['source']})" for c in data.get("conflicts", ())]
    settled = [f"settled by: {data['settledBy']}"] if data.get("settledBy") else []
    return "; ".join([*said, *([data["usedBecause"]] if data.get("usedBecause") else []), *settled])
