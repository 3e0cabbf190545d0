"""Architecture and checkpoint in; bytes by tensor class, and what a layout puts on one device, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod

from stowplan.fit.expression import evaluate
from stowplan.fit.held import Held
from stowplan.fit.storage import tensor_bytes
from stowplan.fit.units import GIB
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
class Share:
    """What one device holds of a tensor class."""

    bytes: int
    parts: tuple[tuple[int, str], ...]
    """Bytes of the checkpoint that are split in one way, and how."""

    @property
    def formula(self) -> str:
        """How the bytes come about, in numbers."""
        return " + ".join(f"{size / GIB:,.3f} GiB {how}" for size, how in self.parts)


_BLOCK_SCALED = frozenset({"fp8-block", "fp8-row"})
"""Storages that an engine may expand when it loads them."""
_FIRST: frozenset[str] = frozenset({"embed", "vision"})
_LAST: frozenset[str] = frozenset({"lm_head", "draft"})
"""Tensor classes before and after the layers: the first and the last pipeline stage have them."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Bytes of a checkpoint by (class, split), and its tensor groups; equal by identity, as they are cached."""

    groups: tuple[TensorGroup, ...]
    by_split: Mapping[tuple[str, Split], int]
    experts: int
    layers: int

    @property
    def total(self) -> int:
        """Bytes of all tensors: the checkpoint's size."""
        return sum(self.by_split.values())

    def on_device(self, layout: Layout, *, experts_over_group: bool) -> dict[str, int]:
        """Bytes by class on the fullest device of a layout."""
        return {name: share.bytes for name, share in self.shares(layout, experts_over_group=experts_over_group).items()}

    def shares(
        self, layout: Layout, *, experts_over_group: bool, over_group: frozenset[str] = frozenset()
    ) -> Mapping[str, Share]:
        """What the fullest device of a layout holds of each class, and how it comes about.

        Tensor parallel splits what the architecture marks so; experts go to the expert-parallel group
        (in whole experts) or, where that is off, are split by tensor parallel, or over the whole group
        where the engine does so (`experts_over_group`), as are the classes in `over_group`; the rest is replicated.
        Pipeline stages hold whole layers, so the fullest has the rounded-up share; what stands before and
        after the layers is on the first and on the last stage.
        """
        return _shares(
            self, (layout.tp, layout.dp, layout.ep, layout.pp), over_group, experts_over_group=experts_over_group
        )

    def pinned(self, classes: frozenset[str], devices: int) -> dict[str, Share]:
        """What classes that a host pins once take of each of its devices, where both share one memory."""
        sizes: Counter[str] = Counter()
        for (name, _), size in self.by_split.items():
            if name in classes:
                sizes[name] += size
        how = f"/ {devices} devices that share the memory in which the host pins it"
        return {name: Share(ceil(size / devices), ((size, how),)) for name, size in sizes.items()}


@lru_cache(maxsize=4096)
def _shares(
    held: Weights,
    layout: tuple[int, int, int, int],
    over_group: frozenset[str],
    *,
    experts_over_group: bool,
) -> Mapping[str, Share]:
    tp, dp, ep, pp = layout
    staged = ceil(held.layers / pp)
    device: dict[str, Share] = {}
    for (tensor_class, split), size in held.by_split.items():
        share, how = 1.0, "on each rank"
        if split == "expert" and ep > 1:
            own = ceil(held.experts / ep)
            share, how = own / held.experts, f"x {own} of {held.experts} experts (ep {ep})"
        elif split != "replicated":
            whole = tensor_class in over_group or (split == "expert" and experts_over_group)
            by = tp * (dp if whole else 1)
            share, how = 1 / by, f"/ {by} (tp {tp}{f' x dp {by // tp}' if by > tp else ''})"
        if pp > 1 and tensor_class not in _FIRST | _LAST:
            share, how = share * staged / held.layers, f"{how} x {staged} of {held.layers} layers (pp {pp})"
        before = device.get(tensor_class, Share(0, ()))
        device[tensor_class] = Share(before.bytes + ceil(size * share), (*before.parts, (size, how)))
    return device if pp == 1 else _fullest_stage(device)


def _fullest_stage(device: Mapping[str, Share]) -> Mapping[str, Share]:
    """Without the lighter of the two ends: no device has both."""
    ends = [sum(device[name].bytes for name in end if name in device) for end in (_FIRST, _LAST)]
    lighter = _LAST if ends[0] > ends[1] else _FIRST
    return {name: share for name, share in device.items() if name not in lighter}


@lru_cache(maxsize=256)
def _weights(
    held: Held[Architecture], checkpoint: Held[Checkpoint], draft: Draft | None, loaded: tuple[tuple[str, str], ...]
) -> Weights:
    architecture = held.value
    groups = tuple(_groups(architecture, checkpoint.value, draft, dict(loaded)))
    by_split: Counter[tuple[str, Split]] = Counter()
    for group in groups:
        by_split["draft" if group.draft else group.tensor_class, group.split] += group.bytes
    numbers = architecture.numbers
    return Weights(groups, dict(by_split), numbers["experts"], evaluate("layers", numbers))


def weights(
    architecture: Architecture,
    checkpoint: Checkpoint,
    draft: Draft | None,
    loaded: Mapping[str, str] | None = None,
) -> Weights:
    """Bytes of a checkpoint with the draft module that is loaded, from the tensors' shapes and storage formats.

    `loaded` says which tensors (by class and part) an engine expands to which storage when it loads them.
    """
    return _weights(Held(architecture), Held(checkpoint), draft, tuple(sorted((loaded or {}).items())))


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


def _groups(
    architecture: Architecture, checkpoint: Checkpoint, draft: Draft | None, loaded: Mapping[str, str]
) -> Iterator[TensorGroup]:
    stacks = [(stack, False) for stack in architecture.stacks]
    if draft:
        stacks += [(stack, True) for stack in architecture.drafts[draft]]
    for stack, of_draft in stacks:
        layers = evaluate(stack.layers, architecture.numbers)
        for name in stack.blocks:
            block = architecture.blocks[name]
            count = len(layer_set(architecture, stack.where[name], layers)) if name in stack.where else layers
            for tensor in block.tensors:
                yield _group(architecture, checkpoint, stack.prefix, block, tensor, count, loaded, draft=of_draft)
    for block in (architecture.blocks[name] for name in checkpoint.adds):
        of_draft = block.tensor_class == "draft"
        if draft or not of_draft:
            for tensor in block.tensors:
                yield _group(architecture, checkpoint, "", block, tensor, 1, loaded, draft=of_draft)


def _group(
    architecture: Architecture,
    checkpoint: Checkpoint,
    prefix: str,
    block: Block,
    tensor: Tensor,
    layers: int,
    loaded: Mapping[str, str],
    *,
    draft: bool,
) -> TensorGroup:
    numbers = architecture.numbers
    shape = tuple(evaluate(side, numbers) for side in tensor.shape)
    storage = stored_as(checkpoint, block.tensor_class, tensor, draft=draft)
    if storage in _BLOCK_SCALED:
        storage = loaded.get(f"{block.tensor_class}.{tensor.part}", storage)
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
