"""A plan in, all artifacts of its pairing out: site, device layer, serving, quantization, plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plan.deployment import deployments, object_name
from stowplan.plan.device_layer import Host, host_of
from stowplan.plan.document import digest, plan_document
from stowplan.plan.model import Plan, Reason, Stack
from stowplan.plan.platform import platform_document, unsaid
from stowplan.plan.router import router
from stowplan.plan.scaling import scaling
from stowplan.render.artifact import Artifact, data_file, kustomization, objects_file
from stowplan.render.device_layer import group_artifacts, layer_artifacts, server_artifacts
from stowplan.render.labels import name_by_content, stamp
from stowplan.render.owners import refuse_two_owners
from stowplan.render.prerequisites import prerequisites
from stowplan.render.quantization import quantization_artifacts
from stowplan.render.serving import serving_artifacts
from stowplan.render.site import site_artifacts

Each = Callable[[Plan, list[Artifact]], list[Artifact]]

_PLATFORM_HINTS = {
    "gateway": "gateway: {name: GATEWAY, namespace: NAMESPACE}; kubectl get gateways -A lists them",
    "operatorVersion": 'operatorVersion: "1.3.1"; the image of its controller names it',
}


def full_document(plan: Plan) -> dict[str, Any]:
    """The plan's document with the numbers and names of its Kubernetes objects."""
    document = plan_document(plan)
    if plan.chosen is not None:
        for said, made in zip(document["roles"], deployments(plan, plan.chosen), strict=True):
            said["deployment"] = made
        budget = document["roles"][0]["deployment"]["probes"]["startup"]["budgetSeconds"]
        if paced := scaling(plan, plan.chosen, budget):
            document["scaling"] = paced
        if before := router(plan, plan.chosen, document["roles"]):
            document["router"] = before
        if told := platform_document(plan, plan.chosen, document["roles"]):
            document["platform"] = told
    return document


def render_pairing(plan: Plan) -> list[Artifact]:
    """The pairing's own folder.

    Raises:
        Refused: the plan is not one that can be rendered, or the site lacks a value that it needs.
    """
    if plan.chosen is None:
        raise Refused(_refusals(plan))
    document = full_document(plan)
    if len(document["roles"]) > 1 and "router" not in document and not plan.pairing.platform.starts:
        message = f"no router for prefill and decode of {plan.chosen.stack.engine_name} is in the catalogue"
        place = plan.pairing.locate("mode" if plan.pairing.spec.mode else "layout")
        raise Refused([Diagnostic("P032", message, place, hint="its operator brings one, or serve aggregated")])
    _refuse_missing_site_values(plan, plan.chosen.stack, document)
    if unexpressed := list(unsaid(plan, document["roles"])):
        place = plan.pairing.locate("platform" if plan.pairing.spec.platform else "site")
        hint = "another platform, mode or layout; `platform: kubernetes` takes every plan"
        raise Refused([Diagnostic("P035", message, place, hint=hint) for message in unexpressed])
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


def render_all(
    plans: Iterable[Plan], sites: Iterable[Sequence[Host]] = (), each: Each = lambda _plan, made: made
) -> list[Artifact]:
    """The artifacts of several pairings, and of the servers that sites list; what they share is rendered once.

    `each` takes a pairing's own artifacts as soon as they are made, and gives what is kept of them.

    Raises:
        Refused: as `render_pairing`, or two of them need different contents in one file, or two owners of one device.
    """
    plans, sites = tuple(plans), tuple(sites)
    refuse_two_owners(plans, [host for hosts in sites for host in hosts])
    made: dict[str, tuple[Artifact, str]] = {}
    layers: set[tuple[str, str]] = set()
    for whose, place, artifacts in chain(_of_pairings(plans, layers, each), _of_sites(sites, layers)):
        for artifact in artifacts:
            first = made.setdefault(artifact.path, (artifact, whose))
            if first[0].text != artifact.text:
                message = f"{first[1]} and {whose} need different contents in {artifact.path}; their sites differ"
                raise Refused([Diagnostic("P031", message, place, hint="render them into two folders")])
    return [artifact for artifact, _ in (made[path] for path in sorted(made))]


_Rendered = tuple[str, Location, Iterable[Artifact]]


def _of_pairings(plans: Iterable[Plan], layers: set[tuple[str, str]], each: Each) -> Iterator[_Rendered]:
    for plan in plans:
        host, nodes = host_of(plan), [role.placement.nodes for role in plan.chosen.roles] if plan.chosen else []
        shared = _shared(host, layers, {count for count in nodes if count > 1}) if host else ()
        yield plan.pairing.name, plan.pairing.locate("site"), (*each(plan, render_pairing(plan)), *shared)


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
    place, site, name = plan.pairing.locate("site"), plan.pairing.site, plan.pairing.spec.site
    chip, problems = plan.pairing.server.chip, []
    if not document["roles"][0]["deployment"]["image"]:
        message = f"{stack.engine_name} has no public image for {chip}: site {name} must give it as images.{stack.engine_name}"
        problems.append(Diagnostic("P030", message, place, hint=f"images: {{{stack.engine_name}: REGISTRY/IMAGE:TAG}}"))
    if plan.pairing.chip.memory_mib.value is None and chip not in site.device_memory:
        message = f"the memory of {chip} is not published: site {name} must give it as deviceMemoryMib.{chip}"
        problems.append(Diagnostic("P030", message, place, hint=plan.pairing.chip.memory_mib.settled_by))
    for key, value in (("gateway", site.gateway), ("operatorVersion", site.operator_version)):
        if key in plan.pairing.platform.needs and not value:
            message = f"platform {plan.pairing.platform_name} needs it: site {name} must give {key}"
            problems.append(Diagnostic("P030", message, place, hint=_PLATFORM_HINTS[key]))
    if "scaling" in document and not site.prometheus:
        message = f"an autoscaler asks Prometheus for requests in flight: site {name} must give prometheus"
        problems.append(
            Diagnostic("P030", message, place, hint="for example http://prometheus-operated.monitoring.svc:9090")
        )
    if (
        document["quantization"]["decision"] == "convert"
        and document["roles"][0]["deployment"]["weights"]["volume"] != "claim"
    ):
        message = (
            f"{document['checkpoint']['id']} is made by a Job, which needs a claim: site {name} gives its own volume"
        )
        problems.append(Diagnostic("P034", message, place, hint="leave weights.hostPath and weights.images out"))
    for what, key, hint in _missing_network(plan, stack, document["roles"]):
        problems.append(Diagnostic("P030", f"{what}: site {name} must give network.{key}", place, hint=hint))
    if problems:
        raise Refused(problems)


def _missing_network(plan: Plan, stack: Stack, roles: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """What asks for a value of the site's network that is not there, the value's key, and how to find it."""
    network, multi, handed = plan.pairing.site.network, stack.engine.multi_node, stack.transfer
    spans = max(role["nodes"] for role in roles)
    if any(role["deployment"]["network"]["interfaceEnv"] for role in roles) and not network.interface:
        who = f"a group of {spans} hosts needs" if spans > 1 else "prefill and decode apart need"
        yield f"{who} the network interface for collectives", "interface", "ip route get to another host names it"
    if network.rdma_resource:
        return
    hint = "the extended resource of the cluster's RDMA device plugin; kubectl describe node shows it"
    if handed and handed.rdma:
        yield "caches go from prefill to decode by RDMA", "rdmaResource", hint
    for flag, values in (multi.rdma_flags if multi else {}).items():
        for value in sorted({role["flags"][flag] for role in roles if role["nodes"] > 1 and flag in role["flags"]}):
            if value in values:
                yield f"{flag} {value} exchanges between hosts by RDMA", "rdmaResource", hint


def _labels(document: Mapping[str, Any]) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": document["pairing"]["variant"],
        "app.kubernetes.io/instance": object_name(document["pairing"]["name"]),
        "app.kubernetes.io/version": document["engine"]["version"],
    }


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    return {
        "stowplan.dev/pairing": document["pairing"]["name"],
        "stowplan.dev/verdict": document["verdict"],
        "stowplan.dev/plan-digest": digest(dict(document)),
    }
