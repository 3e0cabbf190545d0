"""The quantization decision of a stack: native, published or to be converted, and the table by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stowplan.fit.weights import weights
from stowplan.pairing import Pairing
from stowplan.plan.model import Stack
from stowplan.profiles.quantizer import Policy, QuantizerSpec

Toolchain = tuple[str, QuantizerSpec, Policy]
_RUNS_AS = {
    "fp8-block": "fp8",
    "fp8-row": "fp8",
    "int8-row": "int8",
    "int8-channel": "int8",
    "int8-channel-offset": "int8",
    "int4-channel-offset": "int4",
    "int4-group": "int4",
    "int4-group128": "int4",
    "f32": "f32",
    "int64": "int64",
}


def decision(stack: Stack) -> str:
    """`native`, `published` or `convert`."""
    if stack.checkpoint.converted:
        return "convert"
    return "native" if stack.checkpoint.format == "native" else "published"


def toolchain(pairing: Pairing, stack: Stack) -> Toolchain | None:
    """The program and policy that make this checkpoint from the native one."""
    if stack.checkpoint.format == "native":
        return None
    for name, spec in pairing.catalog.quantizers.items():
        if stack.checkpoint.converted in (None, name) and stack.engine_name in spec.read_by:
            for policy in spec.policies:
                if pairing.variant.family in policy.variant_families and stack.checkpoint.format in policy.formats:
                    return name, spec, policy
    return None


def classes(pairing: Pairing, stack: Stack) -> Iterator[dict[str, Any]]:
    """One row for each class and part: native storage, storage here, how it runs, bytes."""
    native = pairing.variant.native
    before = {
        (g.tensor_class, g.part, g.name, g.draft): g.storage
        for g in weights(pairing.architecture, native, stack.draft).groups
    }
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for group in weights(pairing.architecture, stack.checkpoint, stack.draft).groups:
        key = ("draft" if group.draft else group.tensor_class, group.part)
        row = rows.setdefault(
            key,
            {
                "class": key[0],
                "part": key[1],
                "native": before.get((group.tensor_class, group.part, group.name, group.draft), group.storage),
                "storage": group.storage,
                "runsAs": _runs_as(pairing, group.storage),
                "bytes": 0,
            },
        )
        row["bytes"] += group.bytes
    yield from rows.values()


def _runs_as(pairing: Pairing, storage: str) -> str:
    """The format that the chip computes in, with the fallback where it takes one."""
    name = _RUNS_AS.get(storage, storage)
    fallback = pairing.chip.formats.fallback
    return next((f"{name}: {how}" for known, how in fallback.items() if known == name), name)
