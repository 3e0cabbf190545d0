"""Who hands out the devices of a host, and what joins hosts: two owners of one device, a domain of a wrong size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.admission._examples import thing
from stowplan.check.claims import used_claims
from stowplan.check.domain._hosts import Hosts, hosts_of, overlap
from stowplan.check.objects import Bundle, Object, Pod, containers, dig, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.profiles.device_layer import Owner

_DAEMON = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: {name}, namespace: kube-system}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      nodeSelector: {{pool: {pool}}}
      containers:
        - {{name: plugin, image: "{image}", command: [{program}]}}
      volumes: [{{name: kubelet, hostPath: {{path: /var/lib/kubelet/{folder}}}}}]
"""
_PLUGIN = _DAEMON.format(
    name="plugin",
    pool="a",
    image="nvcr.io/nvidia/k8s-device-plugin:v0.20.0",
    program="nvidia-device-plugin",
    folder="device-plugins",
)
_DRIVER = {
    "name": "driver",
    "image": "registry.k8s.io/dra-driver-nvidia/dra-driver-nvidia-gpu:v0.4.1",
    "program": "gpu-kubelet-plugin",
    "folder": "plugins_registry",
}


_KUBELETS = ("device-plugins", "plugins_registry")
"""Kubelet's folders in which a program that hands out devices registers; its companions of the same image do not."""


class _Owning(NamedTuple):
    """An object that hands out devices, by whose program, and on which hosts."""

    item: Object
    owner: Owner
    hosts: Hosts


@check(
    "D105",
    level="domain",
    whole_bundle=True,
    reason="Two programs that hand out the devices of one host give one device to two pods: memory runs out, or the engine finds devices busy.",
    source="kubernetes-sigs/dra-driver-nvidia-gpu v0.4.1, templates/validation.yaml of its chart; Project-HAMi/HAMi and vendors' documents: one plugin for each device of a host.",
    bad=f"{_PLUGIN}---\n{_DAEMON.format(pool='a', **_DRIVER)}",
    good=f"{_PLUGIN}---\n{_DAEMON.format(pool='b', **_DRIVER)}",
)
def one_owner_of_a_device(bundle: Bundle) -> Iterator[Found]:
    """One program hands out the devices of a host: device plugin, DRA driver or a sharing scheduler's plugin."""
    before: list[_Owning] = []
    for other in _owning(bundle):
        one = next((one for one in before if _shared(one, other) and overlap(one.hosts, other.hosts)), None)
        before.append(other)
        if one is None:
            continue
        devices = ", ".join(_shared(one, other))
        message = f"{other.owner.title} and {one.owner.title} ({one.item}) both hand out {devices} on the same hosts"
        yield Found(
            other.item, ("metadata", "name"), message, "remove one, or keep their hosts apart by a node selector"
        )


def _shared(one: _Owning, other: _Owning) -> list[str]:
    return sorted({*one.owner.devices} & {*other.owner.devices}) if one.item is not other.item else []


def _owning(bundle: Bundle) -> Iterator[_Owning]:
    layers = bundle.catalog.device_layers.values() if bundle.catalog else ()
    owners = [owner for layer in layers for owner in layer.owners]
    for item in bundle.objects:
        for owner in owners:
            if (
                item.kind == owner.kind
                and _runs(item, owner)
                and dig(item.data, owner.enabled or ("kind",)) is not False
            ):
                yield _Owning(item, owner, hosts_of(item, owner.selector))
                break


def _runs(item: Object, owner: Owner) -> bool:
    """Whether the object starts the owner's program; an owner without image is told by its kind alone."""
    if not owner.image:
        return True
    return any(
        _registers(pod) and _is_image(container.data.get("image"), owner.image) and _says(container.data, owner.program)
        for pod in item.pods
        for container in containers(pod)
    )


def _registers(pod: Pod) -> bool:
    paths = (mapping(mapping(v).get("hostPath")).get("path") for v in sequence(pod.spec.get("volumes")))
    return any(str(path).rstrip("/").rpartition("/")[2] in _KUBELETS for path in paths)


def _is_image(image: object, wanted: str) -> bool:
    name = str(image).partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}".endswith(f"/{wanted}") or name.partition(":")[0] == wanted


def _says(container: Mapping[str, Any], program: str) -> bool:
    words = [word for field in ("command", "args") for word in sequence(container.get(field))]
    return not program or any(program in str(word) for word in words)


_DOMAIN = "spec:\n  numNodes: {}\n  channel: {{resourceClaimTemplate: {{name: group}}}}"
_GROUP = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: server}
spec:
  replicas: 1
  leaderWorkerTemplate:
    size: 2
    workerTemplate:
      spec:
        resourceClaims: [{name: channel, resourceClaimTemplateName: group}]
        containers:
          - {name: engine, image: "example.com/engine:1.0", resources: {claims: [{name: channel}]}}
"""


@check(
    "D106",
    level="domain",
    kinds="ComputeDomain",
    reason="A domain that waits for another number of hosts than its pods have is never ready, or leaves pods out of it.",
    source="kubernetes-sigs/dra-driver-nvidia-gpu v0.4.1 api/nvidia.com/resource/v1beta1/computedomain.go, field numNodes",
    bad=f"{thing('resource.nvidia.com/v1beta1', 'ComputeDomain', _DOMAIN.format(4))}---\n{_GROUP}",
    good=f"{thing('resource.nvidia.com/v1beta1', 'ComputeDomain', _DOMAIN.format(0))}---\n{_GROUP}",
)
def size_of_domain(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A domain that counts its hosts counts those of the pods that join it; 0 counts none."""
    size, path = item.spec.get("numNodes"), ("spec", "channel", "resourceClaimTemplate", "name")
    joining = [_pods_joining(other, dig(item.data, path)) for other in bundle.objects if other.pods]
    if not isinstance(size, int) or size == 0 or None in joining or not any(joining):
        return
    total = sum(count or 0 for count in joining)
    if total != size:
        yield Found(item, ("spec", "numNodes"), f"waits for {size} hosts; {total} pods of the bundle join it", "give 0")


def _pods_joining(item: Object, template: object) -> int | None:
    """Pods of an object that claim the template; None where their number is not in the file."""
    joins = [any(r.target == template for c in containers(pod) for r in used_claims(pod, c)) for pod in item.pods]
    if not any(joins):
        return 0
    replicas, parts = item.spec.get("replicas", 1), mapping(item.spec.get("leaderWorkerTemplate"))
    size = parts.get("size", 1)
    if item.kind not in ("Deployment", "LeaderWorkerSet", "StatefulSet") or not isinstance(replicas, int):
        return 1 if item.kind == "Pod" else None
    if len(joins) == 1 or all(joins):
        return replicas * size if isinstance(size, int) else None
    return replicas * (1 if joins[0] else size - 1) if isinstance(size, int) else None
