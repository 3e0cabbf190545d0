"""What the parsers of quantizers let through in the file as a whole: keys that are missing, or that pick another program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stowplan.check.domain._quantization_examples import process_list
from stowplan.check.objects import Bundle, Path, dig, mapping
from stowplan.check.quantization import has
from stowplan.check.quantization.models import coverages
from stowplan.check.registry import Found, check
from stowplan.diagnostics import did_you_mean

_TRIED = "msmodelslim 26.1.0 wheel and nvidia-modelopt 0.47.0 wheel: their parsers accept such files, tried on CPU; profiles/quantizers"
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
    source=_TRIED,
    bad=process_list(apiversion="modelslim_v2") + "---\n" + _HYBRID.format(method="modelopt"),
    good=process_list() + "---\n" + _HYBRID.format(method="fp8"),
)
def quantization_choice(bundle: Bundle) -> Iterator[Found]:
    """A key that decides which program reads a quantization file has a value that this program knows."""
    for coverage in coverages(bundle):
        file, data = coverage.file, coverage.file.item.data
        for choice in file.foreign.choices:
            path = tuple(choice.path.split("."))
            value = dig(data, path)
            if choice.beside and not has(data, choice.beside):
                continue
            if value is None and not choice.beside:
                known = ", ".join(choice.values)
                message = f"has no {choice.path}: {choice.reason}"
                yield Found(file.item, _deepest(data, path), message, f"known: {known}")
            elif value not in choice.values:
                hint = did_you_mean(str(value), choice.values) or f"known: {', '.join(choice.values)}"
                yield Found(file.item, path, f"{choice.path} is '{value}': {choice.reason}", hint)


@check(
    "D202",
    level="domain",
    whole_bundle=True,
    reason="The parser does not ask for these keys, so that a run of hours ends with nothing written, or uncalibrated.",
    source=_TRIED,
    bad=process_list(more=""),
    good=process_list(),
)
def quantization_needs(bundle: Bundle) -> Iterator[Found]:
    """A quantization file says what is to be done, with what it is calibrated, and how it is saved."""
    for coverage in coverages(bundle):
        file, data = coverage.file, coverage.file.item.data
        for needed in file.foreign.needed:
            if needed.beside and not {*_values(data, needed.beside.split("."))} & {*needed.values}:
                continue
            path = tuple(needed.path.split("."))
            if not dig(data, path):
                message = f"has no {needed.path}, or an empty one: {needed.reason}"
                yield Found(file.item, _deepest(data, path), message, f"add {needed.path}")


def _values(data: Any, steps: list[str]) -> Iterator[Any]:
    """All values of a path; `*` goes over the items of a list."""
    if not steps:
        if isinstance(data, str):
            yield data
    elif steps[0] == "*":
        for item in data if isinstance(data, list) else ():
            yield from _values(item, steps[1:])
    else:
        yield from _values(mapping(data).get(steps[0]), steps[1:])


def _deepest(data: object, path: Path) -> Path:
    """As much of a path as there is."""
    for length in range(len(path), 0, -1):
        if dig(data, path[:length]) is not None:
            return path[:length]
    return ()
