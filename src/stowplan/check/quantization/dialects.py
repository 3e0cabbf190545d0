"""One reader for each way in which programs write rules down; a quantizer's profile names its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stowplan.check.objects import Path, mapping, sequence
from stowplan.check.quantization.rules import Pattern, Rule, Rules, pair, patterns, scheme_format
from stowplan.profiles.quantizer import Dialect, Foreign, QuantizerSpec

_UNTOUCHED = ("FLOAT", "float")


def _process_list(data: Mapping[str, Any], _spec: QuantizerSpec, foreign: Foreign) -> Rules:
    """Steps in order; those of the kind that quantizes have formats, and globs that include and exclude."""
    found = []
    steps = map(mapping, sequence(mapping(data.get("spec")).get("process")))
    for index, step in enumerate(steps):
        path = ("spec", "process", index)
        if step.get("type") != "linear_quant":
            continue
        config = mapping(step.get("qconfig"))
        activation, weight = (_scoped(mapping(config.get(side))) for side in ("act", "weight"))
        scheme, computes = pair(foreign, activation, weight)
        include = patterns(step.get("include", ["*"]), (*path, "include"))
        exclude = patterns(step.get("exclude", []), (*path, "exclude"))
        words = f"{activation} activations with {weight} weights"
        found.append(Rule(path, scheme, words, computes, include, exclude))
    return Rules(tuple(found))


def _scoped(formats: Mapping[str, Any]) -> str:
    return f"{formats.get('scope', '')} {formats.get('dtype', '')}"


def _scheme_groups(data: Mapping[str, Any], spec: QuantizerSpec, foreign: Foreign) -> Rules:
    """Groups with formats and targets; a recipe nests them in stages and modifiers."""
    found: list[Rule] = []
    kept: list[Pattern] = []
    for block, path in _blocks(data, ()):
        kept += patterns(block.get("ignore", []), (*path, "ignore"))
        for name, group in mapping(block.get("config_groups")).items():
            at, given = (*path, "config_groups", name), mapping(group)
            preset = given.get("scheme")
            found.append(_preset(str(preset), given, at, spec) if preset else _group(given, at, foreign))
        scheme = block.get("scheme")
        for name, targets in mapping(scheme).items():
            found.append(_preset(name, {name: targets}, (*path, "scheme"), spec, key=name))
        if isinstance(scheme, str):
            found.append(_preset(scheme, block, path, spec))
    return Rules(tuple(found), tuple(kept))


def _preset(scheme: str, given: Mapping[str, Any], path: Path, spec: QuantizerSpec, *, key: str = "targets") -> Rule:
    """A rule that calls its formats by a name; without targets it is for every linear layer."""
    targets = patterns(given[key], (*path, key)) if key in given else (Pattern("Linear", path),)
    return Rule(path, scheme, scheme, scheme_format(spec, scheme), targets)


def _blocks(data: Mapping[str, Any], path: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Mappings with groups or a scheme, wherever they stand; a modifier may have a scheme and no targets."""
    if "config_groups" in data or ("scheme" in data and ("targets" in data or str(path[-1:]).count("Modifier"))):
        yield data, path
        return
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _blocks(value, (*path, key))


def _group(group: Mapping[str, Any], path: Path, foreign: Foreign) -> Rule:
    weight, activation = _strategy(group.get("weights")), _strategy(group.get("input_activations"))
    size = mapping(group.get("weights")).get("group_size")
    scheme, computes = pair(foreign, activation, weight, size)
    words = f"activations in '{activation}' with weights in '{weight}'{f', groups of {size}' if size else ''}"
    return Rule(path, scheme, words, computes, patterns(group.get("targets", []), (*path, "targets")))


def _strategy(formats: object) -> str:
    given = mapping(formats)
    if not given:
        return "none"
    return f"{given.get('strategy', 'tensor')} {given.get('num_bits', 8)} {given.get('type', 'int')}"


def _ordered_rules(data: Mapping[str, Any], spec: QuantizerSpec, foreign: Foreign) -> Rules:
    """A list in which each entry turns quantizers on or off by their names, and the later one counts."""
    found, kept = [], []
    entries = map(mapping, sequence(mapping(data.get("quantize")).get("quant_cfg")))
    for index, entry in enumerate(entries):
        path = ("quantize", "quant_cfg", index)
        name = entry.get("quantizer_name")
        if not isinstance(name, str):
            continue
        pattern = Pattern(name, (*path, "quantizer_name"))
        if entry.get("enable") is False:
            kept.append(pattern)
            continue
        written = mapping(entry.get("cfg"))
        if "num_bits" in written:
            words = _numerics(written)
            emitted, computes = pair(foreign, "as written", words)
            found.append(Rule(path, emitted or words, words, computes, (pattern,)))
            continue
        numerics = written.get("$import", "")
        scheme = next((s for s, known in spec.schemes.items() if known.settings.get("numerics") == numerics), None)
        computes = scheme_format(spec, scheme) if scheme else None
        found.append(Rule(path, scheme or str(numerics), str(numerics), computes, (pattern,)))
    return Rules(tuple(found), tuple(kept), ordered=True)


def _numerics(written: Mapping[str, Any]) -> str:
    """A number format that is written out: its bits, and the size of its blocks along the last axis."""
    bits, blocks = written["num_bits"], mapping(written.get("block_sizes"))
    if isinstance(bits, list) and bits[1:]:
        bits = f"e{bits[0]}m{bits[1]}"
    size = next((value for axis, value in blocks.items() if str(axis) == "-1"), None)
    return f"{bits} in blocks of {size}" if size else str(bits)


def _layer_overrides(data: Mapping[str, Any], _spec: QuantizerSpec, foreign: Foreign) -> Rules:
    """Formats for all, others for some, and a list of what is left out."""
    nested = "quantization_config" in data
    base: Path = ("quantization_config",) if nested else ()
    config = mapping(data["quantization_config"]) if nested else data
    left_out = patterns(config.get("exclude", []), (*base, "exclude"))
    found = []
    everywhere = mapping(config.get("global_quant_config"))
    if everywhere.get("weight"):
        path = (*base, "global_quant_config")
        found.append(_override(everywhere, path, (Pattern("*", path),), left_out, foreign))
    for name, layer in mapping(config.get("layer_quant_config")).items():
        path = (*base, "layer_quant_config", name)
        if mapping(layer).get("weight"):
            found.append(_override(mapping(layer), path, (Pattern(name, path),), (), foreign))
    return Rules(tuple(found), left_out, ordered=True)


def _override(
    layer: Mapping[str, Any], path: Path, include: tuple[Pattern, ...], exclude: tuple[Pattern, ...], foreign: Foreign
) -> Rule:
    activation, weight = (_quantized(layer.get(side)) for side in ("input_tensors", "weight"))
    size = mapping(layer.get("weight")).get("group_size")
    scheme, computes = pair(foreign, activation, weight, size)
    words = f"activations in '{activation}' with weights in '{weight}'{f', groups of {size}' if size else ''}"
    return Rule(path, scheme, words, computes, include, exclude)


def _quantized(formats: object) -> str:
    given = mapping(formats)
    return f"{given.get('qscheme')} {given.get('dtype')}" if given else "none"


def _layer_table(data: Mapping[str, Any], spec: QuantizerSpec, foreign: Foreign) -> Rules:
    """A table from the modules that are quantized to the scheme of each, and a list of what is not."""
    del foreign
    key = "quantization" if "quantization" in data else "quantization_config"
    config = mapping(data.get(key))
    found = []
    for name, layer in mapping(config.get("quantized_layers")).items():
        scheme, path = str(mapping(layer).get("quant_algo")), (key, "quantized_layers", name)
        known = scheme if scheme in spec.schemes else None
        found.append(Rule(path, known, scheme, scheme_format(spec, scheme), (Pattern(f"{name}*", path),)))
    left_out = "exclude_modules" if "exclude_modules" in config else "ignore"
    return Rules(tuple(found), patterns(config.get(left_out, []), (key, left_out)), ordered=True)


def _tensor_map(data: Mapping[str, Any], spec: QuantizerSpec, foreign: Foreign) -> Rules:
    """A table from each tensor to the scheme that it was written in."""
    del foreign
    named: dict[str, list[Pattern]] = {}
    for key, value in data.items():
        if isinstance(value, str) and str(key).endswith(".weight"):
            named.setdefault(value, []).append(Pattern(str(key).removesuffix(".weight"), (key,)))
    found = [
        Rule(rule[0].path, scheme, scheme, scheme_format(spec, scheme), tuple(rule))
        for scheme, rule in named.items()
        if scheme not in _UNTOUCHED
    ]
    kept = [pattern for scheme in _UNTOUCHED for pattern in named.get(scheme, ())]
    return Rules(tuple(found), tuple(kept), exact=True)


DIALECTS: Mapping[Dialect, Callable[[Mapping[str, Any], QuantizerSpec, Foreign], Rules]] = {
    "process-list": _process_list,
    "scheme-groups": _scheme_groups,
    "ordered-rules": _ordered_rules,
    "layer-overrides": _layer_overrides,
    "layer-table": _layer_table,
    "tensor-map": _tensor_map,
}
"""By the name that `foreign.dialect` of a quantizer gives."""
