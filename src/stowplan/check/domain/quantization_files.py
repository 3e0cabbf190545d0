"""What the parsers of quantizers let through in the file as a whole: keys that are missing, or that pick another program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stowplan.check.domain._quantization_examples import groups, process_list
from stowplan.check.objects import Bundle, Path, dig, mapping
from stowplan.check.quantization import has
from stowplan.check.quantization.models import coverages
from stowplan.check.registry import Found, check
from stowplan.diagnostics import did_you_mean

_HYBRID = """\
quantization_config:
  quant_method: {method}
  weight_block_size: [128, 128]
  moe_quant_algo: NVFP4
  quantized_layers: {{layers.0.ffn.experts: {{quant_algo: NVFP4, group_size: 16}}}}
  ignore: ["*.attn.*", "*.ffn.shared_experts.*", head, "mtp.*"]
"""


@check(
    "D201",
    level="domain",
    whole_bundle=True,
    reason="The word picks the service or the loader that reads the rest; with another one the rules are not run, or the model is not known.",
    source="msmodelslim 26.1.0 wheel and nvidia-modelopt 0.47.0 wheel: their parsers accept such files, tried on CPU; profiles/quantizers",
    bad=process_list(apiversion="modelslim_v2") + "---\n" + _HYBRID.format(method="modelopt"),
    good=process_list() + "---\n" + _HYBRID.format(method="fp8"),
)
def quantization_choice(bundle: Bundle) -> Iterator[Found]:
    """A key that decides which program reads a quantization file has a value that this program knows."""
    for coverage in coverages(bundle):
        file, data = coverage.file, coverage.file.item.data
        for choice in file.foreign.choices:
            if choice.beside and not has(data, choice.beside):
                continue
            steps = choice.path.split(".")
            found = list(_values(data, steps))
            if not found and not choice.optional:
                known = f"known: {', '.join(choice.values)}"
                yield Found(file.item, _deepest(data, tuple(steps)), f"has no {choice.path}: {choice.reason}", known)
            for path, value in found:
                if value not in choice.values:
                    hint = did_you_mean(value, choice.values) or f"known: {', '.join(choice.values)}"
                    yield Found(file.item, path, f"{steps[-1]} is '{value}': {choice.reason}", hint)

        for barred in file.foreign.barred:
            for path, value in _values(data, barred.path.split(".")):
                if value in barred.values:
                    yield Found(file.item, path, f"{path[-1]} is '{value}': {barred.reason}", "leave it out")


@check(
    "D202",
    level="domain",
    whole_bundle=True,
    reason="The parser does not ask for these keys, so that a run of hours ends with nothing written.",
    source="msmodelslim 26.1.0 wheel and nvidia-modelopt 0.47.0 wheel: their parsers accept such files, tried on CPU; profiles/quantizers",
    bad=process_list(more=""),
    good=process_list(),
)
def quantization_needs(bundle: Bundle) -> Iterator[Found]:
    """A quantization file says what is to be done, and how it is saved."""
    for coverage in coverages(bundle):
        file, data = coverage.file, coverage.file.item.data
        for needed in file.foreign.needed:
            path = tuple(needed.path.split("."))
            if not dig(data, path):
                message = f"has no {needed.path}, or an empty one: {needed.reason}"
                yield Found(file.item, _deepest(data, path), message, f"add {needed.path}")


@check(
    "D214",
    level="domain",
    whole_bundle=True,
    reason="The parser lets an unknown key through, and nothing reads it: what it was to say is not said.",
    source="compressed-tensors 0.20.0 wheel and amd-quark 0.13 wheel: their parsers accept such files, tried on CPU",
    bad=groups().replace("  ignore:", "  ignored:"),
    good=groups(),
)
def unknown_key(bundle: Bundle) -> Iterator[Found]:
    """A quantization file has no key that its reader does not know."""
    for coverage in coverages(bundle):
        file = coverage.file
        for keys in file.foreign.keys:
            path = tuple(keys.path.split(".")) if keys.path else ()
            for key in mapping(dig(file.item.data, path)):
                if key not in keys.known:
                    yield Found(
                        file.item,
                        (*path, key),
                        f"nothing reads the key '{key}'",
                        did_you_mean(key, keys.known),
                        key=True,
                    )


def _values(data: Any, steps: Sequence[str], at: Path = ()) -> Iterator[tuple[Path, str]]:
    """All texts and numbers of a path, each with its place; `*` goes over the items of a list."""
    if not steps:
        if isinstance(data, str | int | float):
            yield at, str(data)
    elif steps[0] == "*":
        for index, item in enumerate(data if isinstance(data, list) else ()):
            yield from _values(item, steps[1:], (*at, index))
    else:
        yield from _values(mapping(data).get(steps[0]), steps[1:], (*at, steps[0]))


def _deepest(data: object, path: Path) -> Path:
    """As much of a path as there is."""
    for length in range(len(path), 0, -1):
        if dig(data, path[:length]) is not None:
            return path[:length]
    return ()
