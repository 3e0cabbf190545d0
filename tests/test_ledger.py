"""The ledger's formulas, worked out as a reader with a calculator would, give the bytes beside them."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import pytest
from conftest import planned

from stowplan.catalog import Catalog
from stowplan.fit.lines import Line
from stowplan.fit.units import GIB, MIB

CELLS: dict[str, tuple[tuple[str, str], dict[str, Any]]] = {
    "V4-Flash on H200, TP8": (("deepseek-v4-flash", "hgx-h200"), {"engine": "vllm", "layout": {"tp": 8, "ep": 8}}),
    "V4-Pro on two A3": (("deepseek-v4-pro", "atlas-800i-a3"), {"nodes": 2}),
    "V4.1-Flash on B200": (("deepseek-v4.1-flash", "hgx-b200"), {}),
    "V4-Flash on MI355X": (("deepseek-v4-flash", "mi355x-8x"), {}),
    "V4-Flash by SGLang": (("deepseek-v4-flash", "hgx-h200"), {"engine": "sglang"}),
}
_GIB = r"([0-9,.]+) GiB"
_ROUNDED = 0.0006 * GIB
"""What the three decimals of a share may hide."""


def number(text: str) -> float:
    return float(text.replace(",", ""))


def weights(formula: str) -> float:
    """`A GiB on each rank + B GiB / n (tp n) + C GiB x a of b experts (ep n)`."""
    total = 0.0
    for term in formula.split(" + "):
        size = re.match(_GIB, term)
        assert size, term
        divided, taken = re.search(r"/ (\d+)", term), re.search(r"x ([\d.]+) of (\d+)", term)
        share = 1 / int(divided[1]) if divided else float(taken[1]) / int(taken[2]) if taken else 1.0
        total += number(size[1]) * share
    return total * GIB


def activations(formula: str) -> float:
    """`1.2 GiB + 13 x hidden 4,096 x 8,192 tokens x 2 B`, the base left out where there is none."""
    base = re.match(rf"{_GIB} \+ ", formula)
    grown = prod(number(n) for n in re.findall(r"[\d,.]+", formula[base.end() if base else 0 :]))
    return grown + (number(base[1]) * GIB if base else 0)


def worked_out(line: Line, others: dict[str, int]) -> float:
    if line.name.startswith("weights: "):
        return weights(line.formula)
    if line.name == "activations":
        return activations(line.formula)
    if line.name == "communication" and " MiB" in line.formula:
        return prod(float(n) for n in re.findall(r"(\d+) (?:communicators|buffers)|(\d+) MiB", line.formula) for n in n if n) * MIB
    if line.name == "kvCache" and "blocks of" in line.formula:
        blocks = re.match(r"([\d,]+) blocks of ([\d,]+) B", line.formula)
        assert blocks
        return number(blocks[1]) * number(blocks[2])
    if line.name == "kvCache":
        return line.bytes  # a token pool: tests/test_capacity.py
    if line.name == "reserved":
        share = re.search(rf"{_GIB} x \(1 - ([\d.]+)\)", line.formula)
        assert share
        left = number(share[1]) * (1 - float(share[2])) * GIB
        return left - sum(others[name] for name in ("activations", "graphs") if f"- {name}" in line.formula)
    size = re.match(rf"{_GIB}|([\d.]+) GiB", line.formula) or re.match(r"([\d.]+)", line.formula)
    assert size, line
    return number(size[1]) * GIB


@pytest.mark.parametrize("cell", CELLS)
def test_every_formula_gives_its_bytes(cell: str, catalog: Catalog) -> None:
    (variant, server), pins = CELLS[cell]
    made = planned(catalog, variant, server, **pins)
    assert made.chosen
    fit = made.chosen.roles[0].fit
    others = {line.name: line.bytes for line in fit.lines}
    for line in fit.lines:
        terms = line.formula.count(" GiB") if line.name.startswith("weights") else 1
        rounding = 0.006 * GIB if line.name == "reserved" else terms * _ROUNDED
        assert worked_out(line, others) == pytest.approx(line.bytes, abs=rounding), line
    assert sum(line.bytes for line in fit.lines) + fit.free == fit.device_bytes
