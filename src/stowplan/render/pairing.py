"""A plan in, all artifacts of its pairing out: site, device layer, serving, quantization, plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plan.deployment import deployment
from stowplan.plan.device_layer import Host, host_of
from stowplan.plan.document import digest, plan_document
from stowplan.plan.model import Plan, Reason, Stack
from stowplan.render.artifact import Artifact, data_file, kustomization, objects_file
from stowplan.render.device_layer import group_artifacts, layer_artifacts, server_artifacts
from stowplan.render.labels import name_by_content, stamp
from stowplan.render.owners import refuse_two_owners
from stowplan.render.prerequisites import prerequisites
from stowplan.render.quantization import quantization_artifacts
from stowplan.render.serving import serving_artifacts
from stowplan.render.site import site_artifacts


def full_document(plan: Plan) -> dict[str, Any]:
    """The plan's document with the numbers and names of its Kubernetes objects."""
    document = plan_document(plan)
    if plan.chosen is not None:
        for role, said in zip(plan.chosen.roles, document["roles"], strict=True):
            said["deployment"] = deployment(plan, plan.chosen, role)
    return document


def render_pairing(plan: Plan) -> list[Artifact]:
    """The pairing's own folder.

    Raises:
        Refused: the plan is not one that can be rendered, or the site lacks a value that it needs.
    """
    if plan.chosen is None:
        raise Refused(_refusals(plan))
    if len(plan.chosen.roles) > 1:
        message = "prefill and decode apart can be planned, but not rendered yet"
        place = plan.pairing.locate("mode" if plan.pairing.spec.mode else "layout")
        raise Refused([Diagnostic("P032", message, place, hint="stowplan plan gives the roles' layouts and flags")])
    document = full_document(plan)
    _refuse_missing_site_values(plan, plan.chosen.stack, document)
    folder = f"pairings/{plan.pairing.name}"
    labels, annotations = _labels(document), _annotations(document)
    made = []
    for artifact in (*serving_artifacts(plan, document), *quantization_artifacts(plan, document)):
        path = f"{folder}/{artifact.path}"
        stamped = [name_by_content(stamp(o, labels, annotations)) for o in artifact.objects]
        made.append(objects_file(path, stamped) if stamped else Artifact(path, artifact.text))
    objects = [o for artifact in made for o in artifact.objects]
    needed = prerequisites(plan, document, objects)
    return [
        *made,
        kustomization(folder, made),
        Artifact(f"{folder}/{needed.path}", needed.text),
        data_file(f"{folder}/plan.yaml", {**document, "digest": digest(document)}),
    ]


def render_all(plans: Iterable[Plan], sites: Iterable[Sequence[Host]] = ()) -> list[Artifact]:
    """The artifacts of several pairings, and of the servers that sites list; what they share is rendered once.

    Raises:
        Refused: as `render_pairing`, or two of them need different contents in one file, or two owners of one device.
    """
    plans, sites = tuple(plans), tuple(sites)
    refuse_two_owners(plans, [host for hosts in sites for host in hosts])
    made: dict[str, tuple[Artifact, str]] = {}
    layers: set[tuple[str, str]] = set()
    for whose, place, artifacts in (*_of_pairings(plans, layers), *_of_sites(sites, layers)):
        for artifact in artifacts:
            first = made.setdefault(artifact.path, (artifact, whose))
            if first[0].text != artifact.text:
                message = f"{first[1]} and {whose} need different contents in {artifact.path}; their sites differ"
                raise Refused([Diagnostic("P031", message, place, hint="render them into two folders")])
    return [artifact for artifact, _ in (made[path] for path in sorted(made))]


_Rendered = tuple[str, Location, Iterable[Artifact]]


def _of_pairings(plans: Iterable[Plan], layers: set[tuple[str, str]]) -> Iterator[_Rendered]:
    for plan in plans:
        host, nodes = host_of(plan), [role.placement.nodes for role in plan.chosen.roles] if plan.chosen else []
        shared = _shared(host, layers, {count for count in nodes if count > 1}) if host else ()
        yield plan.pairing.name, plan.pairing.locate("site"), (*render_pairing(plan), *shared)


def _of_sites(sites: Iterable[Sequence[Host]], layers: set[tuple[str, str]]) -> Iterator[_Rendered]:
    for hosts in sites:
        for host in hosts:
            group = host.site.servers[host.name].group
            place = Location(f"site {host.site_name}")
            yield f"site {host.site_name}", place, _shared(host, layers, {group} if group else set())


def _shared(host: Host, layers: set[tuple[str, str]], groups: Iterable[int]) -> Iterator[Artifact]:
    """Artifacts of the site and its layer; `layers` are those that are made already, with their site."""
    if (host.layer.name, host.site_name) not in layers:
        layers.add((host.layer.name, host.site_name))
        yield from layer_artifacts(host.layer.name, host.layer.spec, host.site)
    yield from server_artifacts(host)
    for group in groups:
        yield from group_artifacts(host, group)
    yield from site_artifacts(host.site_name, host.site)


def _refusals(plan: Plan) -> list[Diagnostic]:
    hint = "; ".join(r.message for r in plan.reasons if r.code.startswith("F09"))
    found = [
        Diagnostic(r.code, f"{plan.verdict}: {r.message}", _place(plan, r), hint=hint)
        for r in plan.reasons
        if not r.code.startswith("F09")
    ]
    return found or [Diagnostic("F000", f"{plan.verdict}: {hint}", plan.pairing.locate())]


def _place(plan: Plan, reason: Reason) -> Location:
    """Where the pairing pins what the reason is about, else where its spec begins."""
    pinned = reason.numbers.get("flag") or reason.numbers.get("variable")
    key = next((key for key in plan.pairing.spec.set if pinned and pinned in key), None)
    return plan.pairing.locate("set", key) if key else plan.pairing.locate()


def _refuse_missing_site_values(plan: Plan, stack: Stack, document: Mapping[str, Any]) -> None:
    role = document["roles"][0]
    place = plan.pairing.locate("site")
    problems = []
    if not role["deployment"]["image"]:
        message = f"{stack.engine_name} has no public image for {plan.pairing.server.chip}: site {plan.pairing.spec.site} must give it as images.{stack.engine_name}"
        problems.append(Diagnostic("P030", message, place, hint=f"images: {{{stack.engine_name}: REGISTRY/IMAGE:TAG}}"))
    chip = plan.pairing.server.chip
    if plan.pairing.chip.memory_mib.value is None and chip not in plan.pairing.site.device_memory:
        message = f"the memory of {chip} is not published: site {plan.pairing.spec.site} must give it as deviceMemoryMib.{chip}"
        problems.append(Diagnostic("P030", message, place, hint=plan.pairing.chip.memory_mib.settled_by))
    if role["nodes"] > 1 and not plan.pairing.site.network.interface:
        message = f"a group of {role['nodes']} hosts needs the network interface for collectives: site {plan.pairing.spec.site} must give network.interface"
        problems.append(Diagnostic("P030", message, place, hint="ip route get to another host names it"))
    multi = stack.engine.multi_node
    if role["nodes"] > 1 and multi and not plan.pairing.site.network.rdma_resource:
        for flag, values in multi.rdma_flags.items():
            if role["flags"].get(flag) in values:
                message = f"{flag} {role['flags'][flag]} exchanges between hosts by RDMA: site {plan.pairing.spec.site} must give network.rdmaResource"
                hint = "the extended resource of the cluster's RDMA device plugin; kubectl describe node shows it"
                problems.append(Diagnostic("P030", message, place, hint=hint))
    if problems:
        raise Refused(problems)


def _labels(document: Mapping[str, Any]) -> dict[str, str]:
    made = document["roles"][0]["deployment"]
    return {
        "app.kubernetes.io/name": document["pairing"]["variant"],
        "app.kubernetes.io/instance": made["name"],
        "app.kubernetes.io/version": document["engine"]["version"],
    }


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    return {
        "stowplan.dev/pairing": document["pairing"]["name"],
        "stowplan.dev/verdict": document["verdict"],
        "stowplan.dev/plan-digest": digest(dict(document)),
    }
