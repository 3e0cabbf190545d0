"""Engine commands of anyone against what the engine's profile says: flags, limits, combinations that fail, formats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from packaging.version import InvalidVersion, Version

from stowplan.catalog import Catalog
from stowplan.check.domain._engines import Running, programs, running
from stowplan.check.objects import Bundle, Object, Path
from stowplan.check.registry import Found, check
from stowplan.plan.flags import Tables, broken_limit, flag_tables, unknown_flag
from stowplan.plan.settings import pin_path
from stowplan.plan.stacks import known_bad
from stowplan.profiles.engine import Effect
from stowplan.profiles.rule import holds
from stowplan.versions import in_range

_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: engine}}
spec:
  {selector}
  terminationGracePeriodSeconds: 180
  containers:
    - name: engine
      image: {image}
      command: [vllm, serve, {model}, --tensor-parallel-size, "8", --enable-expert-parallel, --max-model-len, "65536", {flags}]
      env: [{env}]
      resources: {{limits: {{{resource}: "8"}}}}
      volumeMounts: [{{name: shm, mountPath: /dev/shm}}]
  runtimeClassName: nvidia
  volumes: [{{name: shm, emptyDir: {{medium: Memory, sizeLimit: 64Gi}}}}]
"""
_GIVEN = {
    "selector": "nodeSelector: {nvidia.com/gpu.product: NVIDIA-H200}",
    "image": "vllm/vllm-openai:v0.26.0",
    "model": "deepseek-ai/DeepSeek-V4-Flash",
    "flags": "--trust-remote-code",
    "env": "{name: A, value: b}",
    "resource": "nvidia.com/gpu",
}


def _pod(**changed: str) -> str:
    return _POD.format(**{**_GIVEN, **changed})


@check(
    "D140",
    level="domain",
    reason="The engine ends at once when it meets a flag that its release does not have.",
    source="The flag tables of the engines' releases in profiles/engines, read by scripts/engine_flags.py.",
    bad=_pod(flags="--tensor-paralel-size"),
    good=_pod(),
)
def known_flags(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The engine's release knows the flags of its command."""
    for run in running(item, bundle):
        if bundle.catalog is None or not _is_read(run, bundle.catalog):
            continue
        tables = flag_tables(bundle.catalog, run.engine, _base(run.version), _base(run.upstream))
        for flag in run.command.flags:
            wrong = unknown_flag(flag, tables, run.title)
            if wrong and not _is_variant(flag, tables):
                message, _, near = wrong.partition("; ")
                yield Found(item, run.command.path, message, near)


def _is_variant(flag: str, tables: Tables) -> bool:
    """Whether the parser takes the flag for another: a switch turned off, or the beginning of a name."""
    positive = f"--{flag.removeprefix('--no-')}"
    names = [name for table, version in tables for name in table if in_range(version, table[name].versions)]
    return any(name == positive or name.startswith((flag, positive)) for name in names)


def _is_read(run: Running, catalog: Catalog) -> bool:
    """Whether the tables tell of this release: they were read from releases around it, and the command is that engine's own."""
    chain = [
        (run.engine, run.version),
        *([(catalog.engines[run.engine.extends], run.upstream)] if run.engine.extends else []),
    ]
    read = next((pair for pair in chain if pair[0].flags_read), None)
    if read is None or run.command.program not in programs(read[0]):
        return False
    try:
        releases = [Version(r.version) for r in read[0].flags_read]
        return bool(read[1]) and min(releases) <= Version(_base(read[1])) <= max(releases)
    except InvalidVersion:
        return False


def _base(version: str) -> str:
    """A candidate has the flags of its release."""
    try:
        return Version(version).base_version
    except InvalidVersion:
        return version


@check(
    "D141",
    level="domain",
    reason="The engine's own limits on a setting: it refuses to start, or runs without what was asked for.",
    source="flagRules of the engines in profiles/engines, each with its source.",
    bad=_pod(flags="--moe-backend, deep_gemm_mega_moe"),
    good=_pod(),
)
def limits_of_settings(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Settings keep the limits that the engine sets for this checkpoint, chip and layout."""
    for run in running(item, bundle):
        contexts = run.contexts(bundle.catalog) if bundle.catalog else []
        for rule in run.engine.flag_rules:
            path = pin_path(rule.setting)
            value = _value(run, path)
            if (
                value is None
                or (path[-1] == "method" and rule.when.draft)
                or (rule.values is not None and value not in rule.values)
            ):
                continue
            told = [broken_limit(rule, value, c) if holds(rule.when, c) else "" for c in contexts]
            if contexts and all(told):
                name = rule.setting.partition(".")[2]
                message = f"{name} {told[0]}, not {value}: {rule.reason}"
                yield Found(
                    item, run.command.path if path[0] == "flags" else run.command.container.path, message, rule.source
                )


def _value(run: Running, path: Path) -> Any:
    if path[0] == "env":
        return run.command.env.get(str(path[1]))
    node: Any = run.command.flags
    for step in path[1:]:
        node = node.get(step) if isinstance(node, Mapping) else None
    return node


@check(
    "D142",
    level="domain",
    reason="A public source says that this release fails with this checkpoint on this chip.",
    source="knownBad of the engines in profiles/engines, each with its source.",
    bad=_pod(flags="--port, '8000'", selector="nodeSelector: {nvidia.com/gpu.product: NVIDIA-L40S}"),
    good=_pod(),
)
def known_failures(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The release is not known to fail with the checkpoint on the chip."""
    yield from _known(item, bundle, "fails")


@check(
    "D143",
    level="domain",
    severity="info",
    reason="A public source says what this release does badly with this checkpoint on this chip.",
    source="knownBad of the engines in profiles/engines, each with its source.",
    bad=_pod(image="vllm/vllm-openai:v0.25.0", selector="nodeSelector: {nvidia.com/gpu.product: NVIDIA-RTX-PRO-6000}"),
    good=_pod(),
)
def known_weaknesses(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The release is not known to do worse with the checkpoint on the chip."""
    yield from _known(item, bundle, "degrades")


def _known(item: Object, bundle: Bundle, effect: Effect) -> Iterator[Found]:
    for run in running(item, bundle):
        contexts = run.contexts(bundle.catalog) if bundle.catalog else []
        if not run.speculates:
            contexts = [replace(context, draft="none") for context in contexts]
        told = [[reason.message for reason in known_bad(run.name, run.engine, c, effect)] for c in contexts]
        for message in _everywhere(told):
            yield Found(item, (*run.command.container.path, "image"), message)


def _everywhere(told: Sequence[Sequence[str]]) -> list[str]:
    """What is said of every chip that the pod may run on."""
    return [text for text in dict.fromkeys(itertools.chain(*told)) if all(text in texts for texts in told)]


@check(
    "D144",
    level="domain",
    reason="The chip has no arithmetic for the checkpoint's format, and no kernel that stands in for it.",
    source="formats of the chips in profiles/chips, each with its source.",
    bad=_pod(model="nvidia/DeepSeek-V4-Flash-NVFP4"),
    good=_pod(),
)
def format_of_chip(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The chip runs the format of the checkpoint."""
    for run in running(item, bundle):
        if run.served is None or bundle.catalog is None or not run.chips:
            continue
        checkpoint = run.served.checkpoint
        formats = [bundle.catalog.chips[chip].formats for chip in run.chips]
        for name in checkpoint.compute:
            if all(name in f.missing and name not in f.fallback for f in formats):
                message = f"{checkpoint.id} needs {name}, which {' and '.join(run.chips)} do not have"
                message = message if len(run.chips) > 1 else message.replace(" do not", " does not")
                yield Found(item, run.command.path, message, formats[0].source)


@check(
    "D145",
    level="domain",
    severity="warning",
    reason="Without a limit the engine takes the model's whole context, a million tokens: it refuses to start, or leaves room for few requests.",
    source="AIConfigurator 0.12.0, manifests for disaggregated serving without a length; vllm-project/recipes issue 381.",
    bad=_pod().replace('--max-model-len, "65536", ', ""),
    good=_pod(),
)
def stated_length(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The command says how long a request may be."""
    for run in running(item, bundle):
        field = run.engine.fields.get("maxModelLen")
        if run.served is None or field is None or bundle.catalog is None or run.command.open:
            continue
        if not any(flag in run.command.flags for flag in (field.flag, *field.aliases)):
            longest = bundle.catalog.variants[run.served.variant].max_context.value or 0
            message = f"{field.flag} is not given: the model's own {longest:,} tokens hold"
            yield Found(item, run.command.path, message, "give the longest request that you serve")


@check(
    "D146",
    level="domain",
    severity="warning",
    reason="A release from before the model has no class for it, or none for its draft: the engine ends when it reads the checkpoint's configuration.",
    source="supports of the engines in profiles/engines, each with its source; swiss-ai/model-launch issue 138.",
    bad=_pod(image="vllm/vllm-openai:v0.11.0"),
    good=_pod(),
)
def release_with_model(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The engine's release is one that some source shows with the model."""
    for run in running(item, bundle):
        if run.served is None or not run.version or bundle.catalog is None:
            continue
        family = bundle.catalog.variants[run.served.variant].family
        families = {name for chip in run.chips for name in bundle.catalog.chips[chip].families}
        draft = run.served.checkpoint.draft if "--speculative-config" in run.command.flags else None
        shown = [
            s.versions
            for s in run.engine.supports
            if s.variant_family == family and (draft or "none") in s.draft and families & {*s.chip_families}
        ]
        if shown and not any(in_range(_base(run.version), versions) for versions in shown):
            drafted = f" with {draft}" if draft else ""
            message = f"no source shows {run.title} with {run.served.checkpoint.id}{drafted}"
            path = (*run.command.container.path, "image")
            yield Found(item, path, message, f"shown: {' or '.join(dict.fromkeys(shown))}")
