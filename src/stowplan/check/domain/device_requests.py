"""Pods that ask for devices: with all else that the hosts' device layer wants of them."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.domain._asking import HAMI, POLICIES, SERVER, asked_for, example_pod, layers_of
from stowplan.check.objects import Bundle, Object, mapping, sequence
from stowplan.check.registry import Found, check

_DEFAULT = "default-scheduler"


@check(
    "D122",
    level="domain",
    reason="The scheduler chooses by the annotation how devices of this resource are placed; without it, it does not place the pod.",
    source=POLICIES,
    bad=example_pod(
        annotations="{}", server="atlas-350-8", resource="huawei.com/npu", count="8", env="{name: A, value: b}"
    ),
    good=example_pod(),
)
def scheduling_annotations(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod that names a device layer's scheduler carries the annotations that it needs."""
    for asked in asked_for(item, bundle):
        carried = mapping(asked.pod.metadata.get("annotations"))
        for name, layer in layers_of(asked, bundle).items():
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
    bad=example_pod(scheduler="default-scheduler"),
    good=example_pod(),
)
def devices_from_annotation(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Visible devices are read from the annotation of the scheduler that the pod names, and of the resource that it asks for."""
    layers = bundle.catalog.device_layers if bundle.catalog else {}
    for asked in asked_for(item, bundle):
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
    source="Project-HAMi/ascend-device-plugin v1.4.0, README.md and issue 1042; what the webhook fills in: Project-HAMi/HAMi@4707fb0 pkg/scheduler/webhook.go.",
    bad=example_pod(**{**HAMI, "extra": ""}),
    good=example_pod(**HAMI),
)
def runtime_of_layer(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod carries scheduler and runtime class of a layer that needs both, unless it leaves both to the layer's webhook."""
    for asked in asked_for(item, bundle):
        layers = layers_of(asked, bundle)
        if not layers or not all(x.workload.scheduler_name and x.workload.runtime_class for x in layers.values()):
            continue
        if asked.scheduler == _DEFAULT and any(x.workload.completes_pods for x in layers.values()):
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
    bad=example_pod(
        server="hgx-h200",
        scheduler="default-scheduler",
        annotations="{}",
        resource="nvidia.com/gpu",
        count="8",
        env="{name: A, value: b}",
    ),
    good=example_pod(
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
    for asked in asked_for(item, bundle):
        layers = [x for x in layers_of(asked, bundle).values() if not x.managed]
        classes = {x.workload.runtime_class for x in layers}
        own = any(x.workload.scheduler_name for x in layers) and asked.scheduler != _DEFAULT
        if layers and not own and "" not in classes and asked.pod.spec.get("runtimeClassName") not in classes:
            names = " or ".join(sorted(classes))
            message = f"asks for {asked.resource} without runtimeClassName {names}"
            yield Found(item, asked.pod.spec_path, message, f"leave it out only where {names} is the default runtime")


@check(
    "D126",
    level="domain",
    reason="A block that does not divide the group, or a pod, is refused by the scheduler.",
    source="Ascend/mind-cluster v26.1.0, docs/zh/scheduling: sp-block.",
    bad=example_pod(annotations="{huawei.com/schedule_policy: chip2-node16-sp, sp-block: '12'}"),
    good=example_pod(annotations="{huawei.com/schedule_policy: chip2-node16-sp, sp-block: '16'}"),
)
def block_of_group(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The block of a group is its pod on one host, and a multiple of a pod that divides the group on several."""
    for asked in asked_for(item, bundle):
        for layer in layers_of(asked, bundle).values():
            key = layer.workload.block_annotation
            value = mapping(asked.pod.metadata.get("annotations")).get(key) if key else None
            if value is None or not asked.number:
                continue
            block = int(value) if str(value).isdigit() else 0
            totals = {asked.number * asked.hosts, asked.number * asked.replicas}
            if not block or block % asked.number or all(total % block for total in totals):
                pods = max(asked.hosts, asked.replicas)
                message = f"{key} is {value}; the group has {pods} pods of {asked.number} devices"
                yield Found(item, (*asked.pod.metadata_path, "annotations", key), message)


@check(
    "D127",
    level="domain",
    reason="No host is of this architecture, or an image of another one does not start on it.",
    source="hostArch of each server in profiles/servers.",
    bad=example_pod(extra="").replace("atlas-800i-a3}", "atlas-800i-a3, kubernetes.io/arch: amd64}"),
    good=example_pod(extra="").replace("atlas-800i-a3}", "atlas-800i-a3, kubernetes.io/arch: arm64}"),
)
def host_architecture(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod that selects a server and an architecture selects one that the server has."""
    for pod in item.pods:
        selected = mapping(pod.spec.get("nodeSelector"))
        server, arch = str(selected.get(SERVER, "")), selected.get("kubernetes.io/arch")
        if bundle.catalog is None or server not in bundle.catalog.servers or arch is None:
            continue
        known = bundle.catalog.servers[server].host_arch.value
        if known is not None and arch not in known:
            path = (*pod.spec_path, "nodeSelector", "kubernetes.io/arch")
            yield Found(item, path, f"hosts of {server} are {' or '.join(known)}, not {arch}")
