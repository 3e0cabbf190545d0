"""Devices, nodes, ranks, ports, volumes and probes, recomputed from the YAML, against the plan beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from stowplan.canonical_yaml import dump
from stowplan.check.admission._syntax import quantity
from stowplan.check.claims import claimed
from stowplan.check.commands import Command, commands
from stowplan.check.matches_plan._roles import SOURCE, WORKLOADS, made, resources, role_of, roles
from stowplan.check.matches_plan.processes import computed, http_ports
from stowplan.check.objects import Bundle, Object, containers, dig, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.fit.units import GIB

_PLAN: dict[str, Any] = {
    "apiVersion": "stowplan/v1",
    "kind": "Plan",
    "checkpoint": {"bytes": 100 * 10**9},
    "roles": [
        {
            "replicas": 1,
            "nodes": 1,
            "devicesPerNode": 4,
            "parallelism": {"tp": 4, "dp": 1, "ep": 1, "pp": 1},
            "flags": {"--tensor-parallel-size": 4, "--port": 8000},
            "deployment": {
                "name": "server",
                "ports": {"http": 8000},
                "probes": {"startup": {"budgetSeconds": 3000}},
                "resources": {"name": "example.com/device", "devices": 4, "sharedMemoryGib": 32},
                "weights": {"claimGib": 110, "claim": "server-weights"},
            },
        }
    ],
}
_BESIDE = dump(_PLAN) + "---\n"
_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: server}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: server}}}}
  template:
    metadata: {{labels: {{app: server}}}}
    spec:
      volumes: [{{name: shm, emptyDir: {{medium: Memory, sizeLimit: {shm}}}}}]
      containers:
        - name: engine
          image: example.com/engine:1.0
          command: [vllm, serve, /models/m, --tensor-parallel-size, "{tp}", --port, "{port}"]
          ports: [{{name: http, containerPort: {port}}}]
          startupProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 10, failureThreshold: {failures}}}
          resources: {{limits: {{example.com/device: "{devices}"}}}}
"""
_RIGHT = {"replicas": 1, "shm": "32Gi", "tp": 4, "port": 8000, "failures": 300, "devices": 4}


def _example(**changed: object) -> str:
    return _BESIDE + _DEPLOYMENT.format(**{**_RIGHT, **changed})


@check(
    "M301",
    level="plan",
    kinds=WORKLOADS,
    reason="A pod that asks for another number of devices than the plan counts on starves the engine or leaves cards idle.",
    source=SOURCE,
    bad=_example(devices=8),
    good=_example(),
)
def devices(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Each pod asks for the devices of the plan."""
    role = role_of(item, bundle)
    if not role:
        return
    wanted = resources(role)
    name, count = str(wanted.get("name")), wanted.get("devices")
    if "claim" in wanted:  # M308
        return
    for command in commands(item, bundle):
        limits = mapping(mapping(command.container.data.get("resources")).get("limits"))
        if name not in limits:
            yield Found(
                item, (*command.container.path, "resources"), f"asks for no {name}; the plan has {count} on each node"
            )
        elif quantity(limits[name]) != count:
            path = (*command.container.path, "resources", "limits", name)
            yield Found(item, path, f"asks for {limits[name]} {name}; the plan has {count} on each node")


@check(
    "M302",
    level="plan",
    kinds=WORKLOADS,
    reason="Replicas and the size of a group multiply the devices that are taken.",
    source=SOURCE,
    bad=_example(replicas=3),
    good=_example(),
)
def replicas_and_nodes(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Replicas, and the nodes of each, are those of the plan."""
    role = role_of(item, bundle)
    if not role:
        return
    scaled = "scaling" in (bundle.plan or {}) and "replicas" not in item.spec
    if not scaled and item.spec.get("replicas", 1) != role.get("replicas"):
        yield Found(
            item,
            ("spec", "replicas"),
            f"has {item.spec.get('replicas', 1)} replicas; the plan has {role.get('replicas')}",
        )
    size = dig(item.data, ("spec", "leaderWorkerTemplate", "size")) if item.kind == "LeaderWorkerSet" else 1
    if size != role.get("nodes"):
        yield Found(
            item, ("spec", "leaderWorkerTemplate", "size"), f"spans {size} nodes; the plan spans {role.get('nodes')}"
        )


@check(
    "M303",
    level="plan",
    kinds=WORKLOADS,
    reason="The ledger, the capacity and the verdict hold for the plan's settings only.",
    source=SOURCE,
    bad=_example(tp=8),
    good=_example(),
)
def settings(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The engine's flags are those of the plan."""
    role = role_of(item, bundle)
    if not role:
        return
    for command in commands(item, bundle):
        yield from differences(item, command, role)


def differences(item: Object, command: Command, role: Mapping[str, Any]) -> Iterator[Found]:
    """Flags of a command that are not as the plan has them."""
    leader, own = command.flags.get("--headless") is not True, computed(command)
    for flag, value in mapping(role.get("flags")).items():
        if value is False or flag in own or (flag not in command.flags and not leader):
            continue
        if flag not in command.flags:
            yield Found(item, command.path, f"{flag} is not given; the plan has {value!r}")
        elif command.flags[flag] != value:
            yield Found(item, command.path, f"{flag} is {command.flags[flag]!r}; the plan has {value!r}")


@check(
    "M304",
    level="plan",
    kinds=WORKLOADS,
    reason="The ranks that the engine starts must be exactly the devices that the pods bring.",
    source="devices = tensor x data x pipeline parallel = nodes x devices of a node.",
    bad=_example(tp=2),
    good=_example(),
)
def ranks(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Tensor x data x pipeline parallel is the number of devices of the group."""
    role = role_of(item, bundle)
    if not role:
        return
    resource = str(resources(role).get("name"))
    size = dig(item.data, ("spec", "leaderWorkerTemplate", "size")) if item.kind == "LeaderWorkerSet" else 1
    for command in commands(item, bundle):
        sizes = [command.flags.get(f"--{name}-parallel-size", 1) for name in ("tensor", "data", "pipeline")]
        asked = _asked(command, bundle, resource)
        if not all(isinstance(n, int) for n in (*sizes, size)) or asked is None:
            continue
        total, held = sizes[0] * sizes[1] * sizes[2], asked * size
        if total != held:
            yield Found(
                item,
                command.path,
                f"starts {total} ranks ({sizes[0]} x {sizes[1]} x {sizes[2]}) on {float(held):g} devices",
            )


def _asked(command: Command, bundle: Bundle, resource: str) -> Fraction | None:
    """Devices that the engine's container asks for, by amount or by claim."""
    amount = quantity(mapping(mapping(command.container.data.get("resources")).get("limits")).get(resource))
    counts = [c.devices for c in claimed(bundle, command.pod, command.container) if c.device_class == resource]
    if amount is not None or not counts:
        return amount
    return None if None in counts else Fraction(sum(count or 0 for count in counts))


@check(
    "M305",
    level="plan",
    kinds=WORKLOADS,
    reason="Too little shared memory ends in a bus error under load, too short a startup probe in a restart loop while weights load.",
    source=SOURCE,
    bad=_example(shm="1Gi", failures=30),
    good=_example(),
)
def memory_and_probes(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Shared memory and the startup probe are as large as the plan says."""
    role = role_of(item, bundle)
    if not role:
        return
    wanted = resources(role).get("sharedMemoryGib") or 0
    budget = mapping(mapping(made(role).get("probes")).get("startup")).get("budgetSeconds") or 0
    for pod in item.pods:
        for index, volume in enumerate(sequence(pod.spec.get("volumes"))):
            memory = mapping(mapping(volume).get("emptyDir"))
            size = quantity(memory.get("sizeLimit"))
            if memory.get("medium") == "Memory" and size is not None and size < wanted * GIB:
                path = (*pod.spec_path, "volumes", index, "emptyDir", "sizeLimit")
                yield Found(
                    item, path, f"holds {float(size) / GIB:.0f} GiB of shared memory; the plan has {wanted} GiB"
                )
        for container in containers(pod):
            probe = container.data.get("startupProbe")
            if isinstance(probe, Mapping):
                seconds = probe_seconds(probe)
                if seconds < budget:
                    message = f"waits {seconds:,} s for the engine to start; the plan needs {budget:,} s"
                    yield Found(item, (*container.path, "startupProbe"), message)


def probe_seconds(probe: Mapping[str, Any]) -> int:
    """How long a startup probe lets its container take."""
    numbers = [probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)]
    return numbers[0] * numbers[1] if all(isinstance(n, int) for n in numbers) else 0


@check(
    "M306",
    level="plan",
    kinds="PersistentVolumeClaim",
    reason="A claim that is smaller than the checkpoint fills up in the middle of the download.",
    source=SOURCE,
    bad=_BESIDE
    + "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: server-weights}\nspec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 50Gi}}}\n",
    good=_BESIDE
    + "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: server-weights}\nspec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 110Gi}}}\n",
)
def claim_size(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The weights' claim holds the checkpoint."""
    claims = {mapping(made(role).get("weights")).get("claim") for role in roles(bundle)}
    if item.name not in claims:
        return
    path = ("spec", "resources", "requests", "storage")
    size, needed = quantity(dig(item.data, path)), mapping((bundle.plan or {}).get("checkpoint")).get("bytes") or 0
    if size is not None and size < needed:
        yield Found(item, path, f"asks for {float(size) / GIB:.0f} GiB; the checkpoint has {needed / GIB:.0f} GiB")


@check(
    "M307",
    level="plan",
    kinds=WORKLOADS,
    reason="Service, probes and policies point at the port that the plan names.",
    source=SOURCE,
    bad=_example(port=9000),
    good=_example(),
)
def port(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The engine listens on the plan's port."""
    role = role_of(item, bundle)
    if not role:
        return
    wanted = http_ports(role)
    for pod in item.pods:
        for container in containers(pod):
            for index, entry in enumerate(sequence(container.data.get("ports"))):
                name, number = mapping(entry).get("name"), mapping(entry).get("containerPort")
                if name in wanted and number != wanted[name]:
                    path = (*container.path, "ports", index, "containerPort")
                    yield Found(item, path, f"names port {number} {name}; the plan has {wanted[name]}")
