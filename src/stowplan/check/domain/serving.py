"""Ways in which serving V4 fails that no API server sees: drafts, floating images, load time, host files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from stowplan.check.claims import claimed
from stowplan.check.commands import commands
from stowplan.check.domain._engines import Running, Served, running, served, servers_of
from stowplan.check.objects import Bundle, Object, containers, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.profiles.device_layer import ServerLayer

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
    "model": "/models/Eco-Tech/DeepSeek-V4-Flash-0731-w8a8",
    "method": "dspark",
    "failures": 360,
    "mounts": _MOUNTS,
}


def _pod(**changed: object) -> str:
    return _POD.format(**{**_GOOD, **changed})


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
    for command in commands(item, bundle):
        found = served(command, bundle.catalog) if bundle.catalog else None
        method = str(mapping(command.flags.get("--speculative-config")).get("method", ""))
        if found is None or not method:
            continue
        kind, own = next((k for k in ("mtp", "dspark") if k in method), None), found.checkpoint.draft
        if kind and kind != own:
            carried = f"carries {own}" if own else "carries no draft module"
            message = f"speculates with {method}, but {found.checkpoint.id} {carried}"
            hint = f"use {own}" if own else "leave --speculative-config out"
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
    for command in commands(item, bundle):
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
    for command in commands(item, bundle):
        found = served(command, bundle.catalog) if bundle.catalog else None
        seconds = _budget(mapping(command.container.data.get("startupProbe")))
        if found is not None and seconds is not None and seconds < _load(found):
            path = (*command.container.path, "startupProbe")
            yield Found(item, path, _too_short(seconds, found), "raise failureThreshold")


def _budget(probe: Mapping[str, Any]) -> int | None:
    """Seconds until a probe has failed for good; None where there is none."""
    numbers = [
        probe.get(*field) for field in (("initialDelaySeconds", 0), ("periodSeconds", 10), ("failureThreshold", 3))
    ]
    if not probe or not all(type(n) is int for n in numbers):
        return None
    delay, period, failures = (int(n) for n in numbers)
    return delay + period * failures


def _load(found: Served) -> float:
    return found.bytes / _FASTEST_LOAD


def _too_short(seconds: int, found: Served) -> str:
    size, rate = found.bytes / 1e9, _FASTEST_LOAD / 1e9
    return f"waits {seconds} s; {size:,.0f} GB take at least {_load(found):,.0f} s at {rate:g} GB/s"


@check(
    "D107",
    level="domain",
    reason="A liveness probe without a startup probe counts from the start: it kills the engine while the weights are read, for ever.",
    source="aibrix issue 1054; https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/",
    bad=_pod(failures=360)
    .replace("startupProbe", "livenessProbe")
    .replace("failureThreshold: 360", "failureThreshold: 3"),
    good=_pod(),
)
def liveness_after_start(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A liveness probe waits for the startup probe, or longer than the fastest load of the checkpoint."""
    for command in commands(item, bundle):
        found = served(command, bundle.catalog) if bundle.catalog else None
        seconds = _budget(mapping(command.container.data.get("livenessProbe")))
        if found is None or seconds is None or command.container.data.get("startupProbe"):
            continue
        if seconds < _load(found):
            path = (*command.container.path, "livenessProbe")
            yield Found(item, path, _too_short(seconds, found), "add a startupProbe that allows for the load")


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
    engines = {run.command.container.path: run for run in running(item, bundle)}
    for pod in item.pods:
        server = mapping(pod.spec.get("nodeSelector")).get("stowplan.dev/server")
        for container in containers(pod):
            limits = mapping(mapping(container.data.get("resources")).get("limits"))
            classes = {claim.device_class for claim in claimed(bundle, pod, container)}
            run = engines.get(container.path)
            layers = [layer] if (layer := _layer(server, {*limits, *classes}, bundle)) else _any_layer(run, bundle)
            mounted = [str(mapping(m).get("mountPath")) for m in sequence(container.data.get("volumeMounts"))]
            for path in layers[0].host_paths if layers else ():
                needed = path.mount or path.path
                everywhere = all(path in other.host_paths for other in layers)
                if everywhere and not any(f"{needed}/".startswith(f"{m.rstrip('/')}/") for m in mounted):
                    yield Found(item, container.path, f"does not mount {path.path} of the host", path.reason)


def _layer(server: object, asked: Collection[str], bundle: Bundle) -> ServerLayer | None:
    if bundle.catalog is None or not isinstance(server, str):
        return None
    layers = [spec.servers[server] for spec in bundle.catalog.device_layers.values() if server in spec.servers]
    return next((layer for layer in layers if layer.resource in asked), None)


def _any_layer(run: Running | None, bundle: Bundle) -> list[ServerLayer]:
    """Every layer that an engine's devices may come from, where the pod does not say on which server it runs."""
    if run is None or bundle.catalog is None:
        return []
    servers = [s for s in servers_of(bundle.catalog, run.resource) if bundle.catalog.servers[s].chip in run.chips]
    specs = bundle.catalog.device_layers.values()
    return [x.servers[s] for x in specs for s in servers if s in x.servers and x.servers[s].resource == run.resource]
