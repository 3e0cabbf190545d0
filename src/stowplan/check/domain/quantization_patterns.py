"""Rules of a quantization file against the full list of the model's modules: what they miss, and what they meet twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from stowplan.check.domain._quantization_examples import groups, plan_beside, process_list
from stowplan.check.objects import Bundle
from stowplan.check.quantization.coverage import Coverage
from stowplan.check.quantization.models import coverages, forgotten
from stowplan.check.quantization.rules import Pattern
from stowplan.check.registry import Found, check
from stowplan.fit.names import Module, filled

_NUMBER = re.compile(r"\d+")
_W2 = '["layers.*.ffn.experts.*.w1", "layers.*.ffn.experts.*.w2", "*.ffn.shared_experts.*", "mtp.*.ffn.experts.*"]'


@check(
    "D203",
    level="domain",
    whole_bundle=True,
    reason="A pattern that names no module does nothing: what it was meant for stays as it is, and no parser says so.",
    source="the module lists of profiles/variants; transformers 5.17.0 wheel, conversion_mapping.py",
    bad=process_list(include='["*attn*", "*.atn.wq_b"]'),
    good=process_list(),
)
def dead_pattern(bundle: Bundle) -> Iterator[Found]:
    """Each pattern of a quantization rule names a module of the model."""
    for coverage in coverages(bundle):
        dead = (pattern for pattern in coverage.dead if coverage.other_spelling(pattern) is None)
        for pattern, more in _alike(dead):
            message = f"'{pattern.text}'{more} names no module of the model"
            yield Found(coverage.file.item, pattern.path, message, _hint(coverage))


@check(
    "D204",
    level="domain",
    whole_bundle=True,
    reason="Checkpoint, model class and engine call the same module by three names; a program matches one of them only.",
    source="the module lists of profiles/variants; transformers 5.17.0 wheel, conversion_mapping.py",
    bad=groups(attention=r"re:.*attn\.(wq_a|wq_b|wkv|wo_a|wo_b)$"),
    good=groups(),
)
def other_spelling(bundle: Bundle) -> Iterator[Found]:
    """A quantization file names modules as its own program does, not as another family of programs."""
    for coverage in coverages(bundle):
        others = {pattern: other for pattern in coverage.dead if (other := coverage.other_spelling(pattern))}
        for pattern, more in _alike(others):
            own = coverage.file.spelling
            message = f"'{pattern.text}'{more} is the {others[pattern]} spelling; this program matches the {own} one"
            yield Found(coverage.file.item, pattern.path, message, _hint(coverage))


@check(
    "D205",
    level="domain",
    severity="warning",
    whole_bundle=True,
    reason="What was to be left out is quantized after all, where the pattern was misspelled; where the model has no such module it only misleads.",
    source="the module lists of profiles/variants; transformers 5.17.0 wheel, conversion_mapping.py",
    bad=process_list(exclude=', "*indexer.wgates"'),
    good=process_list(),
)
def dead_exclusion(bundle: Bundle) -> Iterator[Found]:
    """Each pattern that leaves modules out names a module of the model."""
    for coverage in coverages(bundle):
        rules = coverage.file.rules
        if rules.exact:
            continue
        beside = () if rules.ordered else rules.kept
        left_out = (*(pattern for rule in rules.quantized for pattern in rule.exclude), *beside)
        dead = (p for p in left_out if not coverage.reaches(p) and not coverage.of_missing(p))
        for pattern, more in _alike(dead):
            message = f"'{pattern.text}'{more} leaves out nothing: no module is so named"
            yield Found(coverage.file.item, pattern.path, message)


@check(
    "D206",
    level="domain",
    whole_bundle=True,
    reason="Which of two rules counts is not documented and differs between programs that read the same file.",
    source="vllm-project/vllm-ascend pull 15387: the first rule counts there; msmodelslim 26.1.0 wheel does not say",
    bad=process_list(include='["*attn*", "*shared_experts*"]'),
    good=process_list(),
)
def two_rules(bundle: Bundle) -> Iterator[Found]:
    """No two rules of a quantization file quantize one matrix."""
    for coverage in coverages(bundle):
        for (first, second), module in coverage.doubled.items():
            message = f"{module.name} is quantized by two rules, to {first.scheme} and to {second.scheme}"
            yield Found(coverage.file.item, second.path, message, "exclude in one what the other includes")


@check(
    "D207",
    level="domain",
    whole_bundle=True,
    reason="A draft in 16 bit beside a quantized model is several times as large as planned, and some loaders have no path for the mixture.",
    source="vllm-project/llm-compressor issue 2735; vllm-project/vllm issue 44817; vllm-project/vllm-ascend pull 15387",
    bad=process_list(ffn='["layers.*.ffn*"]'),
    good=process_list(),
)
def forgotten_draft(bundle: Bundle) -> Iterator[Found]:
    """What is quantized in the main layers is quantized in the draft, or left out there by name."""
    for coverage in coverages(bundle):
        left = forgotten(coverage)
        if left:
            module = next(iter(left.values()))
            message = (
                f"no rule reaches {', '.join(sorted(left))} (as {module.name}), while the main layers are quantized"
            )
            yield Found(
                coverage.file.item,
                coverage.file.rules.quantized[0].path,
                message,
                "include them, or exclude them by name",
            )


@check(
    "D208",
    level="domain",
    whole_bundle=True,
    reason="Engines read these matrices as one and look up the format of one of them for all.",
    source="vllm-project/vllm-ascend@182b75ea vllm_ascend/quantization/modelslim_config.py: all shards of a fused module carry one type",
    bad=process_list(ffn=_W2),
    good=process_list(),
)
def fused_parts(bundle: Bundle) -> Iterator[Found]:
    """Matrices that engines read as one have one format."""
    for coverage in coverages(bundle):
        for group in _fused(coverage):
            fates = {rules[-1] if (rules := coverage.rules_of[module.name]) else None: module for module in group}
            if len({rule.scheme if rule else None for rule in fates}) > 1:
                said = ", ".join(
                    f"{module.name} {rule.scheme if rule else 'not quantized'}" for rule, module in fates.items()
                )
                rule = next(rule for rule in fates if rule)
                yield Found(coverage.file.item, rule.path, f"are read as one and have several formats: {said}")
                break


def _fused(coverage: Coverage) -> Iterator[list[Module]]:
    held = {module.name: module for _, module in coverage.names if module.linear}
    for ends in coverage.model.architecture.fused:
        whole = [m for m in held.values() if m.template.endswith(ends[0])]
        for module in whole:
            stem = module.template.removesuffix(ends[0])
            names = [filled(stem + end, module.layer, module.copy) for end in ends]
            yield [held[name] for name in names if name in held]
    layers: dict[str, list[Module]] = {}
    for module in held.values():
        if module.expert:
            layers.setdefault(filled(module.template.partition("{copy}")[0], module.layer, 0), []).append(module)
    yield from layers.values()


@check(
    "D209",
    level="domain",
    whole_bundle=True,
    reason="A loader that looks for an entry of its own for each matrix stops at the first that has none.",
    source="vllm-project/vllm-ascend@182b75ea vllm_ascend/quantization/modelslim_config.py",
    bad="model_quant_type: W8A8_DYNAMIC\nhc_head_fn: FLOAT\nlayers.0.attn.wq_a.weight: W8A8_DYNAMIC\n"
    + plan_beside("atlas-800i-a3", "vllm-ascend"),
    good=process_list(),
)
def missing_entry(bundle: Bundle) -> Iterator[Found]:
    """A table of tensors has an entry for each matrix of the model."""
    for coverage in coverages(bundle):
        if not coverage.file.foreign.complete:
            continue
        if coverage.file.rules.exact:
            held = {*coverage.kept_names, *coverage.tabled}
            without = [m for m in coverage.model.linears if m.name not in held]
        else:
            without = [m for _, m in coverage.names if _said_nothing(coverage, m)]
        for key, modules in groupby(sorted(without, key=lambda module: module.key), key=lambda module: module.key):
            missing = list(modules)
            named = f"{len(missing)} matrices of {key}, as {missing[0].name}.weight"
            message = f"has no entry for {named}: {coverage.file.foreign.complete}"
            yield Found(coverage.file.item, (), message)


def _said_nothing(coverage: Coverage, module: Module) -> bool:
    """Whether a matrix that the source holds quantized is in no rule, and nothing leaves it out."""
    switched = module.expert and not module.key.startswith("draft.")
    plain = not module.linear or module.storage in ("bf16", "f32")
    return not plain and not switched and not coverage.rules_of[module.name] and not coverage.kept_on_purpose(module)


def _alike(patterns: Iterable[Pattern]) -> Iterator[tuple[Pattern, str]]:
    """One pattern of those that differ in numbers only, with a word on how many more there are."""
    alike: dict[str, list[Pattern]] = {}
    for pattern in patterns:
        alike.setdefault(_NUMBER.sub("N", pattern.text), []).append(pattern)
    for same in alike.values():
        yield same[0], f" (and {len(same) - 1} more that differ in numbers)" if len(same) > 1 else ""


def _hint(coverage: Coverage) -> str:
    names = [name for name, module in coverage.names if module.linear and ".2." in name][:3]
    return f"modules are named like {', '.join(names)}"
