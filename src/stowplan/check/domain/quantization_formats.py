"""Formats that a quantization file asks for against what programs, loaders and chips have."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.domain._quantization_examples import groups, plan_beside, process_list
from stowplan.check.objects import Bundle, mapping
from stowplan.check.quantization.coverage import Coverage
from stowplan.check.quantization.models import chip, coverages, forgotten, loaders, planned_engine
from stowplan.check.quantization.policies import always_quantized, never_quantized
from stowplan.check.quantization.rules import Rule
from stowplan.check.registry import Found, check
from stowplan.fit.names import Module
from stowplan.profiles.hardware import NumberFormat


@check(
    "D210",
    level="domain",
    whole_bundle=True,
    reason="Parsers judge activations and weights each by itself; a pair for which nobody wrote code ends the run, or is saved as something that nothing reads.",
    source="msmodelslim 26.1.0 wheel, its registry; compressed-tensors 0.20.0 wheel, quantization/quant_scheme.py; amd-quark 0.13 wheel",
    bad=process_list(weight="mxfp4") + "---\n" + groups(activation="token"),
    good=process_list() + "---\n" + groups(),
)
def pair_without_code(bundle: Bundle) -> Iterator[Found]:
    """Activations and weights of a quantization rule are a pair for which the program has code."""
    for coverage in coverages(bundle):
        for rule in coverage.file.rules.quantized:
            if rule.scheme is None:
                known = ", ".join(f"{p.activation} x {p.weight}" for f in coverage.file.spec.foreign for p in f.pairs)
                yield Found(
                    coverage.file.item,
                    rule.path,
                    f"{coverage.file.spec.title} has no code for {rule.words}",
                    f"pairs that it has: {known}",
                )


@check(
    "D211",
    level="domain",
    whole_bundle=True,
    reason="The quantizer writes it, and the engine stops when it loads it: each loader registers some schemes for single matrices and some for experts.",
    source="vllm-project/vllm-ascend@182b75ea vllm_ascend/quantization/methods/registry.py; loaders in profiles/engines",
    bad=process_list(weight="int4"),
    good=process_list(experts="int4", shared=', "*shared_experts*"'),
)
def unregistered_scheme(bundle: Bundle) -> Iterator[Found]:
    """The engine's loader registers each scheme for the kind of matrix that it is used on."""
    for coverage in coverages(bundle):
        known, planned = loaders(coverage, bundle), planned_engine(bundle)
        spec = coverage.file.spec
        if planned and not known and planned not in spec.unproved and bundle.catalog.engines[planned].loaders:  # type: ignore[union-attr]
            message = f"{planned}, which the plan beside it runs, has no loader for what {spec.title} makes"
            hint = f"read by {', '.join(f'{engine} ({name})' for engine, name in spec.read_by.items())}"
            yield Found(coverage.file.item, (), message, hint)
        for rule, kinds in _kinds(coverage).items():
            for kind, module in kinds.items():
                having = {
                    name: loader.experts if kind == "routed experts" else loader.linear
                    for name, loader in known.items()
                }
                if having and rule.scheme and not any(rule.scheme in schemes for schemes in having.values()):
                    said = "; ".join(f"{name}: {', '.join(schemes)}" for name, schemes in having.items())
                    message = f"{rule.scheme} on {module.name}: no loader registers it for {kind}"
                    yield Found(coverage.file.item, rule.path, message, said)


@check(
    "D216",
    level="domain",
    severity="warning",
    whole_bundle=True,
    reason="A class that everybody quantizes and no rule names was forgotten more often than left; one that nobody quantizes was met by a pattern that is too wide.",
    source="policies of profiles/quantizers, each with its source",
    bad=process_list(ffn='["*.ffn.experts.*"]'),
    good=process_list(),
)
def unusual_class(bundle: Bundle) -> Iterator[Found]:
    """A quantization file quantizes what the published policies do, or leaves it out by name, and nothing that none does."""
    for coverage in coverages(bundle):
        file, fates = coverage.file, coverage.fates
        always, known = always_quantized(coverage, bundle.catalog), forgotten(coverage)  # type: ignore[arg-type]
        if fates and not any(rule for rules in fates.values() for rule in rules):
            if not coverage.dead:
                yield Found(file.item, (), "no rule quantizes any matrix of the model")
            continue
        left = {key: rules[None] for key, rules in fates.items() if key in always and None in rules}
        left = {k: m for k, m in left.items() if k not in known and not coverage.kept_on_purpose(m)}
        if left and not file.rules.exact:
            names = f"{', '.join(sorted(left))} (as {next(iter(left.values())).name})"
            message = f"no rule reaches {names}, which every published policy quantizes"
            yield Found(file.item, (), message, "include them, or exclude them by name")
        for rule, modules in _too_wide(coverage, bundle).items() if not file.foreign.plain else ():
            message = f"{modules[0]} is quantized, which no published policy does"
            yield Found(file.item, rule.path, message, "leave it out by name")


def _too_wide(coverage: Coverage, bundle: Bundle) -> dict[Rule, list[str]]:
    """Rules that quantize what no published policy does, each with one name of a class."""
    found: dict[Rule, list[str]] = {}
    for key in sorted(never_quantized(coverage, bundle.catalog)):  # type: ignore[arg-type]
        for rule, module in coverage.fates.get(key, {}).items():
            if rule:
                found.setdefault(rule, []).append(module.name)
    return found


def _kinds(coverage: Coverage) -> dict[Rule, dict[str, Module]]:
    """What each rule quantizes: single matrices, routed experts, with an example of each."""
    found: dict[Rule, dict[str, Module]] = {}
    for _, module in coverage.names:
        for rule in coverage.rules_of.get(module.name, ()):
            found.setdefault(rule, {}).setdefault("routed experts" if module.expert else "single matrices", module)
    return found


@check(
    "D212",
    level="domain",
    whole_bundle=True,
    reason="A run of hours makes weights that the chip of the plan cannot compute with.",
    source="formats of profiles/chips, each with its source",
    bad=groups() + plan_beside("hgx-h200", "vllm"),
    good=process_list() + plan_beside("atlas-800i-a3", "vllm-ascend"),
)
def format_of_the_chip(bundle: Bundle) -> Iterator[Found]:
    """The chip of the plan computes with what a quantization file makes."""
    planned = chip(bundle)
    for coverage in coverages(bundle) if planned else ():
        name, spec = planned  # type: ignore[misc]
        doubted = _doubted(coverage, bundle)
        for rule in coverage.file.rules.quantized:
            if rule.computes in spec.formats.missing and rule.computes not in doubted:
                message = f"makes {rule.computes} weights, and {name} does not compute with them"
                yield Found(coverage.file.item, rule.path, message, f"it has {', '.join(spec.formats.native)}")


@check(
    "D215",
    level="domain",
    severity="warning",
    whole_bundle=True,
    reason="The engine says that it takes such weights, or has a loader of the name; nobody has shown it for this model on this chip.",
    source="doubts of the loaders in profiles/engines, unproved of profiles/quantizers, each with its source",
    bad=process_list(experts="int4", shared=', "*shared_experts*"') + plan_beside("atlas-850-950dt", "vllm-ascend"),
    good=process_list() + plan_beside("atlas-800i-a3", "vllm-ascend"),
)
def unproved_format(bundle: Bundle) -> Iterator[Found]:
    """It is known that the planned engine serves what a quantization file makes on the planned chip."""
    for coverage in coverages(bundle):
        doubted = _doubted(coverage, bundle)
        for computes in dict.fromkeys(rule.computes for rule in coverage.file.rules.quantized):
            if computes in doubted:
                rule = next(rule for rule in coverage.file.rules.quantized if rule.computes == computes)
                yield Found(coverage.file.item, rule.path, f"makes {computes} weights: {doubted[computes]}")
        yield from _other_model(coverage, bundle)
        why = coverage.file.spec.unproved.get(planned_engine(bundle) or "")
        if why:
            yield Found(coverage.file.item, (), f"{planned_engine(bundle)} may not read it: {why}")


def _other_model(coverage: Coverage, bundle: Bundle) -> Iterator[Found]:
    """The file names models of another family than the plan beside it serves."""
    variants = bundle.catalog.variants if bundle.catalog else {}
    planned = mapping(mapping(bundle.plan).get("pairing")).get("variant")
    meant = {variants[name].family for name in coverage.file.meant_for if name in variants}
    if isinstance(planned, str) and planned in variants and meant and variants[planned].family not in meant:
        said = ", ".join(coverage.file.meant_for)
        yield Found(coverage.file.item, (), f"is for {said}, and the plan beside it serves {planned}")


def _doubted(coverage: Coverage, bundle: Bundle) -> dict[NumberFormat, str]:
    """Formats that the planned chip has no use for, or little, though the loader takes them, each with the reason."""
    on = chip(bundle)
    doubts = [doubt for loader in loaders(coverage, bundle).values() for doubt in loader.doubts] if on else []
    return {f: d.reason for d in doubts if on and {*d.chip_family} & {*on[1].families} for f in d.formats}


@check(
    "D213",
    level="domain",
    whole_bundle=True,
    reason="The runtime has one way to read these matrices; quantized where it wants them plain (or plain where it wants them quantized) they do not load, or answer wrongly.",
    source="vllm-project/vllm-ascend pull 15387: wo_a of all layers, wo_b of a DSpark draft",
    bad=process_list(model="DeepSeek-V4-Flash-0731", exclude=', "mtp.*.attn.wo_b"'),
    good=process_list(model="DeepSeek-V4-Flash-0731"),
)
def fixed_classes(bundle: Bundle) -> Iterator[Found]:
    """Matrices that the runtime reads in one way only are quantized so, or not at all."""
    for coverage in coverages(bundle):
        for fixed in coverage.file.foreign.fixed:
            if fixed.draft not in (None, coverage.model.draft):
                continue
            for key in fixed.classes:
                for rule, module in coverage.fates.get(key, {}).items():
                    if (rule is not None) != fixed.quantized:
                        must = "must be quantized" if fixed.quantized else "must not be quantized"
                        path = rule.path if rule else coverage.file.rules.quantized[0].path
                        yield Found(coverage.file.item, path, f"{module.name} {must}: {fixed.reason}")
        for rule, names in _too_wide(coverage, bundle).items() if coverage.file.foreign.plain else ():
            message = f"must not be quantized: {', '.join(names)}: {coverage.file.foreign.plain}"
            yield Found(coverage.file.item, rule.path, message, "leave them out by name")
