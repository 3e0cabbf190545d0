"""Devices that pods claim (Dynamic Resource Allocation), against the plan beside the YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.canonical_yaml import dump
from stowplan.check.claims import Claimed, claimed, makers, used_claims
from stowplan.check.commands import Command, commands
from stowplan.check.matches_plan._roles import SOURCE, WORKLOADS, resources, role_of
from stowplan.check.objects import Bundle, Object, mapping
from stowplan.check.registry import Found, check

_RESOURCES = {
    "name": "gpu.example.com",
    "devices": 4,
    "claim": {"apiVersion": "resource.k8s.io/v1", "name": "devices", "template": "server-devices-4"},
    "groupClaim": {"name": "channel", "template": "server-channel"},
}
_PLAN = {
    "apiVersion": "stowplan/v1",
    "kind": "Plan",
    "roles": [{"replicas": 1, "nodes": 1, "deployment": {"name": "server", "resources": _RESOURCES}}],
}
_SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      resourceClaims:
        - {name: devices, resourceClaimTemplateName: server-devices-4}
        - {name: channel, resourceClaimTemplateName: server-channel}
      containers:
        - name: engine
          image: example.com/engine:1.0
          command: [vllm, serve, /models/m]
          resources: {claims: [{name: devices}, {name: channel}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: server-devices-4}
spec: {spec: {devices: {requests: [{name: devices, exactly: {deviceClassName: gpu.example.com, count: 4}}]}}}
---
apiVersion: resource.nvidia.com/v1beta1
kind: ComputeDomain
metadata: {name: server}
spec: {numNodes: 0, channel: {resourceClaimTemplate: {name: server-channel}}}
"""
_GOOD = f"{dump(_PLAN)}---\n{_SERVER}"


@check(
    "M308",
    level="plan",
    kinds=WORKLOADS,
    reason="A pod that claims another class or number of devices than the plan counts on stays pending, starves the engine or leaves devices idle.",
    source=SOURCE,
    bad=_GOOD.replace("count: 4", "count: 8"),
    good=_GOOD,
)
def claimed_devices(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Each pod claims the devices of the plan, where the device layer hands them out by claims."""
    wanted = resources(role_of(item, bundle))
    if "claim" in wanted:
        for command in commands(item, bundle):
            yield from _devices(item, bundle, command, wanted)


def _devices(item: Object, bundle: Bundle, command: Command, wanted: Mapping[str, Any]) -> Iterator[Found]:
    name, count, template = wanted.get("name"), wanted.get("devices"), mapping(wanted.get("claim")).get("template")
    held = [claim for claim in claimed(bundle, command.pod, command.container) if claim.item.name == template]
    path = (*command.container.path, "resources")
    if template not in [reference.target for reference in used_claims(command.pod, command.container)]:
        yield Found(item, path, f"makes no claim of {template}; the plan has {count} {name} on each node")
    elif not held:
        message = (
            f"claims devices by {template}, which the bundle does not hold; the plan has {count} {name} on each node"
        )
        yield Found(item, path, message)
    for claim in held:
        yield from _request(claim, name, count)


def _request(claim: Claimed, name: object, count: object) -> Iterator[Found]:
    if claim.device_class != name:
        message = f"asks for devices of the class {claim.device_class}; the plan has {name}"
        yield Found(claim.item, (*claim.path, "deviceClassName"), message)
    elif claim.devices != count:
        asked = "all devices of a host" if claim.devices is None else f"{claim.devices} {name}"
        yield Found(claim.item, claim.path, f"asks for {asked}; the plan has {count} on each node")


@check(
    "M309",
    level="plan",
    kinds=WORKLOADS,
    reason="Pods of a group that do not share what joins their hosts start, and then fail at the first collective over hosts or fall back to a slow link.",
    source=SOURCE,
    bad=_GOOD.replace("claims: [{name: devices}, {name: channel}]", "claims: [{name: devices}]"),
    good=_GOOD,
)
def joined_group(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The pods of a group that spans hosts claim what the device layer joins them by, and the bundle has it made."""
    template = mapping(resources(role_of(item, bundle)).get("groupClaim")).get("template")
    for command in commands(item, bundle) if template else ():
        path = (*command.container.path, "resources")
        if template not in [reference.target for reference in used_claims(command.pod, command.container)]:
            yield Found(item, path, f"makes no claim of {template}, by which the plan joins the hosts of a group")
        elif template not in makers(bundle):
            yield Found(item, path, f"claims {template}, and no object of the bundle has it made")
