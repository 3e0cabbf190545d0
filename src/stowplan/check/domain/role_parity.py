"""Prefill and decode of anyone's manifests: what both must have alike, and the sizes that each is told of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.commands import Command, commands
from stowplan.check.domain._engines import Running, running
from stowplan.check.domain.engine_pods import ports
from stowplan.check.objects import Bundle, Object, dig, mapping
from stowplan.check.registry import Found, check
from stowplan.plan.settings import pin_path

_ALIKE = ("--block-size", "--page-size", "--kv-cache-dtype")
_PRODUCERS, _CONSUMERS = frozenset({"kv_producer"}), frozenset({"kv_consumer"})
_MODES = ("--disaggregation-mode",)
_RANKS = "--data-parallel-size"
_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: {role}}}
spec:
  containers:
    - name: engine
      image: registry.example.com/engine:1.0
      command: [vllm, serve, /models/m, --tensor-parallel-size, "{tp}", --block-size, "{block}",
                --kv-transfer-config, '{{"kv_connector": "C", "kv_role": "{kv}"}}']
"""
_ASCEND = """\
apiVersion: v1
kind: Pod
metadata: {{name: {role}}}
spec:
  schedulerName: hami-scheduler
  runtimeClassName: ascend
  containers:
    - name: engine
      image: quay.io/ascend/vllm-ascend:v0.23.0
      command: [vllm, serve, /models/Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp, --tensor-parallel-size, "8", --enable-expert-parallel,
                --max-model-len, "65536", --kv-transfer-config,
                '{{"kv_role": "{kv}", "kv_connector_extra_config": {{"prefill": {{"tp_size": {told}}}, "decode": {{"tp_size": 8}}}}}}']
      resources: {{limits: {{huawei.com/Ascend910B4: "8"}}}}
      volumeMounts: [{{name: hccn, mountPath: /etc/hccn.conf}}, {{name: shm, mountPath: /dev/shm}}]
  volumes: [{{name: hccn, hostPath: {{path: /etc/hccn.conf}}}}, {{name: shm, emptyDir: {{medium: Memory}}}}]
"""


def _both(template: str, prefill: Mapping[str, Any], decode: Mapping[str, Any]) -> str:
    one = template.format(role="prefill", kv="kv_producer", **prefill)
    return f"{one}---\n{template.format(role='decode', kv='kv_consumer', **decode)}"


def _role(command: Command) -> str:
    """`prefill` or `decode`, where the command says so."""
    told = mapping(command.flags.get("--kv-transfer-config")).get("kv_role")
    if told in _PRODUCERS:
        return "prefill"
    if told in _CONSUMERS:
        return "decode"
    return next((str(command.flags[flag]) for flag in _MODES if command.flags.get(flag) in ("prefill", "decode")), "")


@check(
    "D170",
    level="domain",
    whole_bundle=True,
    reason="Caches go from prefill to decode block by block: another block or format is refused at the first request, or read as noise.",
    source="vllm-project/vllm docs/features/nixl_connector_usage.md; vllm-ascend issue 10546.",
    bad=_both(_POD, {"tp": 4, "block": 128}, {"tp": 4, "block": 64}),
    good=_both(_POD, {"tp": 4, "block": 128}, {"tp": 4, "block": 128}),
)
def caches_are_alike(bundle: Bundle) -> Iterator[Found]:
    """Prefill and decode keep their caches alike."""
    found = [(item, command) for item in bundle.objects for command in commands(item, bundle)]
    prefills, decodes = ([pair for pair in found if _role(pair[1]) == role] for role in ("prefill", "decode"))
    by_model: dict[tuple[str, str], list[Command]] = {}
    for _, one in prefills:
        by_model.setdefault((one.model, one.program), []).append(one)
    for one, item, other in (
        (one, *pair) for pair in decodes for one in by_model.get((pair[1].model, pair[1].program), ())
    ):
        for flag in _ALIKE:
            mine, its = other.flags.get(flag), one.flags.get(flag)
            if mine != its and "$" not in f"{mine}{its}":
                given = [
                    f"{role} has {value if value is not None else 'the default'}"
                    for role, value in (("prefill", its), ("decode", mine))
                ]
                yield Found(item, other.path, f"{flag}: {', '.join(given)}")


@check(
    "D171",
    level="domain",
    whole_bundle=True,
    reason="Each role splits what it sends by the sizes that it is told: wrong ones end in a hang, or in caches of other requests.",
    source="vllm-project/vllm-ascend docs/source/tutorials: prefill and decode dp_size and tp_size of kv_connector_extra_config.",
    bad=_both(_ASCEND, {"told": 4}, {"told": 8}),
    good=_both(_ASCEND, {"told": 8}, {"told": 8}),
)
def told_sizes_are_real(bundle: Bundle) -> Iterator[Found]:
    """The sizes that prefill and decode are told are those that they have."""
    found = [run for item in bundle.objects for run in running(item, bundle) if _role(run.command)]
    alike: dict[tuple[str, str], dict[tuple[object, ...], Running]] = {}
    for run in found:
        sizes = (_role(run.command), run.size("tp"), run.size("dp"), _RANKS in run.command.flags)
        alike.setdefault((run.name, run.command.model), {})[sizes] = run
    for run in found:
        for other in alike[run.name, run.command.model].values():
            yield from _wrong_sizes(run, other)


def _wrong_sizes(run: Running, other: Running) -> Iterator[Found]:
    """What one is told of the role that the other plays."""
    role = _role(other.command)
    for transfer in run.engine.transfers:
        if transfer.sizes is None:
            continue
        told = mapping(dig(run.command.flags, (*pin_path(transfer.sizes.path)[1:], role)))
        for key, field in ((transfer.sizes.tp, "tp"), (transfer.sizes.dp, "dp")):
            real = other.size(field)
            if field == "dp" and _RANKS not in other.command.flags:
                continue  # ranks of their own processes are counted nowhere in the file
            if key in told and real is not None and type(told[key]) is int and told[key] != real:
                yield Found(run.item, run.command.path, f"is told that {role} has {key} {told[key]}; it has {real}")


@check(
    "D172",
    level="domain",
    severity="warning",
    reason="The transport takes ports of this range at random: now and then the engine finds its own in use, and ends.",
    source="reservedPorts of the engines in profiles/engines, each with its source; tutorials of the same engine use ports inside it.",
    bad=_both(_ASCEND, {"told": 8}, {"told": 8}).replace('"kv_role"', '"kv_port": "20001", "kv_role"'),
    good=_both(_ASCEND, {"told": 8}, {"told": 8}).replace('"kv_role"', '"kv_port": "36010", "kv_role"'),
)
def ports_beside_the_transport(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Ports of an engine lie outside those that its transport takes."""
    for run in running(item, bundle):
        families = (
            {name for chip in run.chips for name in bundle.catalog.chips[chip].families} if bundle.catalog else set()
        )
        for transfer in run.engine.transfers if _role(run.command) else ():
            taken = transfer.reserved_ports
            if taken is None or not run.devices or not families & {*transfer.chip_families}:
                continue
            after = taken.first + taken.per_device * run.devices
            for name, port in ports(run.command.flags):
                if str(port).isdigit() and taken.first <= int(port) < after:
                    message = f"{name} {port} lies in {taken.first} to {after - 1}, which the transport takes from"
                    yield Found(item, run.command.path, message, f"take one from {after} on")
