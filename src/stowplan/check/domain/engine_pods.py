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
from stowplan.check.workloads import SHARED_MEMORY, servings
from stowplan.fit.units import GIB

_LEAST_SHARED = GIB
"""Less is no size that any source runs several ranks with; without a volume a container has 64 MiB."""
_GRACE = 30
_NODE_PORTS = range(30000, 32768)
_VISIBLE = re.compile(r"[A-Z_]*VISIBLE_DEVICES\Z")
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
        if (run.devices or 0) < 2 or spec.get("hostIPC") is True:  # noqa: PLR2004 - one rank exchanges with nobody
            continue
        mounted = next(
            (m for m in _mounts(container.data) if str(m.get("mountPath", "")).rstrip("/") == SHARED_MEMORY), None
        )
        if mounted is None:
            yield Found(
                item, container.path, f"{run.devices} devices and no volume at {SHARED_MEMORY}: 64 MiB are shared"
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
    del bundle
    for command in commands(item):
        own = command.integer("--shutdown-timeout", default=0)
        grace = command.pod.spec.get("terminationGracePeriodSeconds", _GRACE)
        if own and type(grace) is int and grace <= own:
            path = (*command.pod.spec_path, "terminationGracePeriodSeconds")
            yield Found(item, path, f"the pod has {grace} s to end; the engine takes up to {own} s")


@check(
    "D162",
    level="domain",
    severity="warning",
    reason="The device plugin chooses the devices and sets the list: a fixed one names devices that the container does not have, or another pod's.",
    source="vllm-ascend issue 9428; Project-HAMi/HAMi issue 1894.",
    bad=_pod(name="ROCR_VISIBLE_DEVICES", value="0,1,2,3"),
    good=_pod(),
)
def devices_are_not_listed(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A container that asks for devices does not list devices by number."""
    for run in running(item, bundle):
        for index, entry in enumerate(sequence(run.command.container.data.get("env"))):
            name, value = (str(mapping(entry).get(key, "")) for key in ("name", "value"))
            if run.devices and _VISIBLE.fullmatch(name) and _LIST.fullmatch(value):
                path = (*run.command.container.path, "env", index)
                yield Found(item, path, f"{name} lists devices {value}; the device plugin gives others", "leave it out")


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
    del bundle
    for command in commands(item):
        if command.pod.spec.get("hostNetwork") is not True:
            continue
        for name, port in _ports(command.flags):
            if type(port) is int and port in _NODE_PORTS:
                message = f"{name} {port} lies in {_NODE_PORTS.start} to {_NODE_PORTS.stop - 1}, which NodePort Services take from"
                yield Found(item, command.path, message)


def _ports(flags: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
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
