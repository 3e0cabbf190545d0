"""Ways in which serving V4 fails that no API server sees: drafts, floating images, load time, host files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache

from stowplan.catalog import Catalog
from stowplan.check.claims import claimed
from stowplan.check.commands import Command, commands
from stowplan.check.objects import Bundle, Object, containers, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.fit.weights import weights
from stowplan.profiles.device_layer import ServerLayer
from stowplan.profiles.variant import Checkpoint

_FASTEST_LOAD = 4e9
"""Bytes a second: faster than any volume in the sources loads a checkpoint on one host."""
_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: engine}}
spec:
  nodeSelector: {{stowplan.dev/server: atlas-800i-a3}}
  containers:
    - name: engine
      image: {image}
      command: [vllm, serve, {model}, --speculative-config, '{{"method":"{method}","num_speculative_tokens":1}}']
      startupProbe: {{httpGet: {{path: /health, port: 8000}}, periodSeconds: 10, failureThreshold: {failures}}}
      resources: {{limits: {{huawei.com/Ascend910: "16"}}}}
{mounts}"""
_MOUNTS = """\
      volumeMounts: [{name: hccn, mountPath: /etc/hccn.conf, readOnly: true}]
  volumes: [{name: hccn, hostPath: {path: /etc/hccn.conf, type: File}}]
"""
_GOOD = {
    "image": "example.com/engine:0.25.0",
    "model": "/models/deepseek-ai/DeepSeek-V4-Flash-0731",
    "method": "dspark",
    "failures": 360,
    "mounts": _MOUNTS,
}


def _pod(**changed: object) -> str:
    return _POD.format(**{**_GOOD, **changed})


@cache
def _checkpoints(catalog: Catalog) -> dict[str, tuple[Checkpoint, int]]:
    """Repository name in lower case to the checkpoint and its bytes."""
    found = {}
    for name, variant in catalog.variants.items():
        for checkpoint in variant.checkpoints:
            size = weights(catalog.architecture(name), checkpoint, checkpoint.draft).total
            found[checkpoint.id.rpartition("/")[2].lower()] = checkpoint, size
    return found


def _served(command: Command, bundle: Bundle) -> tuple[Checkpoint, int] | None:
    """The known checkpoint that a command serves, by the last part of its path."""
    if bundle.catalog is None:
        return None
    return _checkpoints(bundle.catalog).get(command.model.rstrip("/").rpartition("/")[2].lower())


@check(
    "D101",
    level="domain",
    reason="A draft method that the checkpoint has no module for ends the engine at start, or drafts from random weights.",
    source="vllm-ascend issues 9144 and 13329; model cards of the 0731 and 0813 releases.",
    bad=_pod(method="mtp"),
    good=_pod(),
)
def draft_method(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The speculative method is the one whose module the checkpoint carries."""
    for command in commands(item):
        served = _served(command, bundle)
        method = str(mapping(command.flags.get("--speculative-config")).get("method", ""))
        if served is None or not method:
            continue
        kind = next((k for k in ("mtp", "dspark") if k in method), None)
        if kind and kind != served[0].draft:
            carried = f"carries {served[0].draft}" if served[0].draft else "carries no draft module"
            message = f"speculates with {method}, but {served[0].id} {carried}"
            hint = f"use {served[0].draft}" if served[0].draft else "leave --speculative-config out"
            yield Found(item, command.path, message, hint)


@check(
    "D102",
    level="domain",
    severity="warning",
    reason="A floating tag is another engine on each pull: flags, cache layout and capacity change under a plan that was checked.",
    source="kubernetes.io, Images: a tag can move; upstream recipes of the engines name latest and nightly images.",
    bad=_pod(image="example.com/engine:latest"),
    good=_pod(),
)
def floating_image(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The engine's image is pinned to a version or a digest."""
    del bundle
    for command in commands(item):
        image = str(command.container.data.get("image", ""))
        tag = image.rpartition("/")[2].partition(":")[2]
        if image and "@" not in image and (not tag or tag in ("latest", "nightly", "main", "dev")):
            said = f"has the floating tag '{tag}'" if tag else "has no tag"
            yield Found(item, (*command.container.path, "image"), f"the engine's image {said}", "pin a version")


@check(
    "D103",
    level="domain",
    reason="A startup probe that ends before the weights are read restarts the engine for ever.",
    source="aibrix issue 1054; llm-d and Dynamo V4 recipes allow 45 minutes and more.",
    bad=_pod(failures=3),
    good=_pod(),
)
def startup_budget(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The startup probe waits at least as long as the fastest load of the checkpoint."""
    for command in commands(item):
        served, probe = _served(command, bundle), mapping(command.container.data.get("startupProbe"))
        numbers = [probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)]
        if served is None or not probe or not all(isinstance(n, int) for n in numbers):
            continue
        seconds, least = numbers[0] * numbers[1], served[1] / _FASTEST_LOAD
        if seconds < least:
            message = f"waits {seconds} s; {served[1] / 1e9:,.0f} GB take at least {least:,.0f} s at {_FASTEST_LOAD / 1e9:g} GB/s"
            yield Found(item, (*command.container.path, "startupProbe"), message, "raise failureThreshold")


@check(
    "D104",
    level="domain",
    reason="What the device layer expects from the host is absent in the container: the engine starts and then answers wrongly.",
    source="vllm-ascend issue 7711 (/etc/hccn.conf); the host paths of each device layer's profile.",
    bad=_pod(mounts=""),
    good=_pod(),
)
def layer_host_paths(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod that asks for a layer's devices mounts the host paths that the layer names for its server."""
    for pod in item.pods:
        server = mapping(pod.spec.get("nodeSelector")).get("stowplan.dev/server")
        for container in containers(pod):
            limits = mapping(mapping(container.data.get("resources")).get("limits"))
            classes = {claim.device_class for claim in claimed(bundle, pod, container)}
            layer = _layer(server, {*limits, *classes}, bundle)
            mounted = [mapping(m).get("mountPath") for m in sequence(container.data.get("volumeMounts"))]
            for path in layer.host_paths if layer else ():
                if (path.mount or path.path) not in mounted:
                    yield Found(item, container.path, f"does not mount {path.path} of the host", path.reason)


def _layer(server: object, asked: Collection[str], bundle: Bundle) -> ServerLayer | None:
    if bundle.catalog is None or not isinstance(server, str):
        return None
    layers = [spec.servers[server] for spec in bundle.catalog.device_layers.values() if server in spec.servers]
    return next((layer for layer in layers if layer.resource in asked), None)
