"""Engine commands of anyone against the devices that their pods ask for: ranks, hosts, chips of the image, legal layouts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from stowplan.check.domain._engines import Running, running, servers_of
from stowplan.check.objects import Bundle, Object, mapping, sequence
from stowplan.check.registry import Found, check
from stowplan.plan.layouts import Placement, violations
from stowplan.profiles.recipe import Layout
from stowplan.profiles.rule import Context

_GROUP = """\
apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
metadata: {{name: flash}}
spec:
  services:
    decode:
      componentType: worker
      replicas: 1
      multinode: {{nodeCount: {nodes}}}
      resources: {{limits: {{gpu: "{devices}"}}}}
      extraPodSpec:
        mainContainer:
          image: nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.3.1
          command: [python3, -m, dynamo.vllm]
          args: [--model, deepseek-ai/DeepSeek-V4-Flash, --tensor-parallel-size, "{tp}", --max-model-len, "65536"]
"""
_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: engine}}
spec:
  schedulerName: hami-scheduler
  runtimeClassName: ascend
  containers:
    - name: engine
      image: {image}
      command: [sh, -c]
      args:
        - |
          exec vllm serve Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp --tensor-parallel-size {tp} \\
            --data-parallel-size {dp} --enable-expert-parallel --max-model-len 65536
      resources: {{limits: {{{resource}: "8"}}}}
      volumeMounts:
        - {{name: hccn, mountPath: /etc/hccn.conf, readOnly: true}}
        - {{name: shm, mountPath: /dev/shm}}
  volumes:
    - {{name: hccn, hostPath: {{path: /etc/hccn.conf, type: File}}}}
    - {{name: shm, emptyDir: {{medium: Memory, sizeLimit: 256Gi}}}}
"""
_GIVEN = {"image": "quay.io/ascend/vllm-ascend:v0.23.0", "tp": "8", "dp": "1", "resource": "huawei.com/Ascend910B4"}
_RAY = re.compile(r"\bray\s+start\b|_RAY_START")
_FILLED_IN = re.compile(r"[$`{%]")
"""What a shell, a template or an operator puts a value in place of."""
_LOOPS = re.compile(r"(^|[\s;])(for|while|xargs|parallel)\s|[^&]&\s*(\n|$)")
"""What of a script starts several engines in one container."""


def _pod(**changed: str) -> str:
    return _POD.format(**{**_GIVEN, **changed})


class Ranks(NamedTuple):
    """What one container's command starts, and the devices that it has for them."""

    started: int
    held: int
    words: str


def _ranks(run: Running) -> Ranks | None:
    """None where the file leaves open how many there are."""
    sizes = {key: run.size(key) for key in ("tp", "dp", "pp")}
    attention = run.engine.fields.get("dpAttention")
    if "devices" in run.engine.fields:
        inside = attention is not None and run.command.flags.get(attention.flag) is True
        sizes |= {"tp": run.size("devices"), "dp": 1 if inside else sizes["dp"]}
    hosts, per_host = run.command.serving.hosts, _of_this_host(run, sizes)
    hosts = run.command.integer("--nnodes", default=hosts)
    if hosts == 1 and _gathers(run):
        return None
    if per_host is not None:
        sizes["dp"], hosts = per_host, 1
    tp, dp, pp = sizes["tp"], sizes["dp"], sizes["pp"]
    if tp is None or dp is None or pp is None or hosts is None or run.devices is None:
        return None
    return Ranks(tp * dp * pp, run.devices * hosts, f"tp {tp} x dp {dp} x pp {pp}")


def _gathers(run: Running) -> bool:
    """Whether the command runs on a cluster of its own making, whose hosts the object does not count."""
    words = [str(w) for field in ("command", "args") for w in sequence(run.command.container.data.get(field))]
    return run.command.flags.get("--distributed-executor-backend") == "ray" or any(_RAY.search(w) for w in words)


def _of_this_host(run: Running, sizes: Mapping[str, int | None]) -> int | None:
    """Data-parallel ranks of this pod alone, where the command says so."""
    spread = run.engine.multi_node
    local = spread.flags.get("sizeLocal") if spread else None
    if local and local in run.command.flags:
        return run.command.integer(local)
    return 1 if "--data-parallel-rank" in run.command.flags and sizes["dp"] else None


@check(
    "D155",
    level="domain",
    reason="The engine's parser ends at once: a generator wrote the name of a missing value into the command.",
    source="Engine parsers take whole numbers for parallel sizes (fields of the engines in profiles/engines).",
    bad=_pod(tp="None"),
    good=_pod(),
)
def whole_sizes(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A parallel size is a whole number above zero."""
    for run in running(item, bundle):
        for field in ("tp", "dp", "pp", "devices"):
            spelled = run.engine.fields.get(field)
            for flag in (spelled.flag, *spelled.aliases) if spelled else ():
                value = run.command.flags.get(flag)
                known = not (isinstance(value, str) and _FILLED_IN.search(value))
                if flag in run.command.flags and known and (type(value) is not int or value < 1):
                    told = "no value" if value is True else repr(value)
                    yield Found(item, run.command.path, f"{flag} takes a whole number above zero, and has {told}")


@check(
    "D150",
    level="domain",
    reason="Ranks without a device end the engine at start: a total of all hosts was written for each, or ranks of attention were counted twice.",
    source="AIConfigurator 0.12.0: 17 of 40 rendered manifests ask for another number of GPUs than their own plan; KServe issue 5773.",
    bad=_GROUP.format(nodes=2, devices=8, tp=32),
    good=_GROUP.format(nodes=2, devices=8, tp=16),
)
def ranks_have_devices(item: Object, bundle: Bundle) -> Iterator[Found]:
    """An engine starts as many ranks as its pods have devices."""
    for run in running(item, bundle):
        ranks = _ranks(run)
        if ranks and ranks.started > ranks.held:
            message = f"starts {ranks.started} ranks ({ranks.words}) on {ranks.held} devices"
            yield Found(item, run.command.path, message)


@check(
    "D151",
    level="domain",
    severity="warning",
    reason="Devices that no rank uses are paid for and idle, and the object is Ready all the same.",
    source="KServe issues 5773 and 6044; AIConfigurator 0.12.0: 17 of 40 rendered manifests.",
    bad=_pod(tp="4"),
    good=_pod(),
)
def devices_have_ranks(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Every device that an engine's pods ask for has a rank."""
    for run in running(item, bundle):
        ranks = _ranks(run)
        if ranks and ranks.started < ranks.held and run.command.serving.hosts == 1 and not _loops(run):
            message = f"starts {ranks.started} ranks ({ranks.words}) and asks for {ranks.held} devices"
            yield Found(item, run.command.path, message)


def _loops(run: Running) -> bool:
    words = [str(w) for field in ("command", "args") for w in sequence(run.command.container.data.get(field))]
    return any(_LOOPS.search(word) for word in words)


@check(
    "D152",
    level="domain",
    reason="Devices of a pod are devices of one host: a pod that asks for more than a host has stays Pending for ever.",
    source="AIConfigurator 0.12.0: 17 of 40 rendered manifests ask a pod for more than 8 GPUs; devices of the servers in profiles/servers.",
    bad=_GROUP.format(nodes=16, devices=128, tp=16),
    good=_GROUP.format(nodes=2, devices=8, tp=16),
)
def devices_of_one_host(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod asks for no more devices than the largest host has."""
    for run in running(item, bundle):
        if bundle.catalog is None or run.devices is None:
            continue
        servers = [bundle.catalog.servers[name] for name in servers_of(bundle.catalog, run.resource)]
        known = [server.devices.value for server in servers if server.chip in run.chips or not run.chips]
        largest = max((n for n in known if n is not None), default=0)
        if largest and None not in known and run.devices > largest:
            path = (*run.command.container.path, "resources", "limits", run.resource)
            message = f"asks one pod for {run.devices} {run.resource}; no host has more than {largest}"
            yield Found(item, path, message, "the number is that of one pod; hosts multiply it")


@check(
    "D153",
    level="domain",
    reason="Images are built for one generation of chips: kernels of another one are missing, and the engine ends at its first operator.",
    source="vllm-project/vllm-ascend docs/source/installation.md: a tag for each generation; profiles/engines.",
    bad=_pod(image="quay.io/ascend/vllm-ascend:v0.23.0-a3"),
    good=_pod(),
)
def image_of_chip(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The engine's image is built for the chips that the pod asks for."""
    for run in running(item, bundle):
        if bundle.catalog is None or not run.image_family or not run.resource:
            continue
        servers = servers_of(bundle.catalog, run.resource)
        families = [bundle.catalog.chips[bundle.catalog.servers[s].chip].families for s in servers]
        if families and not any(run.image_family in family for family in families):
            chips = sorted({bundle.catalog.servers[s].chip for s in servers})
            message = f"the image is built for {run.image_family}, and {run.resource} is {' or '.join(chips)}"
            yield Found(item, (*run.command.container.path, "image"), message)


@check(
    "D154",
    level="domain",
    severity="info",
    reason="The engine's own limits on layouts for this checkpoint: it refuses to start, or runs far below what the devices can do.",
    source="layoutRules of the engines in profiles/engines, each with its source.",
    bad=_pod(tp="1", dp="8", image="quay.io/ascend/vllm-ascend:v0.23.0").replace(" --enable-expert-parallel", ""),
    good=_pod(),
)
def legal_layout(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The layout keeps the engine's limits for the checkpoint."""
    for run in running(item, bundle):
        contexts = run.contexts(bundle.catalog) if bundle.catalog else []
        broken = [_broken(run, context, bundle) for context in contexts]
        for rule, message in broken[0].items() if broken else ():
            if all(rule in others for others in broken):
                yield Found(item, run.command.path, message)


def _broken(run: Running, context: Context, bundle: Bundle) -> dict[str, str]:
    """Rules of layouts that every server with this chip breaks."""
    if bundle.catalog is None or run.served is None or not run.devices:
        return {}
    numbers = bundle.catalog.architecture(run.served.variant)
    together = run.devices * context.nodes  # whether ranks may span hosts depends on links that no manifest names
    at = Placement(Layout(tp=context.tp, dp=context.dp, ep=context.ep, pp=run.size("pp") or 1), 1, together)
    context = replace(context, nodes=1)
    told: list[dict[str, str]] = []
    for name in sorted(servers_of(bundle.catalog, run.resource)):
        server = bundle.catalog.servers[name]
        if server.chip == context.chip:
            found = violations(run.engine.layout_rules, context, at, numbers, server, mapping(run.command.flags))
            told.append({v.rule.id: f"{v.message}: {v.rule.reason}" for v in found})
    return {rule: message for rule, message in told[0].items() if all(rule in t for t in told)} if told else {}
