"""`stowplan render`: pairings to manifests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stowplan.cli.session import (
    ProfilesOption,
    at_site,
    find_pairing,
    load_catalog,
    own_pairings,
    own_sites,
    pairings_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stowplan.catalog import Catalog
    from stowplan.diagnostics import Diagnostic
    from stowplan.plan.device_layer import Host
    from stowplan.plan.model import Plan
    from stowplan.render.artifact import Artifact


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(render)


def render(
    pairings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PAIRING...]", help="Names or files; default: all of the profiles' pairings.", show_default=False
        ),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", help="Folder to write to; - writes one YAML stream for `kubectl apply -f -`.")
    ] = "manifests",
    site: Annotated[
        str | None,
        typer.Option(
            "--site", help="The cluster: its pairings, with its facts; default: each pairing's own.", show_default=False
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if the folder is stale.")] = False,
    profiles: ProfilesOption = None,
) -> int:
    """Render pairings, and without a name also the device layers of the servers that sites list; all or nothing."""
    from stowplan.cli.progress import shown
    from stowplan.diagnostics import Refused
    from stowplan.plan.device_layer import site_hosts
    from stowplan.plan.document import as_told
    from stowplan.plan.planner import plan
    from stowplan.render.artifact import slim
    from stowplan.render.cluster import render_tree
    from stowplan.render.pairing import render_all

    catalog = load_catalog(profiles)
    plans, problems, unreadable = [], [], False
    names = pairings or (pairings_at(catalog, site) if site else own_pairings(catalog))
    for name in shown(names, "planned"):
        try:
            found = find_pairing(name, catalog)
            plans.append(as_told(plan(at_site(found, site) if site else found)))
        except Refused as refused:
            problems += list(refused.report)
            unreadable |= refused.unreadable
    if problems:
        raise Refused(problems, unreadable=unreadable)
    listed = [name for name in own_sites(catalog) if site in (None, name)]
    sites = [] if pairings else [site_hosts(catalog, name) for name in listed]
    findings: list[Diagnostic] = []

    def checked(made: Plan, artifacts: list[Artifact]) -> list[Artifact]:
        findings.extend(_own_findings(made, artifacts, catalog))
        return artifacts if out == "-" else [slim(artifact) for artifact in artifacts]

    artifacts = render_all(plans, each=checked) if pairings else render_tree(plans, sites, checked)
    findings += _shared_findings(plans, [host for hosts in sites for host in hosts], artifacts, catalog)
    errors = [d for d in findings if d.severity == "error"]
    if errors:  # nothing is written that the checks refuse: a kind that the site's minor does not serve, for example
        raise Refused(errors)
    if out == "-":
        return _stream(artifacts)
    owned = [""] if not pairings else [f"pairings/{p.pairing.name}/" for p in plans]
    plans.clear()  # a thousand of them take more memory than what is written
    return _check(Path(out), artifacts, owned) if check else _write(Path(out), artifacts, owned)


def _own_findings(plan: Plan, artifacts: list[Artifact], catalog: Catalog) -> list[Diagnostic]:
    from stowplan.check.rendered import check_rendered
    from stowplan.render.pairing import full_document

    plans = {f"pairings/{plan.pairing.name}": full_document(plan)}
    return check_rendered(artifacts, plan.pairing.site.kubernetes, plans, catalog)


def _shared_findings(
    plans: list[Plan], hosts: list[Host], artifacts: list[Artifact], catalog: Catalog
) -> Iterator[Diagnostic]:
    """On the folders that pairings share, for each Kubernetes minor that they are applied to."""
    from stowplan.check.rendered import check_rendered

    for minor, folders in _shared_folders(plans, hosts).items():
        below = tuple(f"{folder}/" for folder in folders)
        yield from check_rendered([a for a in artifacts if a.path.startswith(below)], minor, {}, catalog)


def _shared_folders(plans: list[Plan], hosts: list[Host]) -> dict[str, set[str]]:
    """Kubernetes minor to the folders of the sites and layers that are applied to it."""
    used = [(p.pairing.site.kubernetes, p.pairing.spec.site, p.layer.name if p.layer else "") for p in plans]
    used += [(host.site.kubernetes, host.site_name, host.layer.name) for host in hosts]
    found: dict[str, set[str]] = {}
    for minor, site, layer in sorted(used):
        found.setdefault(minor, set()).update({f"sites/{site}", *([f"device-layers/{layer}"] if layer else [])})
    return found


def _stream(artifacts: list[Artifact]) -> int:
    """Namespaces and the pairings' own objects; device layers are applied by themselves, once a cluster."""
    from stowplan.canonical_yaml import dump_stream

    wanted = [a for a in artifacts if a.path.startswith(("sites/", "pairings/"))]
    ordered = sorted(wanted, key=lambda a: not a.path.startswith("sites/"))
    sys.stdout.write(dump_stream(o for artifact in ordered for o in artifact.objects))
    return 0


def _write(out: Path, artifacts: list[Artifact], owned: list[str]) -> int:
    from stowplan.write import write

    done = write(out, artifacts, owned)
    sys.stderr.write(f"{out}: {len(done.written)} written, {len(done.removed)} removed, {done.same} unchanged\n")
    for folder in sorted({"/".join(a.path.split("/")[:2]) for a in artifacts if a.path.startswith("pairings/")}):
        sys.stdout.write(f"{out / folder}\n")
    return 0


def _check(out: Path, artifacts: list[Artifact], owned: list[str]) -> int:
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.write import changes

    found = changes(out, artifacts, owned)
    if not found:
        sys.stderr.write(f"{out}: up to date, {found.same} files\n")
        return 0
    stale = [
        Diagnostic(
            "W010", "differs from what is rendered" if (out / p).exists() else "is missing", Location(str(out / p))
        )
        for p in found.written
    ]
    stale += [Diagnostic("W011", "is no longer rendered", Location(str(out / p))) for p in found.removed]
    raise Refused(
        [
            *stale,
            Diagnostic(
                "W012", "the folder is stale", Location(str(out)), "info", hint=f"run: stowplan render --out {out}"
            ),
        ]
    )
