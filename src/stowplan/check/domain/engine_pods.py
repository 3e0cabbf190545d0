"""Pods around engine commands of anyone: shared memory, time to stop, ports of the host, device lists, unfilled names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._syntax import quantity
from stowplan.check.commands import Command, commands
from stowplan.check.domain._engines import running
from stowplan.check.objects import Bundle, Object, Path, containers, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.check.workloads import servings
from stowplan.fit.units import GIB

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the kernel's own path, which nothing here writes to
_LEAST_SHARED = GIB
"""Less is no size that any source runs several ranks with; without a volume a container has 64 MiB."""
_GRACE = 30
_NODE_PORTS = range(30000, 32768)
_VISIBLE = "VISIBLE_DEVICES"
_LIST = re.compile(r"[0-9]+(,[0-9]+)*\Z")
_UNFILLED = re.compile(r"[\w-]+\.(None|null|undefined|nil)\.svc\b")
_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: engine}}
spec:
  hostNetwork: true
  runtimeClassName: nvidia
  terminationGracePeriodSeconds: {grace}
  containers:
    - name: engine
      image: vllm/vllm-openai:v0.26.0
      args: [--model, deepseek-ai/DeepSeek-V4-Flash, --tensor-parallel-size, "8", --enable-expert-parallel,
             --max-model-len, "65536", --shutdown-timeout, "120", --port, "{port}"]
      env: [{{name: {name}, value: "{value}"}}]
      resources: {{limits: {{nvidia.com/gpu: "8"}}}}
      volumeMounts: [{{name: shm, mountPath: {mount}}}]
  volumes: [{{name: shm, emptyDir: {{medium: Memory, sizeLimit: {size}}}}}]
"""
_GIVEN = {"grace": "180", "port": "8000", "name": "GREETING", "value": "hello", "mount": "/dev/shm", "size": "64Gi"}  # noqa: S108 - where engines look for it


def _pod(**changed: str) -> str:
    return _POD.format(**{**_GIVEN, **changed})


def _ascend_pod(name: str, value: str) -> str:
    ours = "vllm/vllm-openai:v0.26.0", "deepseek-ai/DeepSeek-V4-Flash", "nvidia.com/gpu", "[--model"
    theirs = "quay.io/ascend/vllm-ascend:v0.23.0", "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp", "huawei.com/Ascend910"
    text = _pod(name=name, value=value)
    for old, new in zip(ours, (*theirs, "[vllm, serve, --model"), strict=True):
        text = text.replace(old, new)
    hccn = "volumeMounts: [{name: hccn, mountPath: /etc/hccn.conf}, "
    text = (
        text.replace("args: [", "command: [")
        .replace("  runtimeClassName: nvidia\n", "")
        .replace("volumeMounts: [", hccn)
    )
    return text.replace("  volumes: [", "  volumes: [{name: hccn, hostPath: {path: /etc/hccn.conf}}, ")


@check(
    "D160",
    level="domain",
    severity="warning",
    reason="Ranks exchange through shared memory: with the container's own 64 MiB, or a few hundred, they end in a bus error under load.",
    source="https://docs.vllm.ai/en/stable/deployment/docker.html; Kthena's sample has 256Mi; llm-d, Dynamo and Ascend guides give 2Gi to 512g.",
    bad=_pod(size="256Mi"),
    good=_pod(),
)
def enough_shared_memory(item: Object, bundle: Bundle) -> Iterator[Found]:
    """An engine with several devices has shared memory of its own size."""
    for run in running(item, bundle):
        spec, container = run.command.pod.spec, run.command.container
        if (run.devices or 0) < 2 or spec.get("hostIPC") is True or run.command.by_platform:  # noqa: PLR2004 - one rank exchanges with nobody
            continue
        mounted = next(
            (m for m in _mounts(container.data) if str(m.get("mountPath", "")).rstrip("/") == _SHARED_MEMORY), None
        )
        if mounted is None:
            yield Found(
                item, container.path, f"{run.devices} devices and no volume at {_SHARED_MEMORY}: 64 MiB are shared"
            )
            continue
        path, volume = _volume(run.command, mounted.get("name"))
        size = quantity(volume.get("sizeLimit"))
        if volume.get("medium") == "Memory" and size is not None and size < _LEAST_SHARED:
            message = f"{run.devices} devices share {float(size) / GIB:.2g} GiB of memory"
            yield Found(item, (*path, "emptyDir", "sizeLimit"), message)


def _mounts(container: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mapping(mount) for mount in sequence(container.get("volumeMounts"))]


def _volume(command: Command, name: object) -> tuple[Path, Mapping[str, Any]]:
    for index, volume in enumerate(sequence(command.pod.spec.get("volumes"))):
        if mapping(volume).get("name") == name:
            return (*command.pod.spec_path, "volumes", index), mapping(mapping(volume).get("emptyDir"))
    return command.pod.spec_path, {}


@check(
    "D161",
    level="domain",
    severity="warning",
    reason="Kubernetes kills the container before the engine has finished the requests that it was told to finish.",
    source="vllm-project/vllm v0.18.0 and later: --shutdown-timeout; https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
    bad=_pod(grace="60"),
    good=_pod(),
)
def grace_of_shutdown(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The pod's grace period is longer than the engine's own shutdown."""
    for command in commands(item, bundle):
        own = command.integer("--shutdown-timeout", default=0)
        grace = command.pod.spec.get("terminationGracePeriodSeconds", _GRACE)
        if own and type(grace) is int and grace <= own:
            path = (*command.pod.spec_path, "terminationGracePeriodSeconds")
            yield Found(item, path, f"the pod has {grace} s to end; the engine takes up to {own} s")


@check(
    "D162",
    level="domain",
    severity="warning",
    reason="The layer's scheduler chooses the devices and tells them by their numbers on the host: a fixed list names devices that the container does not have.",
    source="vllm-ascend issue 9428; Project-HAMi/HAMi issue 1894.",
    bad=_ascend_pod("ASCEND_RT_VISIBLE_DEVICES", "0,1,2,3"),
    good=_ascend_pod("OMP_NUM_THREADS", "10"),
)
def devices_are_not_listed(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A container that asks for devices of such a layer does not list devices by number."""
    layers = bundle.catalog.device_layers.values() if bundle.catalog else ()
    for run in running(item, bundle):
        own = [x for x in layers if any(s.resource == run.resource for s in x.servers.values())]
        stems = {name.partition("_")[0] for x in own for name in x.workload.env_from_annotation}
        for index, entry in enumerate(sequence(run.command.container.data.get("env"))):
            name, value = (str(mapping(entry).get(key, "")) for key in ("name", "value"))
            if name.partition("_")[0] in stems and name.endswith(_VISIBLE) and _LIST.fullmatch(value):
                path = (*run.command.container.path, "env", index)
                yield Found(item, path, f"{name} lists devices {value}; the scheduler gives others", "leave it out")


@check(
    "D163",
    level="domain",
    severity="warning",
    reason="With the host's network the port is the host's: Kubernetes hands out this range for Services of type NodePort, and one of them may have it.",
    source="https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport",
    bad=_pod(port="30800"),
    good=_pod(),
)
def ports_of_the_host(item: Object, bundle: Bundle) -> Iterator[Found]:
    """An engine on the host's network listens on no port of the NodePort range."""
    for command in commands(item, bundle):
        if command.pod.spec.get("hostNetwork") is not True:
            continue
        for name, port in ports(command.flags):
            if str(port).isdigit() and int(port) in _NODE_PORTS:
                message = f"{name} {port} lies in {_NODE_PORTS.start} to {_NODE_PORTS.stop - 1}, which NodePort Services take from"
                yield Found(item, command.path, message)


def ports(flags: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Ports that flags give, those inside of mappings too, with their names."""
    for name, value in flags.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {key}", inner) for key, inner in value.items() if str(key).endswith("_port"))
        elif name.endswith("-port"):
            yield name, value


@check(
    "D164",
    level="domain",
    reason="A name that a generator left empty became a word: the host does not resolve.",
    source="AIConfigurator 0.12.0: 40 of 40 rendered manifests have the namespace None, and addresses with .None.svc.",
    bad=_pod(name="URL", value="http://flash.None.svc.cluster.local:8000"),
    good=_pod(name="URL", value="http://flash.serving.svc.cluster.local:8000"),
)
def filled_addresses(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Addresses of Services in commands and variables name a namespace."""
    del bundle
    pods = {serving.pod.spec_path: serving.pod for serving in servings(item)}
    for pod in pods.values():
        for container in containers(pod):
            for path, text in _texts(container.data):
                found = _UNFILLED.search(text)
                if found:
                    yield Found(
                        item, (*container.path, *path), f"the address {found[0]} names the namespace '{found[1]}'"
                    )


def _texts(container: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for field in ("command", "args"):
        for index, word in enumerate(sequence(container.get(field))):
            if isinstance(word, str):
                yield (field, index), word
    for index, entry in enumerate(sequence(container.get("env"))):
        if isinstance(mapping(entry).get("value"), str):
            yield ("env", index, "value"), mapping(entry)["value"]
