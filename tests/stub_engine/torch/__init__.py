"""The little of torch that the preflight uses, so that its program runs where there is no device."""

from __future__ import annotations

import json
import os

__version__ = json.loads(os.environ["STUB_LIBRARIES"]).get("torch", "0") + "+stub"
_LONGEST = 64
"""Of a tensor that is only timed, whatever its size."""


class version:
    cuda = json.loads(os.environ["STUB_LIBRARIES"]).get("CUDA")


class Tensor:
    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __mul__(self, factor: float) -> Tensor:
        return Tensor([value * factor for value in self.values])

    def __getitem__(self, key: slice) -> Tensor:
        return Tensor(self.values[key])

    def sum(self) -> Tensor:
        return Tensor([sum(self.values)])

    def item(self) -> float:
        return self.values[0]

    def tolist(self) -> list[float]:
        return self.values


def full(shape: tuple[int, ...], value: float, device: str) -> Tensor:
    broken = os.environ.get("STUB_BROKEN_DEVICE") == device.rpartition(":")[2]
    return Tensor([value + broken] * shape[0])


def ones(count: int, device: str) -> Tensor:
    return full((count,), 1.0, device)


def zeros(count: int, device: str) -> Tensor:
    return Tensor([0.0] * min(count, _LONGEST))


def tensor(values: list[float], device: str) -> Tensor:
    return Tensor(values)


class _Devices:
    @staticmethod
    def set_device(index: int) -> None: ...

    @staticmethod
    def device_count() -> int:
        return int(os.environ["STOWPLAN_DEVICES"])

    @staticmethod
    def can_device_access_peer(one: int, other: int) -> bool:
        return os.environ.get("STUB_APART") != "yes"


cuda = npu = mlu = _Devices
