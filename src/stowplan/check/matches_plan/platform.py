"""What the operator of a platform is told, against the plan beside the YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.canonical_yaml import dump
from stowplan.check.admission._syntax import quantity
from stowplan.check.commands import commands
from stowplan.check.matches_plan._roles import SOURCE, made, resources, roles
from stowplan.check.matches_plan.role import differences, probe_seconds
from stowplan.check.objects import Bundle, Object, Path, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.check.told import PLATFORMS, Told, told
from stowplan.fit.units import GIB

_PLAN: dict[str, Any] = {
    "apiVersion": "stowplan/v1",
    "kind": "Plan",
    "platform": {"kind": "LLMInferenceService"},
    "roles": [
        {
            "name": "server",
            "replicas": 2,
            "nodes": 1,
            "parallelism": {"tp": 4, "dp": 1, "ep": 4, "pp": 1},
            "flags": {"--tensor-parallel-size": 4},
            "deployment": {
                "name": "server",
                "ports": {"http": 8000},
                "probes": {"startup": {"budgetSeconds": 3000}},
                "resources": {"name": "example.com/device", "devices": 4, "sharedMemoryGib": 32},
            },
        }
    ],
}
_GOOD = f"""\
{dump(_PLAN)}---
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {{name: server}}
spec:
  model: {{name: m, uri: "pvc://weights/m"}}
  replicas: 2
  parallelism: {{tensor: 4, expert: true}}
  template:
    volumes: [{{name: shm, emptyDir: {{medium: Memory, sizeLimit: 32Gi}}}}]
    containers:
      - name: main
        image: example.com/engine:1.0
        command: [vllm, serve, /models/m, --tensor-parallel-size, "4"]
        ports: [{{containerPort: 8000}}]
        startupProbe: {{httpGet: {{path: /health, port: 8000}}, periodSeconds: 10, failureThreshold: 300}}
        resources: {{limits: {{example.com/device: "4"}}}}
"""


def _pairs(item: Object, bundle: Bundle) -> Iterator[tuple[Told, Mapping[str, Any]]]:
    """Each role that the object tells of, with what the plan says of it; none where the plan is of another kind."""
    if mapping((bundle.plan or {}).get("platform")).get("kind") == item.kind:
        planned = {role.get("name"): role for role in roles(bundle)}
        yield from ((part, planned[part.role]) for part in told(item) if part.role in planned)


@check(
    "M313",
    level="plan",
    kinds=PLATFORMS,
    reason="The operator makes as many pods, over as many hosts and with as many devices, as it is told; the plan's numbers hold for its own.",
    source=SOURCE,
    bad=_GOOD.replace('device: "4"', 'device: "8"'),
    good=_GOOD,
)
def told_shape(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The platform is told of every role of the plan, with its replicas, hosts, devices and ports."""
    pairs = list(_pairs(item, bundle))
    said = [part.role for part, _ in pairs]
    if pairs or mapping((bundle.plan or {}).get("platform")).get("kind") == item.kind:
        for role in roles(bundle):
            if role.get("name") not in said:
                yield Found(item, ("spec",), f"says nothing of the plan's role {role.get('name')}")
    for part, role in pairs:
        if part.data.get("replicas", 1) != role.get("replicas"):
            message = f"has {part.data.get('replicas', 1)} replicas; the plan has {role.get('replicas')}"
            yield Found(item, (*part.path, "replicas"), message)
        if part.hosts != role.get("nodes"):
            yield Found(item, part.path, f"spans {part.hosts} hosts; the plan spans {role.get('nodes')}")
        yield from _containers(item, part, role)


def _containers(item: Object, part: Told, role: Mapping[str, Any]) -> Iterator[Found]:
    wanted, port = resources(role), mapping(made(role).get("ports")).get("http")
    name, count = str(wanted.get("name")), wanted.get("devices")
    for _, container in part.engines:
        limits = mapping(mapping(container.data.get("resources")).get("limits"))
        if "claim" not in wanted and quantity(limits.get(name)) != count:
            message = f"asks for {limits.get(name, 'no')} {name}; the plan has {count} on each node"
            yield Found(item, (*container.path, "resources"), message)
        ports = [mapping(entry).get("containerPort") for entry in sequence(container.data.get("ports"))]
        if ports and port not in ports:
            yield Found(item, (*container.path, "ports"), f"names {ports}; the plan has {port}")


@check(
    "M314",
    level="plan",
    kinds=PLATFORMS,
    reason="The ledger, the capacity and the verdict hold for the plan's settings only, in the command and in the fields beside it.",
    source=SOURCE,
    bad=_GOOD.replace("tensor: 4", "tensor: 8"),
    good=_GOOD,
)
def told_settings(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The flags, the sizes, the shared memory and the time to start that the platform is told are the plan's."""
    for part, role in _pairs(item, bundle):
        yield from _sizes(item, part, mapping(role.get("parallelism")))
        yield from _memory(item, part, role)
        containers = {container.path for _, container in part.engines}
        for command in commands(item, bundle):
            if command.container.path in containers:
                yield from differences(item, command, role)


def _sizes(item: Object, part: Told, sizes: Mapping[str, Any]) -> Iterator[Found]:
    given = mapping(part.data.get("parallelism"))
    for field, key in (("tensor", "tp"), ("pipeline", "pp"), ("data", "dp")):
        if given and given.get(field, 1) != sizes.get(key):
            path = (*part.path, "parallelism", *([field] if field in given else []))
            yield Found(item, path, f"{field} is {given.get(field, 1)}; the plan has {sizes.get(key)}")


def _memory(item: Object, part: Told, role: Mapping[str, Any]) -> Iterator[Found]:
    needed = resources(role).get("sharedMemoryGib") or 0
    budget = mapping(mapping(made(role).get("probes")).get("startup")).get("budgetSeconds") or 0
    for size, path in _shared(part):
        if size is not None and size < needed * GIB:
            yield Found(item, path, f"holds {float(size) / GIB:.0f} GiB of shared memory; the plan has {needed} GiB")
    for _, container in part.engines:
        probe = container.data.get("startupProbe")
        if isinstance(probe, Mapping) and probe_seconds(probe) < budget:
            message = f"waits {probe_seconds(probe):,} s for the engine to start; the plan needs {budget:,} s"
            yield Found(item, (*container.path, "startupProbe"), message)


def _shared(part: Told) -> Iterator[tuple[Any, Path]]:
    """Sizes of shared memory: of the operator's own volume, or of one in the pod."""
    for field, inner in (("sharedMemorySize", ()), ("sharedMemory", ("size",))):
        if field in part.data:
            value = part.data[field] if not inner else mapping(part.data[field]).get("size")
            yield quantity(value), (*part.path, field, *inner)
    for pod, _ in part.engines:
        for index, volume in enumerate(sequence(pod.spec.get("volumes"))):
            memory = mapping(mapping(volume).get("emptyDir"))
            if memory.get("medium") == "Memory":
                where = (*pod.spec_path, "volumes", index, "emptyDir", "sizeLimit")
                yield quantity(memory.get("sizeLimit")), where
