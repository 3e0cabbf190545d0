"""An object in; which of its containers ask for devices, for how many, of which hosts and layers, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.admission._syntax import quantity
from stowplan.check.advertised import device_resources
from stowplan.check.objects import Bundle, Container, Object, Pod, containers, dig, mapping
from stowplan.profiles.device_layer import DeviceLayerSpec

SERVER = "stowplan.dev/server"
POLICIES = "Ascend/mind-cluster v26.1.0, docs/zh/scheduling/06_api/01_volcano.md and affinity scheduling."
_EXAMPLE: dict[str, str] = {
    "server": "atlas-800i-a3",
    "scheduler": "volcano",
    "annotations": "{huawei.com/schedule_policy: chip2-node16}",
    "resource": "huawei.com/Ascend910",
    "count": "16",
    "env": "{name: ASCEND_VISIBLE_DEVICES, valueFrom: {fieldRef: {fieldPath: \"metadata.annotations['huawei.com/Ascend910']\"}}}",
    "extra": "",
}
_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: engine
  annotations: {annotations}
spec:
  schedulerName: {scheduler}
  nodeSelector: {{stowplan.dev/server: {server}}}
{extra}  containers:
    - name: engine
      image: registry.example.com/engine:1.0
      env: [{env}]
      resources: {{limits: {{{resource}: "{count}"}}}}
      volumeMounts: [{{name: hccn, mountPath: /etc/hccn.conf, readOnly: true}}]
  volumes: [{{name: hccn, hostPath: {{path: /etc/hccn.conf, type: File}}}}]
"""
HAMI = {
    "scheduler": "hami-scheduler",
    "annotations": "{}",
    "resource": "huawei.com/Ascend910C",
    "env": "{name: A, value: b}",
    "extra": "  runtimeClassName: ascend\n",
}


def example_pod(**changed: str) -> str:
    """A pod that asks for devices as it should, with some words changed."""
    return _POD.format(**{**_EXAMPLE, **changed})


class Asked(NamedTuple):
    """A container that asks for devices."""

    item: Object
    pod: Pod
    container: Container
    resource: str
    number: int | None

    @property
    def path(self) -> tuple[str | int, ...]:
        """Where the number stands."""
        return (*self.container.path, "resources", "limits", self.resource)

    @property
    def server(self) -> str:
        """The server that the pod selects; empty: none."""
        return str(mapping(self.pod.spec.get("nodeSelector")).get(SERVER, ""))

    @property
    def scheduler(self) -> str:
        """The scheduler that the pod names."""
        return str(self.pod.spec.get("schedulerName") or "default-scheduler")

    @property
    def replicas(self) -> int:
        """Pods of an object whose pods a gang scheduler may place together; 1 where it has no such number."""
        count = self.item.spec.get("replicas") if self.item.kind in ("Deployment", "StatefulSet") else 1
        return count if isinstance(count, int) else 1

    @property
    def hosts(self) -> int:
        """Pods of its group."""
        path = (
            ("spec", "leaderWorkerTemplate", "size") if self.item.kind == "LeaderWorkerSet" else ("spec", "completions")
        )
        size = dig(self.item.data, path) if self.item.kind in ("LeaderWorkerSet", "Job") else 1
        return size if isinstance(size, int) else 1


def limits_of(container: Container) -> Mapping[str, Any]:
    """Limits of a container."""
    return mapping(mapping(container.data.get("resources")).get("limits"))


def asked_for(item: Object, bundle: Bundle) -> Iterator[Asked]:
    """What the containers of an object ask for by names that some layer advertises."""
    known = device_resources(bundle)
    for pod in item.pods:
        for container in containers(pod):
            for name, value in limits_of(container).items():
                if name in known:
                    amount = quantity(value)
                    whole = int(amount) if amount is not None and amount.denominator == 1 else None
                    yield Asked(item, pod, container, name, whole)


def layers_of(asked: Asked, bundle: Bundle) -> dict[str, DeviceLayerSpec]:
    """Layers that advertise the resource (on the pod's server, where it selects one)."""
    layers = bundle.catalog.device_layers if bundle.catalog else {}
    found, server = {}, asked.server
    for name, layer in layers.items():
        servers = [s for key, s in layer.servers.items() if server in ("", key)]
        if any(s.resource == asked.resource for s in servers):
            found[name] = layer
    return found
