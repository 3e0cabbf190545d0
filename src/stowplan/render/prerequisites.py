"""A pairing's objects in; what must be there before they are applied, out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from stowplan.plan.deployment import weights_path
from stowplan.plan.document import build, revision
from stowplan.plan.model import Plan
from stowplan.plan.platform import callers_from
from stowplan.plan.processes import pod_ports
from stowplan.render.artifact import Artifact
from stowplan.render.jobs import JOB_USER

_OPERATORS = {
    "gateway.networking.k8s.io": "Gateway API, by the gateway's own controller",
    "inference.networking.k8s.io": "Gateway API's inference extension, and a gateway that knows its pools",
    "keda.sh": "KEDA, which reaches the site's Prometheus; nothing else scales the same object",
    "leaderworkerset.x-k8s.io": "the LeaderWorkerSet controller",
    "monitoring.coreos.com": "the Prometheus operator; `monitoring: false` in the site leaves its objects out, `monitoringLabels` gives them the labels by which it selects",
}


def prerequisites(plan: Plan, document: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Artifact:
    """`PREREQUISITES.md`: every thing that the objects name and that none of them makes."""
    lines = [f"# Before {plan.pairing.name} is applied", ""]
    lines += [f"* {text}" for text in _needs(plan, document, objects)]
    return Artifact("PREREQUISITES.md", "\n".join(lines) + "\n")


def _needs(plan: Plan, document: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    roles, server = document["roles"], plan.pairing.spec.server
    made, groups = roles[0]["deployment"], sorted({role["nodes"] for role in roles if role["nodes"] > 1})
    if plan.layer is not None:
        folder = f"device-layers/{plan.layer.name}"
        below = f"{folder}/servers/{server}"
        tested = ", and its preflight passed on each host" if plan.layer.server.preflight else ""
        if tested and groups:
            folders = " and ".join(f"`{below}/group-{count}`" for count in groups)
            tested += f", then that of {folders} on the hosts together"
        yield f"The device layer, once a cluster: `{folder}`, the labels of `{below}`{tested}."
    yield from _driver(plan)
    yield f"The namespace `{made['namespace']}`: `sites/{plan.pairing.spec.site}`."
    for secret, key in sorted({*_secrets(objects)}):
        yield f"A secret: `kubectl -n {made['namespace']} create secret generic {secret} --from-literal={key}=...`"
    for secret in plan.pairing.site.pull_secrets:
        yield f"The image pull secret `{secret}` in that namespace."
    yield from _platform(plan, document)
    operators = {**_OPERATORS, plan.pairing.platform.group: f"the operator of `{plan.pairing.platform_name}`"}
    for group, kinds in _custom(objects, operators).items():
        yield f"The kinds {', '.join(kinds)} of {group}: {operators[group]}."
    if any(role["deployment"]["network"]["interfaceEnv"] for role in roles):
        interface = plan.pairing.site.network.interface
        yield f"The interface `{interface}` carries the address that Kubernetes gives the hosts (InternalIP)."
    for role in roles:
        if role["nodes"] > 1:
            yield from _group(plan, role)
    if len(roles) > 1 and plan.layer and plan.layer.server.group:
        key = plan.layer.server.group.topology_key
        yield f"All hosts of prefill and decode with one value of `{key}`: caches go between them inside it."
    yield from _storage(plan, objects)
    yield "Nothing left of an earlier plan: another shape (one host or a group) or pod-security level is another object or namespace; prune, or delete the former."
    yield from _access(plan, document)


def _platform(plan: Plan, document: Mapping[str, Any]) -> Iterator[str]:
    yield from plan.pairing.platform.requires
    picker = plan.pairing.site.picker
    if picker and "pool" in document.get("platform", {}):
        yield f"An endpoint picker for the InferencePool, behind the Service `{picker.service}` on port {picker.port}; it is not rendered."


def _driver(plan: Plan) -> Iterator[str]:
    """The host's half of the engine's image: the oldest driver where a source names it, else what it has to accept."""
    built = build(plan, plan.chosen) if plan.chosen else None
    if built is None:
        return
    contents = ", ".join(f"{name} {version}" for name, version in built.libraries.items())
    driver = (
        f"a driver of version {built.driver} or newer, or what the device layer asks for where that is newer"
        if built.driver
        else "a driver that its vendor lists for them"
    )
    note = f" ({built.note})" if built.note else ""
    yield f"On each host {driver}: the engine's image is built with {contents}{note}. Source: {built.source}."


def _group(plan: Plan, role: Mapping[str, Any]) -> Iterator[str]:
    if plan.layer and plan.layer.server.group:
        key = plan.layer.server.group.topology_key
        yield f"The label `{key}` on the hosts, and {role['nodes']} free ones of one value for each group: its pods stay within one value."
    scheduler = plan.layer.spec.workload.scheduler_name if plan.layer else ""
    if scheduler:
        yield (
            f"All {role['nodes']} pods of a group start together or not at all: the LeaderWorkerSet controller runs with "
            f"`gangSchedulingManagement.schedulerProvider: {scheduler}`."
        )
    elif role["replicas"] > 1:
        yield "Room for all groups, or a gang scheduler: else two groups may each hold a part of what one needs."


def _storage(plan: Plan, objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    weights, chosen = plan.pairing.site.weights, plan.chosen
    if chosen and chosen.stack.checkpoint.id in weights.images:
        yield "The feature ImageVolume of the cluster's API server and kubelets, and a container runtime that mounts images."
    elif weights.host_path:
        path = weights_path(weights.host_path, chosen.stack.checkpoint.id, revision(plan, chosen)) if chosen else ""
        yield f"The checkpoint in `{path}` of each host, whole, before the pods start: they wait for its config.json only."
    wanted = weights.storage_class
    where = f"Storage class `{wanted}`" if wanted else "A default storage class"
    for claim in (o for o in objects if o["kind"] == "PersistentVolumeClaim"):
        modes, storage = ", ".join(claim["spec"]["accessModes"]), claim["spec"]["resources"]["requests"]["storage"]
        yield (
            f"{where} that gives {storage} as {modes}, writable by group {JOB_USER}, for `{claim['metadata']['name']}`; "
            "whoever deletes the claim deletes the checkpoint."
        )
    filling = [o for o in objects if o["kind"] == "Job" and o["spec"]["template"]["spec"].get("volumes")]
    for job in filling:
        yield (
            "The weights, else devices are held while they arrive: apply the service account, the claims and "
            f"`{job['metadata']['name']}` first and wait for the Job, then all."
        )


def _access(plan: Plan, document: Mapping[str, Any]) -> Iterator[str]:
    roles = document["roles"]
    if "router" in document:
        name = document["router"]["name"]
        yield f"A gateway that knows its callers, where not all that reach it may ask: {name} asks them for no key, and shows the engines its own."
    if plan.chosen and plan.chosen.stack.engine.endpoint.api_key_flag:
        yield "Few readers of the engine's log: it prints the engine's arguments, the key among them."
    if roles[0]["deployment"]["security"]["hostNetwork"]:
        ports = " and ".join(dict.fromkeys(_ports(role) for role in roles))
        yield (
            f"A firewall before the ports {ports} of the hosts: pods of the host network are outside of every NetworkPolicy, "
            "and the key guards only some of an engine's paths."
        )
        if "router" not in document:
            return
    callers = ", ".join(f"`{name}`" for name in callers_from(plan.pairing))
    where = f"the namespaces {callers} or " if callers else ""
    yield f"Callers in {where}the pairing's own namespace; `allowFrom` in the site lets others in."


def _ports(role: Mapping[str, Any]) -> str:
    numbers, rpc = pod_ports(role), role["deployment"]["ports"].get("rpc")
    http = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"{http} and {rpc}" if rpc else http


def _secrets(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        reference = value.get("secretKeyRef")
        if isinstance(reference, Mapping):
            yield reference["name"], reference["key"]
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _custom(objects: Sequence[Mapping[str, Any]], known: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in objects:
        group = item["apiVersion"].partition("/")[0]
        if group in known and item["kind"] not in found.setdefault(group, []):
            found[group].append(item["kind"])
    return found
