"""Architecture and checkpoint in; bytes by tensor class, and what a layout puts on one device, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod

from stowplan.fit.expression import evaluate
from stowplan.fit.storage import tensor_bytes
from stowplan.profiles.recipe import Layout
from stowplan.profiles.variant import Architecture, Block, Checkpoint, Draft, Split, Tensor


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """The same tensor over all its layers."""

    tensor_class: str
    part: str
    name: str
    split: Split
    storage: str
    shape: tuple[int, ...]
    count: int
    bytes: int
    draft: bool = False

    @property
    def parameters(self) -> int:
        """Parameters of the group; tables of token ids are not counted as parameters."""
        return 0 if self.storage == "int64" else prod(self.shape) * self.count


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of a checkpoint by (class, split), and its tensor groups."""

    groups: tuple[TensorGroup, ...]
    by_split: Mapping[tuple[str, Split], int]
    experts: int

    @property
    def total(self) -> int:
        """Bytes of all tensors: the checkpoint's size."""
        return sum(self.by_split.values())

    def on_device(self, layout: Layout, *, experts_over_group: bool) -> dict[str, int]:
        """Bytes by class on the fullest device of a layout.

        Tensor parallel splits what the architecture marks so; experts go to the expert-parallel group
        (in whole experts) or, where that is off, are split by tensor parallel, or over the whole group
        where the engine does so (`experts_over_group`); the rest is replicated.
        Pipeline stages hold whole layers, so the fullest has the rounded-up share.
        """
        slices = layout.tp * (layout.dp if experts_over_group else 1)
        expert_share = ceil(self.experts / layout.ep) / self.experts if layout.ep > 1 else 1 / slices
        shares = {"replicated": 1.0, "tensor": 1 / layout.tp, "expert": expert_share}
        device: Counter[str] = Counter()
        for (tensor_class, split), size in self.by_split.items():
            device[tensor_class] += ceil(size * shares[split] / layout.pp)
        return dict(device)


@lru_cache(maxsize=256)
def _weights(key: _Key) -> Weights:
    groups = tuple(_groups(key.architecture, key.checkpoint, key.draft))
    by_split: Counter[tuple[str, Split]] = Counter()
    for group in groups:
        by_split["draft" if group.draft else group.tensor_class, group.split] += group.bytes
    return Weights(groups, dict(by_split), key.architecture.numbers["experts"])


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """Hashable by identity of the architecture and the checkpoint's id: both are frozen files."""

    architecture: Architecture
    checkpoint: Checkpoint
    draft: Draft | None

    def __hash__(self) -> int:
        return hash((id(self.architecture), self.checkpoint.id, self.draft))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and (other.architecture, other.checkpoint, other.draft) == (
            self.architecture,
            self.checkpoint,
            self.draft,
        )


def weights(architecture: Architecture, checkpoint: Checkpoint, draft: Draft | None) -> Weights:
    """Bytes of a checkpoint with the draft module that is loaded, from the tensors' shapes and storage formats."""
    return _weights(_Key(architecture, checkpoint, draft))


def layer_ratios(architecture: Architecture) -> tuple[int, ...]:
    """KV compression ratio of each layer of the main stack."""
    pattern, layers = architecture.compress_ratios, architecture.numbers["layers"]
    middle = layers - len(pattern.start) - len(pattern.end)
    cycle = pattern.cycle or (0,)
    repeated = tuple(cycle[i % len(cycle)] for i in range(middle))
    return (*pattern.start, *repeated, *pattern.end)


def layer_set(architecture: Architecture, name: str, layers: int) -> tuple[int, ...]:
    """Numbers of the layers in a named set."""
    chosen = architecture.layer_sets[name]
    if chosen.ratio is not None:
        return tuple(i for i, ratio in enumerate(layer_ratios(architecture)) if ratio == chosen.ratio)
    if chosen.first is not None:
        return tuple(range(min(chosen.first, layers)))
    if chosen.after is not None:
        return tuple(range(chosen.after, layers))
    return tuple(chosen.indices or ())


def _groups(architecture: Architecture, checkpoint: Checkpoint, draft: Draft | None) -> Iterator[TensorGroup]:
    stacks = [(stack, False) for stack in architecture.stacks]
    if draft:
        stacks += [(stack, True) for stack in architecture.drafts[draft]]
    for stack, of_draft in stacks:
        layers = evaluate(stack.layers, architecture.numbers)
        for name in stack.blocks:
            block = architecture.blocks[name]
            count = len(layer_set(architecture, stack.where[name], layers)) if name in stack.where else layers
            for tensor in block.tensors:
                yield _group(architecture, checkpoint, stack.prefix, block, tensor, count, draft=of_draft)
    for block in (architecture.blocks[name] for name in checkpoint.adds):
        of_draft = block.tensor_class == "draft"
        if draft or not of_draft:
            for tensor in block.tensors:
                yield _group(architecture, checkpoint, "", block, tensor, 1, draft=of_draft)


def _group(
    architecture: Architecture,
    checkpoint: Checkpoint,
    prefix: str,
    block: Block,
    tensor: Tensor,
    layers: int,
    *,
    draft: bool,
) -> TensorGroup:
    numbers = architecture.numbers
    shape = tuple(evaluate(side, numbers) for side in tensor.shape)
    storage = stored_as(checkpoint, block.tensor_class, tensor, draft=draft)
    count = layers * evaluate(tensor.copies, numbers)
    one = tensor_bytes(shape, storage, fp8_block=numbers["fp8_block"], fp8_scale_bytes=numbers["fp8_scale_bytes"])
    return TensorGroup(
        block.tensor_class,
        tensor.part,
        prefix + tensor.name,
        tensor.split,
        storage,
        shape,
        count,
        one * count,
        draft,
    )


def stored_as(checkpoint: Checkpoint, tensor_class: str, tensor: Tensor, *, draft: bool) -> str:
    """Storage of a tensor in a checkpoint: the most special of its keys, else the native one."""
    keys = [f"{tensor_class}.{tensor.part}", tensor_class]
    if draft:
        keys = [f"draft.{tensor.part}", "draft", *keys]
    return next((checkpoint.storage[key] for key in keys if key in checkpoint.storage), tensor.storage)
