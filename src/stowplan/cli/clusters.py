"""`stowplan cluster`: what a live API server says of manifests, what its nodes are, and what differs on it."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan.cli.checking import FormatOption, StrictOption
from stowplan.cli.session import ProfilesOption, load_catalog
from stowplan.cli.tables import Output, OutputOption, print_data, print_rows

if TYPE_CHECKING:
    from stowplan.catalog import Catalog
    from stowplan.check.objects import Object
    from stowplan.cluster.discover import Hosts

PathsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATH...|-]", help="Files and folders; - reads standard input; default: manifests.", show_default=False
    ),
]
ContextOption = Annotated[
    str | None, typer.Option("--context", help="Of the kubeconfig; default: its current one.", show_default=False)
]
ManagerOption = Annotated[
    str, typer.Option("--field-manager", help="Name under which these files are applied, as the cluster records it.")
]

cluster = typer.Typer(
    name="cluster",
    help="Ask a live API server (that of KUBECONFIG); nothing on it is changed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(cluster)


@cluster.command("dry-run")
def dry_run(
    paths: PathsArgument = None,
    context: ContextOption = None,
    field_manager: ManagerOption = "stowplan",
    formats: FormatOption = None,
    strict: StrictOption = False,
) -> int:
    """Apply every object as a server-side dry run: exit 1 where the server would refuse one."""
    from stowplan.cli.reports.outputs import concluded, outputs
    from stowplan.cluster.dry_run import NOT_JUDGED, dry_run
    from stowplan.cluster.server import connect
    from stowplan.diagnostics import Report

    asked, server = outputs(formats or ()), connect(context)
    objects = _objects(paths)
    report = Report.of(dry_run(objects, server, field_manager))
    left_out = sum(d.code in NOT_JUDGED for d in report)
    sys.stderr.write(f"the cluster judged {len(objects) - left_out} of {len(objects)} objects\n")
    return concluded(report, asked, strict=strict)


@cluster.command()
def discover(
    context: ContextOption = None,
    output: OutputOption = Output.table,
    site: Annotated[
        str | None,
        typer.Option("--site", help="Print a site of this name for profiles/sites instead.", show_default=False),
    ] = None,
    profiles: ProfilesOption = None,
) -> int:
    """Nodes as servers of the catalogue, with what is ambiguous."""
    from stowplan.cluster.discover import discover
    from stowplan.cluster.server import connect

    catalog = load_catalog(profiles)
    server = connect(context)
    found = discover(server.nodes(), server.resource_slices(), catalog)
    if site is not None:
        sys.stdout.write(_site(site, found, server.minor, catalog))
    elif output.is_data:
        print_data([_data(hosts) for hosts in found], output)
    else:
        headers = ("server", "nodes", "devices", "resource", "device layer", "GiB", "arch", "notes")
        print_rows(headers, [_row(hosts, output) for hosts in found], output)
    return 0


@cluster.command("diff")
def drift(
    paths: PathsArgument = None,
    context: ContextOption = None,
    field_manager: ManagerOption = "stowplan",
    output: OutputOption = Output.table,
) -> int:
    """Live objects against rendered ones: exit 1 where they differ. Fields that other programs manage name them."""
    from dataclasses import asdict

    from stowplan.cluster.drift import drift
    from stowplan.cluster.server import connect

    server = connect(context)
    others = Counter[str]()
    found = list(drift(_objects(paths), server, field_manager, others))
    sys.stderr.writelines(
        f"{count} objects were applied by {name}, not {field_manager}: what their files lost is seen with --field-manager {name} only\n"
        for name, count in others.items()
    )
    if output.is_data:
        print_data([asdict(difference) for difference in found], output)
    elif found:
        headers = ("object", "field", "state", "live", "rendered", "managed by", "place")
        rows = [(d.object, d.field, d.state, d.live, d.rendered, d.owner, d.place) for d in found]
        print_rows(headers, rows, output)
    return int(bool(found))


def _objects(paths: list[str] | None) -> list[Object]:
    """What would be applied, each object once.

    Raises:
        Refused: there is nothing to ask about.
    """
    from stowplan.check.tree import applied_objects
    from stowplan.diagnostics import Diagnostic, Location, Refused

    given = paths or ["manifests"]
    found = applied_objects(given, sys.stdin.buffer)
    if not found:
        raise Refused([Diagnostic("P001", "holds no object", Location(" ".join(given)))], unreadable=True)
    return list({repr(item.data): item for item in found}.values())


def _data(hosts: Hosts) -> dict[str, Any]:
    return {
        "server": hosts.server,
        "candidates": [*hosts.candidates],
        "nodes": hosts.nodes,
        "resource": hosts.resource,
        "devices": hosts.devices,
        "deviceLayers": [*hosts.device_layers],
        "architecture": hosts.architecture,
        "hostMemoryGib": hosts.host_memory_gib,
        "otherResources": [*hosts.others],
        "taints": [dict(taint) for taint in hosts.taints],
        "notes": [*hosts.notes],
    }


def _row(hosts: Hosts, output: Output) -> tuple[object, ...]:
    first, *more = hosts.nodes
    shown = [first, f"and {len(more)} more"] if more[1:] and output is not Output.wide else hosts.nodes
    layers = " or ".join(hosts.device_layers)
    server = hosts.server or "?"
    notes = "; ".join(hosts.notes)
    return (
        server,
        ", ".join(shown),
        hosts.devices,
        hosts.resource,
        layers,
        hosts.host_memory_gib,
        hosts.architecture,
        notes,
    )


def _site(name: str, found: list[Hosts], minor: str, catalog: Catalog) -> str:
    """A site's profile, with what only people can say as comments.

    Raises:
        Refused: the name is none that a site can have.
    """
    from stowplan.canonical_yaml import dump
    from stowplan.cluster.site import site_of
    from stowplan.diagnostics import Refused
    from stowplan.located_yaml import read_bytes
    from stowplan.profiles.reading import read_profile

    spec, questions = site_of(found, minor, catalog)
    text = dump({"apiVersion": "stowplan/v1", "kind": "Site", "metadata": {"name": name}, "spec": spec})
    try:
        read_profile(next(read_bytes(text.encode(), "--site")), kind="Site")
    except Refused as refused:
        raise Refused(refused.report, unreadable=True) from None
    notes = [f"# {', '.join(hosts.nodes)}: {note}\n" for hosts in found for note in hosts.notes]
    return "".join([*(f"# {question}\n" for question in questions), *notes, text])
