"""A chosen layout in; every number and name of its Kubernetes objects out, so that rendering decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from math import ceil
from typing import Any, Literal

from stowplan.fit.units import GIB
from stowplan.fit.weights import weights
from stowplan.plan.aggregated import SERVER
from stowplan.plan.claims import claim_names
from stowplan.plan.document import checkpoint_bytes, image, revision
from stowplan.plan.model import Candidate, Layer, Plan, Role
from stowplan.plan.processes import processes
from stowplan.plan.quantization import toolchain
from stowplan.profiles.engine import Container, Memory, MultiNode, Transfer
from stowplan.profiles.site import Weights

_NAME_LENGTH = 40
_HASH_LENGTH = 6
_REVISION_LENGTH = 12
_PROBE_PERIOD = 10
_GRACE_BEYOND_SHUTDOWN = 60
_HOST_WEIGHTS = "The checkpoints lie in a folder of the hosts, as the site says."
_LATE = 4
"""How many times slower than expected an arrival may be before it counts as failed."""


def object_name(pairing: str) -> str:
    """A pairing's name as Kubernetes object name: a DNS label of RFC 1035; longer ones are cut with a hash."""
    name = pairing.replace(".", "-")
    if not name[0].isalpha():  # Services and groups of pods are DNS labels that begin with a letter
        name = f"p-{name}"
    if len(name) <= _NAME_LENGTH:
        return name
    return f"{name[: _NAME_LENGTH - _HASH_LENGTH - 1].rstrip('-')}-{_mark(pairing)}"


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


def namespace(base: str, level: str) -> str:
    """The site's namespace for a pod-security level; the strictest has the plain name."""
    return base if level == "restricted" else f"{base}-{level}"


def weights_path(root: str, checkpoint: str, revision: str | None) -> str:
    """Folder of one revision of a checkpoint: another revision never lands where pods still read."""
    return f"{root}/{checkpoint}" + (f"/{revision[:_REVISION_LENGTH]}" if revision else "")


def _claim(pairing: str, checkpoint: str, site: Weights) -> str:
    """Name of the volume claim: what cannot be changed in a claim makes it another one."""
    fixed = f"{checkpoint} {site.storage_class} {site.access_mode}"
    return f"{object_name(pairing)}-weights-{_mark(fixed)}"


def deployments(plan: Plan, chosen: Candidate) -> list[dict[str, Any]]:
    """Names, ports, probes, resources, security and volumes of each role; all are in one namespace."""
    made = [_deployment(plan, chosen, role) for role in chosen.roles]
    level = max((m["podSecurity"] for m in made), key=LEVELS.index)
    return [{**m, "podSecurity": level, "namespace": namespace(plan.pairing.site.namespace, level)} for m in made]


def role_name(pairing: str, role: str) -> str:
    """Name of a role's objects; the only role has the pairing's own."""
    return object_name(pairing) if role == SERVER else f"{object_name(pairing)}-{role}"


def _deployment(plan: Plan, chosen: Candidate, role: Role) -> dict[str, Any]:
    stack, placement, fit = chosen.stack, role.placement, role.fit
    engine, site = stack.engine, plan.pairing.site
    if plan.layer is None:
        raise ValueError("a chosen layout has a device layer")
    container, endpoint, layer = engine.container, engine.endpoint, plan.layer
    apart, handed = len(chosen.roles) > 1, stack.transfer
    grouped, joined, name = placement.nodes > 1, placement.nodes > 1 or apart, role_name(plan.pairing.name, role.name)
    run = processes(stack, role)
    rdma = site.network.rdma_resource if grouped or (handed and handed.rdma) else ""
    reasons = privileges(container, layer, joined=joined, rdma=bool(rdma))
    pinned = revision(plan, chosen)
    volume = _weights_volume(site.weights, stack.checkpoint.id)
    if volume == "hostPath":
        held = f"{reasons['host-path']} " if "host-path" in reasons else ""
        reasons = dict(sorted({**reasons, "host-path": f"{held}{_HOST_WEIGHTS}"}.items()))
    level = pod_security(reasons)
    size = checkpoint_bytes(plan, chosen)
    port = int(role.settings.get("flags", engine.fields["port"].flag)) if "port" in engine.fields else endpoint.port
    own = "LeaderWorkerSet" if grouped else "StatefulSet" if apart else "Deployment"
    budget = startup_seconds(engine.memory, size)
    arrival = arrival_seconds(plan, chosen, size)
    root = container.run_as is None or "root" in layer.spec.workload.reasons
    return {
        "name": name,
        "workload": plan.pairing.platform.kind or own,
        "podSecurity": level,
        "image": image(plan, chosen),
        "ports": {
            "http": port,
            **({"rpc": engine.multi_node.rpc_port} if engine.multi_node and (grouped or run.by_rank) else {}),
        },
        "processes": {"eachPod": run.each_pod, "everyPod": run.every_pod, "byRank": run.by_rank},
        "network": _network(engine.multi_node if grouped else None, handed),
        "probes": {
            "health": endpoint.health,
            "models": endpoint.models,
            "startup": {
                "periodSeconds": _PROBE_PERIOD,
                "failureThreshold": ceil(budget / _PROBE_PERIOD),
                "budgetSeconds": ceil(budget),
            },
        },
        "deadlines": {
            "download": ceil(_LATE * size / 1e9 / site.weights.download_rate),
            "rollout": ceil(_LATE * arrival + budget),
            "smokeTest": ceil(_LATE * arrival + 2 * budget),
        },
        "gracePeriodSeconds": endpoint.shutdown_seconds + _GRACE_BEYOND_SHUTDOWN,
        "resources": {
            "name": layer.server.resource,
            "devices": placement.devices_per_node,
            **claim_names(
                layer,
                site.kubernetes,
                (name, object_name(plan.pairing.name)),
                placement.devices_per_node,
                joined=joined,
            ),
            "cpu": ceil((container.cpu_per_device.value or 1) * placement.devices_per_node),
            "sharedMemoryGib": ceil(fit.host_shared / GIB),
            "memoryGib": ceil((fit.host_pinned + fit.host_shared + fit.host_process) / GIB),
            "requestedMemoryGib": ceil((fit.host_pinned + fit.host_process) / GIB),
            **({"rdma": rdma} if rdma else {}),
        },
        "security": {
            "runAsUser": None if root else container.run_as,
            "hostNetwork": "host-network" in reasons,
            "seccomp": layer.spec.workload.seccomp,
            "capabilities": capabilities(layer, reasons),
            "reasons": reasons,
        },
        "weights": {
            "volume": volume,
            "claimGib": ceil(size * (1 + site.weights.headroom_percent / 100) / GIB),
            "claim": _claim(plan.pairing.name, stack.checkpoint.id, site.weights),
            "path": weights_path("/models", stack.checkpoint.id, pinned),
            "revision": pinned,
            "hub": stack.checkpoint.hubs[0] if stack.checkpoint.hubs else None,
        },
    }


def _weights_volume(site: Weights, checkpoint: str) -> Literal["claim", "hostPath", "image"]:
    """Where pods find a checkpoint: in its image, in a folder of the hosts, or on a claim that a Job fills."""
    if checkpoint in site.images:
        return "image"
    return "hostPath" if site.host_path else "claim"


def _network(multi: MultiNode | None, handed: Transfer | None) -> dict[str, list[str]]:
    """Variables that name the host's interface, and those with the pod's own address, where pods reach each other."""
    given = [found for found in (multi, handed) if found]
    interfaces = dict.fromkeys(name for found in given for name in found.interface_env)
    return {"interfaceEnv": [*interfaces], "addressEnv": [*dict.fromkeys(n for g in given for n in g.address_env)]}


def startup_seconds(memory: Memory, size: int) -> float:
    """Seconds from the start of the container to the first answer, with the engine's margin."""
    margin = memory.startup_margin.value if memory.startup_margin else None
    return (size / 1e9 / (memory.load_rate.value or 1) + (memory.warmup_seconds.value or 0)) * (margin or 1)


def arrival_seconds(plan: Plan, chosen: Candidate, size: int) -> float:
    """Seconds until the weights are on the volume: the download, and the conversion where there is one."""
    rate = plan.pairing.site.weights.download_rate * 1e9
    made_by = toolchain(plan.pairing, chosen.stack)
    if not chosen.stack.checkpoint.converted or made_by is None or made_by[1].run is None:
        return size / rate
    native = plan.pairing.variant.native
    return weights(plan.pairing.architecture, native, native.draft).total / rate + made_by[1].run.hours * 3600


LEVELS = ("restricted", "baseline", "privileged")
"""Pod-security levels, the strictest first."""


def pod_security(reasons: Collection[str]) -> str:
    """The strictest pod-security level that admits a pod with these privileges."""
    if {"host-network", "host-path", "ipc-lock"} & {*reasons}:
        return "privileged"
    return "baseline" if {"root", "seccomp"} & {*reasons} else "restricted"


def layer_reasons(layer: Layer) -> dict[str, str]:
    """Privilege to reason, as far as the layer's pods on this server need it."""
    stated = dict(layer.spec.workload.reasons)
    if not layer.server.host_paths:
        stated.pop("host-path", None)
    return stated


def privileges(container: Container, layer: Layer, *, joined: bool, rdma: bool) -> dict[str, str]:
    """Privilege to reason, of the layer and of the engine, as far as this pod, alone or joined with others, asks for it."""
    stated = layer_reasons(layer)
    for privilege, reason in container.reasons.items():
        if privilege in ("host-network", "ipc-lock") and not joined:
            continue
        stated[privilege] = f"{stated[privilege]} {reason}" if privilege in stated else reason
    if rdma:
        stated.setdefault("ipc-lock", "RDMA between hosts pins memory.")
    return dict(sorted(stated.items()))


def capabilities(layer: Layer, reasons: Collection[str]) -> dict[str, list[str]]:
    """Capabilities of a container with these privileges."""
    stated = layer.spec.workload.capabilities
    drop, add = list(stated.get("drop", ("ALL",))), list(stated.get("add", ()))
    if "ipc-lock" in reasons:
        add.append("IPC_LOCK")
    return {"drop": drop, **({"add": sorted(add)} if add else {})}
