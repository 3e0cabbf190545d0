"""The ledger's formulas, worked out as a reader with a calculator would, give the bytes beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
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


def communication(formula: str) -> float:
    """`3 communicators (tp, dp, ep) x 2 buffers x NAME 2048 MiB`, or a constant."""
    counted = re.fullmatch(r"(\d+) communicators \([a-z, ]+\) x (\d+) buffers x \w+ (\d+) MiB", formula)
    return prod(float(n) for n in counted.groups()) * MIB if counted else plain(formula)


def cache(formula: str) -> float | None:
    """`104,884 blocks of 1,039,680 B; ...`; a token pool is worked out in tests/test_capacity.py."""
    counted = re.match(r"([\d,]+) blocks of ([\d,]+) B", formula)
    return number(counted[1]) * number(counted[2]) if counted else None


def plain(formula: str) -> float:
    size = re.match(r"[\d,.]+", formula)
    assert size, formula
    return number(size[0]) * GIB


def reserved(formula: str, others: dict[str, int]) -> float:
    """`140.40 GiB x (1 - 0.9)`, less what lives in it."""
    share = re.search(rf"{_GIB} x \(1 - ([\d.]+)\)", formula)
    assert share, formula
    left = number(share[1]) * (1 - float(share[2])) * GIB
    return left - sum(others[name] for name in ("activations", "graphs") if f"- {name}" in formula)


WORKED_OUT: dict[str, Callable[[str], float | None]] = {
    "activations": activations,
    "communication": communication,
    "kvCache": cache,
}


def worked_out(line: Line, others: dict[str, int]) -> float | None:
    if line.name == "reserved":
        return reserved(line.formula, others)
    return WORKED_OUT.get(line.name, weights if line.name.startswith("weights: ") else plain)(line.formula)


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
        found = worked_out(line, others)
        assert found is None or found == pytest.approx(line.bytes, abs=rounding), line
    assert sum(line.bytes for line in fit.lines) + fit.free == fit.device_bytes
