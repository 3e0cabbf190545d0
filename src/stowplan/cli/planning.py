"""`stowplan plan`: the plan of a pairing, or every layout that was considered."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan.cli.session import ProfilesOption, find_pairing, load_catalog, pairing_from_options
from stowplan.cli.tables import Output, OutputOption, cut, print_data, print_rows

if TYPE_CHECKING:
    from stowplan.diagnostics import Refused

_SIZE = re.compile(r"[0-9]{1,9}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    pairing: Annotated[
        str | None, typer.Argument(help="Name or file; without it, give the options.", show_default=False)
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Model variant.", show_default=False)] = None,
    server: Annotated[str | None, typer.Option(help="Server.", show_default=False)] = None,
    use_case: Annotated[str | None, typer.Option(help="Use case.", show_default=False)] = None,
    site: Annotated[str | None, typer.Option(help="Site.", show_default=False)] = None,
    nodes: Annotated[int | None, typer.Option(help="Hosts of one replica.", min=1, show_default=False)] = None,
    engine: Annotated[str | None, typer.Option(help="NAME or NAME@VERSION.", show_default=False)] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Checkpoint id.", show_default=False)] = None,
    device_layer: Annotated[str | None, typer.Option(help="Device layer.", show_default=False)] = None,
    platform: Annotated[str | None, typer.Option(help="Platform, not the site's.", show_default=False)] = None,
    mode: Annotated[str | None, typer.Option(help="aggregated or disaggregated.", show_default=False)] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="Choose by devices, latency, throughput or cost.", show_default=False),
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(help="Output tokens/s that all replicas give together.", show_default=False)
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="tp=8,dp=1,ep=8,pp=1, or by role: prefill:tp=4,dp=4,ep=16;decode:dp=16,ep=16.", show_default=False
        ),
    ] = None,
    pins: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, for example flags.--max-model-len=131072.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every layout that was considered, and what it loses by.")
    ] = False,
    output: OutputOption = Output.table,
    profiles: ProfilesOption = None,
) -> int:
    """Plan one pairing; exit 1 where it is infeasible or undocumented."""
    from stowplan.plan.document import candidate_documents
    from stowplan.plan.planner import plan as make_plan
    from stowplan.render.pairing import full_document

    catalog = load_catalog(profiles)
    options: dict[str, Any] = {
        "variant": variant,
        "server": server,
        "useCase": use_case,
        "site": site,
        "nodes": nodes,
        "engine": engine,
        "checkpoint": checkpoint,
        "deviceLayer": device_layer,
        "platform": platform,
        "mode": mode,
        "objective": objective,
        "atLeast": int(at_least) if at_least is not None and at_least.is_integer() else at_least,
        "layout": _layout(layout),
        "set": _pins(pins) if pins else None,
    }
    named = find_pairing(pairing, catalog) if pairing else None
    pinned = any(value is not None for value in options.values())
    found = named if named and not pinned else pairing_from_options(catalog, options, named)
    made = make_plan(found)
    if every:
        documents = candidate_documents(made)
        if output.is_data:
            print_data(documents, output)
        else:
            _print_candidates(documents, output)
    elif output.is_data:
        print_data(full_document(made), output)
    else:
        from stowplan.cli.summary import summary

        sys.stdout.write(summary(full_document(made)))
    return int(made.chosen is None)


def _layout(text: str | None) -> dict[str, Any] | None:
    """`tp=8,dp=1` or `server:tp=8,dp=1` as a mapping.

    Raises:
        Refused: it is neither.
    """
    if text is None:
        return None
    roles: dict[str, dict[str, int]] = {}
    for part in text.split(";"):
        role, _, sizes = part.rpartition(":")
        if role.strip() in roles:
            raise _no_layout(text)
        roles[role.strip()] = _sizes(sizes, text)
    if "" in roles and len(roles) > 1:
        raise _no_layout(text)
    return roles.get("", roles)


def _no_layout(text: str) -> Refused:
    from stowplan.diagnostics import Diagnostic, Location, Refused

    hint = "write tp=8,dp=1,ep=8,pp=1, or prefill:tp=8,ep=8;decode:dp=8,ep=8"
    return Refused([Diagnostic("P013", f"'{text}' is not a layout", Location("--layout"), hint=hint)], unreadable=True)


def _sizes(sizes: str, text: str) -> dict[str, int]:
    pairs = [(key.strip(), value.strip()) for key, _, value in (item.partition("=") for item in sizes.split(","))]
    read = {key: int(value) for key, value in pairs if _SIZE.fullmatch(value)}
    if "" in read or len(read) < len(pairs):
        raise _no_layout(text)
    return read


def _pins(pins: list[str]) -> dict[str, Any]:
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.located_yaml import read_bytes

    values = {}
    for pin in pins:
        key, equals, text = pin.partition("=")
        if not (key and equals):
            raise Refused(
                [
                    Diagnostic(
                        "P013",
                        f"'{pin}' is not KEY=VALUE",
                        Location("--set"),
                        hint="write flags.--max-model-len=131072",
                    )
                ],
                unreadable=True,
            )
        documents = list(read_bytes(text.encode(), "--set"))
        values[key] = documents[0].data if documents else ""
    return values


def _print_candidates(documents: list[dict[str, Any]], output: Output) -> None:
    from stowplan.cli.summary import layout_words

    rows = []
    for document in documents:
        roles, last = document["roles"], document["roles"][-1]
        sizes, estimate = last["parallelism"], last["estimate"] or {}
        rows.append(
            [
                document["rank"],
                document["verdict"],
                sum(role["nodes"] * role["devicesPerNode"] * role["replicas"] for role in roles),
                "; ".join(layout_words(role) for role in roles),
                document["checkpoint"]["id"].rpartition("/")[2],
                document["engine"]["name"],
                document["recipe"] or "-",
                f"{last['capacity']['requestsAtUseCase'] * sizes['dp'] * last['replicas']:.0f}",
                *(f"{estimate[key][1]:,.0f}" if estimate else "-" for key in ("ttftMs", "tpotMs")),
                cut(document["losesBy"], None if output is Output.wide else 90),
            ]
        )
    print_rows(
        [
            *("rank", "verdict", "devices", "layout", "checkpoint", "engine", "follows"),
            *("requests", "ttft ms", "tpot ms", "loses by"),
        ],
        rows,
        output,
    )
