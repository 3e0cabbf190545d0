"""Pods that ask for devices: by the name, in the number, and with all else that the hosts' device layer wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.admission._syntax import quantity
from stowplan.check.admission.quantities import is_extended
from stowplan.check.advertised import advertised, device_resources
from stowplan.check.objects import Bundle, Container, Object, Pod, containers, dig, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.profiles.device_layer import DeviceLayerSpec

_SERVER = "stowplan.dev/server"
_POLICIES = "Ascend/mind-cluster v26.1.0, docs/zh/scheduling/06_api/01_volcano.md and affinity scheduling."
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
_HAMI = {
    "scheduler": "hami-scheduler",
    "annotations": "{}",
    "resource": "huawei.com/Ascend910C",
    "env": "{name: A, value: b}",
    "extra": "  runtimeClassName: ascend\n",
}


def _pod(**changed: str) -> str:
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
        return str(mapping(self.pod.spec.get("nodeSelector")).get(_SERVER, ""))

    @property
    def scheduler(self) -> str:
        """The scheduler that the pod names."""
        return str(self.pod.spec.get("schedulerName") or "default-scheduler")

    @property
    def hosts(self) -> int:
        """Pods of its group."""
        path = (
            ("spec", "leaderWorkerTemplate", "size") if self.item.kind == "LeaderWorkerSet" else ("spec", "completions")
        )
        size = dig(self.item.data, path) if self.item.kind in ("LeaderWorkerSet", "Job") else 1
        return size if isinstance(size, int) else 1


def _limits(container: Container) -> Mapping[str, Any]:
    return mapping(mapping(container.data.get("resources")).get("limits"))


def _asked(item: Object, bundle: Bundle) -> Iterator[Asked]:
    known = device_resources(bundle)
    for pod in item.pods:
        for container in containers(pod):
            for name, value in _limits(container).items():
                if name in known:
                    amount = quantity(value)
                    whole = int(amount) if amount is not None and amount.denominator == 1 else None
                    yield Asked(item, pod, container, name, whole)


def _layers(asked: Asked, bundle: Bundle) -> dict[str, DeviceLayerSpec]:
    """Layers that advertise the resource (on the pod's server, where it selects one)."""
    layers = bundle.catalog.device_layers if bundle.catalog else {}
    found = {}
    for name, layer in layers.items():
        servers = [s for key, s in layer.servers.items() if asked.server in ("", key)]
        if any(s.resource == asked.resource for s in servers):
            found[name] = layer
    return found


@check(
    "D120",
    level="domain",
    reason="A pod that asks for a name that its hosts do not advertise stays Pending for ever.",
    source="The resource of each server in the device layers' profiles, and in the node-labels.yaml that is rendered from them.",
    bad=_pod(resource="huawei.com/npu"),
    good=_pod(),
)
def advertised_name(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod asks its hosts for the resource that their device layer advertises."""
    known = device_resources(bundle)
    for pod in item.pods:
        server = str(mapping(pod.spec.get("nodeSelector")).get(_SERVER, ""))
        offered = {entry.resource: entry.layer for entry in advertised(bundle, server)}
        domains = {name.partition("/")[0] for name in offered}
        for container in containers(pod):
            names = [name for name in _limits(container) if is_extended(name)]
            met = any(name in offered for name in names)
            for name in names if offered else ():
                other = name in known or (not met and name.partition("/")[0] in domains)
                if name not in offered and other:
                    told = " or ".join(f"{resource} ({layer})" for resource, layer in offered.items())
                    path = (*container.path, "resources", "limits", name)
                    yield Found(item, path, f"{server} does not advertise {name}", f"it advertises {told}", key=True)


@check(
    "D121",
    level="domain",
    reason="The device plugin or its scheduler refuses other numbers: the pod stays Pending, or fails at admission.",
    source=_POLICIES,
    bad=_pod(count="3"),
    good=_pod(),
)
def advertised_count(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod asks for a number of devices that its hosts' device layer gives."""
    for asked in _asked(item, bundle):
        for entry in advertised(bundle, asked.server):
            allowed = entry.distributed if asked.hosts > 1 else entry.single
            if entry.resource == asked.resource and asked.number is not None and asked.number not in allowed:
                numbers = ", ".join(str(n) for n in allowed)
                message = f"asks {asked.server} for {asked.number} {asked.resource}; {entry.layer} gives {numbers}"
                yield Found(item, asked.path, message)


@check(
    "D122",
    level="domain",
    reason="The scheduler chooses by the annotation how devices of this resource are placed; without it, it does not place the pod.",
    source=_POLICIES,
    bad=_pod(annotations="{}", server="atlas-350-8", resource="huawei.com/npu", count="8", env="{name: A, value: b}"),
    good=_pod(),
)
def scheduling_annotations(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod that names a device layer's scheduler carries the annotations that it needs."""
    for asked in _asked(item, bundle):
        carried = mapping(asked.pod.metadata.get("annotations"))
        for name, layer in _layers(asked, bundle).items():
            needed = layer.workload.required_annotations.get(asked.resource, ())
            for key in needed if asked.scheduler == layer.workload.scheduler_name else ():
                if key not in carried:
                    message = f"asks {asked.scheduler} for {asked.resource} without the annotation {key} ({name})"
                    yield Found(item, asked.pod.metadata_path, message)


@check(
    "D123",
    level="domain",
    reason="The variable is read from an annotation that only the layer's own scheduler writes, under the resource's name; else it is empty and hides every device.",
    source="Ascend/mind-cluster v26.1.0, docs/zh/scheduling: ASCEND_VISIBLE_DEVICES by fieldRef only with Volcano, whole devices.",
    bad=_pod(scheduler="default-scheduler"),
    good=_pod(),
)
def devices_from_annotation(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Visible devices are read from the annotation of the scheduler that the pod names, and of the resource that it asks for."""
    layers = bundle.catalog.device_layers if bundle.catalog else {}
    for asked in _asked(item, bundle):
        for index, entry in enumerate(sequence(asked.container.data.get("env"))):
            path = mapping(mapping(mapping(entry).get("valueFrom")).get("fieldRef")).get("fieldPath")
            name = mapping(entry).get("name")
            reading = [x for x in layers.values() if name in x.workload.env_from_annotation]
            if not isinstance(path, str) or not path.startswith("metadata.annotations[") or not reading:
                continue
            place = (*asked.container.path, "env", index)
            fitting = [x for x in reading if x.workload.scheduler_name == asked.scheduler]
            keys = {x.workload.env_from_annotation[str(name)].replace("{resource}", asked.resource) for x in fitting}
            if not fitting:
                message = f"{name} is read from an annotation that {asked.scheduler} does not write"
                yield Found(item, place, message, "leave it out: the device plugin sets it")
            elif path not in {f"metadata.annotations['{key}']" for key in keys}:
                message = f"{name} is read from {path}, and the pod asks for {asked.resource}"
                yield Found(item, place, message, " or ".join(f"metadata.annotations['{key}']" for key in sorted(keys)))


@check(
    "D124",
    level="domain",
    reason="Devices of this name are given by the layer's scheduler and handed over by its runtime class: without either the pod is Pending or sees no device.",
    source="Project-HAMi/ascend-device-plugin v1.4.0, README.md and issue 1042.",
    bad=_pod(**{**_HAMI, "extra": ""}),
    good=_pod(**_HAMI),
)
def runtime_of_layer(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod carries scheduler and runtime class of a layer that needs both."""
    for asked in _asked(item, bundle):
        layers = _layers(asked, bundle)
        if not layers or not all(x.workload.scheduler_name and x.workload.runtime_class for x in layers.values()):
            continue
        wanted = {(x.workload.scheduler_name, x.workload.runtime_class) for x in layers.values()}
        if (asked.scheduler, asked.pod.spec.get("runtimeClassName")) not in wanted:
            told = " or ".join(f"schedulerName {s} and runtimeClassName {r}" for s, r in sorted(wanted))
            message = f"asks for {asked.resource} without scheduler and runtime class of {' or '.join(layers)}"
            yield Found(item, asked.pod.spec_path, message, told)


@check(
    "D125",
    level="domain",
    severity="warning",
    reason="Where the vendor's runtime is not the container engine's default, a container without the class has no driver libraries.",
    source="NVIDIA/k8s-device-plugin issues 23, 47, 444 and 478.",
    bad=_pod(
        server="hgx-h200",
        scheduler="default-scheduler",
        annotations="{}",
        resource="nvidia.com/gpu",
        count="8",
        env="{name: A, value: b}",
    ),
    good=_pod(
        server="hgx-h200",
        scheduler="default-scheduler",
        annotations="{}",
        resource="nvidia.com/gpu",
        count="8",
        env="{name: A, value: b}",
        extra="  runtimeClassName: nvidia\n",
    ),
)
def runtime_class(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod names the runtime class of the layer that gives its devices."""
    for asked in _asked(item, bundle):
        layers = [x for x in _layers(asked, bundle).values() if not x.managed]
        classes = {x.workload.runtime_class for x in layers}
        own = any(x.workload.scheduler_name for x in layers)
        if layers and not own and "" not in classes and asked.pod.spec.get("runtimeClassName") not in classes:
            names = " or ".join(sorted(classes))
            message = f"asks for {asked.resource} without runtimeClassName {names}"
            yield Found(item, asked.pod.spec_path, message, f"leave it out only where {names} is the default runtime")


@check(
    "D126",
    level="domain",
    reason="A block that does not divide the group, or a pod, is refused by the scheduler.",
    source="Ascend/mind-cluster v26.1.0, docs/zh/scheduling: sp-block.",
    bad=_pod(annotations="{huawei.com/schedule_policy: chip2-node16-sp, sp-block: '12'}"),
    good=_pod(annotations="{huawei.com/schedule_policy: chip2-node16-sp, sp-block: '16'}"),
)
def block_of_group(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The block of a group is its pod on one host, and a multiple of a pod that divides the group on several."""
    for asked in _asked(item, bundle):
        for layer in _layers(asked, bundle).values():
            key = layer.workload.block_annotation
            value = mapping(asked.pod.metadata.get("annotations")).get(key) if key else None
            if value is None or not asked.number:
                continue
            total, block = asked.number * asked.hosts, int(value) if str(value).isdigit() else 0
            if not block or block % asked.number or total % block:
                message = f"{key} is {value}; the group has {asked.hosts} pods of {asked.number} devices"
                yield Found(item, (*asked.pod.metadata_path, "annotations", key), message)


@check(
    "D127",
    level="domain",
    reason="No host is of this architecture, or an image of another one does not start on it.",
    source="hostArch of each server in profiles/servers.",
    bad=_pod(extra="").replace("atlas-800i-a3}", "atlas-800i-a3, kubernetes.io/arch: amd64}"),
    good=_pod(extra="").replace("atlas-800i-a3}", "atlas-800i-a3, kubernetes.io/arch: arm64}"),
)
def host_architecture(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod that selects a server and an architecture selects one that the server has."""
    for pod in item.pods:
        selected = mapping(pod.spec.get("nodeSelector"))
        server, arch = str(selected.get(_SERVER, "")), selected.get("kubernetes.io/arch")
        if bundle.catalog is None or server not in bundle.catalog.servers or arch is None:
            continue
        known = bundle.catalog.servers[server].host_arch.value
        if known is not None and arch not in known:
            path = (*pod.spec_path, "nodeSelector", "kubernetes.io/arch")
            yield Found(item, path, f"hosts of {server} are {' or '.join(known)}, not {arch}")
