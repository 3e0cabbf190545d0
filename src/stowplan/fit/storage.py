"""Bytes of one tensor in each storage format.

Sources: OCP Microscaling Formats (MX) v1.0 for 32-element groups with one E8M0 scale; NVFP4 has
16-element groups with one E4M3 scale; the others are the layouts that the checkpoints' headers show.
An output channel of integers has float32 values beside it: its scale, and in some checkpoints an offset,
which is there (as zeros) for symmetric weights too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod

MX_GROUP = 32
NV_GROUP = 16
INT4_GROUP = 32
INT4_WIDE_GROUP = 128
FLOAT = 4


def _grouped(bits: int, group: int, scale: int) -> Callable[[int, int, int, int], int]:
    return lambda rows, columns, _block, _scale: rows * columns * bits // 8 + rows * ceil(columns / group) * scale


def _plain(size: int) -> Callable[[int, int, int, int], int]:
    return lambda rows, columns, _block, _scale: rows * columns * size


def _channel(bits: int, floats: int) -> Callable[[int, int, int, int], int]:
    return lambda rows, columns, _block, _scale: rows * columns * bits // 8 + rows * floats * FLOAT


def _blocks(rows: int, columns: int, block: int, scale: int) -> int:
    return rows * columns + ceil(rows / block) * ceil(columns / block) * scale


_BYTES: dict[str, Callable[[int, int, int, int], int]] = {
    "bf16": _plain(2),
    "f32": _plain(4),
    "int64": _plain(8),
    "fp8-block": _blocks,
    "fp8-row": _grouped(8, MX_GROUP, 1),
    "mxfp8": _grouped(8, MX_GROUP, 1),
    "mxfp4": _grouped(4, MX_GROUP, 1),
    "nvfp4": _grouped(4, NV_GROUP, 1),
    "int8-row": _grouped(8, MX_GROUP, FLOAT),
    "int8-channel": _channel(8, floats=1),
    "int8-channel-offset": _channel(8, floats=2),
    "int4-channel-offset": _channel(4, floats=2),
    "int4-group": _grouped(4, INT4_GROUP, 2),
    "int4-group128": _grouped(4, INT4_WIDE_GROUP, 2),
}


def tensor_bytes(shape: Sequence[int], storage: str, *, fp8_block: int, fp8_scale_bytes: int) -> int:
    """Bytes of a tensor [..., out, in] with its scales; a vector is one row."""
    *outer, columns = shape
    rows = outer[-1] if outer else 1
    return prod(outer[:-1]) * _BYTES[storage](rows, columns, fp8_block, fp8_scale_bytes)
