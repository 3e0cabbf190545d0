"""Model variants: the architecture as tensors with symbolic shapes, checkpoints, draft modules."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stowplan.profiles.accuracy import Accuracy
from stowplan.profiles.fact import Date, Fact, Items, Model, Name, Sourced, Text
from stowplan.profiles.hardware import NumberFormat

Split = Literal["replicated", "tensor", "expert"]
Storage = Literal[
    "bf16",
    "f32",
    "int64",
    "fp8-block",
    "fp8-row",
    "mxfp8",
    "mxfp4",
    "nvfp4",
    "int8-row",
    "int8-channel",
    "int8-channel-offset",
    "int4-channel-offset",
    "int4-group",
    "int4-group128",
]
TensorClass = Literal[
    "routed_experts",
    "shared_experts",
    "attention",
    "indexer",
    "compressor",
    "router",
    "mhc",
    "norms",
    "embed",
    "lm_head",
    "engram",
    "engram_projection",
    "vision",
    "draft",
]
Draft = Literal["mtp", "dspark"]
VariantKind = Literal["chat", "base", "vision"]
Symbol = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Expression = Annotated[str, Field(pattern=r"^[a-z0-9_ +*/()]+$")] | int


class LayerSet(Model):
    """Some layers of a stack: exactly one of the ways to say which."""

    ratio: int | None = None
    """Layers whose KV compression ratio this is."""
    first: int | None = None
    after: int | None = None
    indices: Items[int] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [v for v in (self.ratio, self.first, self.after, self.indices) if v is not None]
        if len(given) != 1:
            raise ValueError("a layer set says exactly one of ratio, first, after, indices")
        return self


class Tensor(Model):
    """One parameter tensor, repeated over the layers of its block."""

    name: Text
    shape: Items[Expression]
    """Dimensions as expressions over the architecture's numbers: [out, in]."""
    storage: Storage = "bf16"
    """Format in the native checkpoint."""
    part: Symbol
    """The finer class that quantization policies name."""
    split: Split = "replicated"
    copies: Expression = 1
    """How many tensors of this shape one layer holds (for example one for each expert)."""


class Block(Model):
    """Tensors of one tensor class that stand together in a layer."""

    tensor_class: TensorClass
    tensors: Items[Tensor]


class Stack(Model):
    """Layers built from blocks; `where` limits a block to a layer set."""

    prefix: str
    """Name before each tensor's; `{layer}` is the layer's number."""
    layers: Expression
    blocks: Items[Symbol]
    where: dict[Symbol, Symbol] = {}


class CompressRatios(Model):
    """KV compression ratio by layer: `start`, then `cycle` repeated, then `end`."""

    start: Items[int] = ()
    cycle: Items[int] = ()
    end: Items[int] = ()


class KvRecord(Fact[int]):
    """Bytes of one stored cache entry."""


class KvCache(Model):
    """What one sequence keeps: records by cache format, and the compressor's running state."""

    window: int
    """Tokens of the sliding window that every layer keeps."""
    main: dict[Symbol, KvRecord]
    """Bytes of one latent entry, by cache format."""
    window_entry: dict[Symbol, KvRecord] = {}
    """Bytes of one sliding-window entry beside `main`, where it is not the same record."""
    index: dict[Symbol, KvRecord]
    """Bytes of one indexer entry, by cache format."""
    index_layers: Symbol | None = None
    """Layer set that keeps indexer entries; none: all layers with a ratio that has them."""
    main_layers: Symbol | None = None
    """Layer set that keeps compressed entries; none: every layer with a compression ratio."""
    state: dict[str, Fact[int]]
    """Compressor state of one layer with that ratio, bytes for each sequence."""
    state_entries: dict[str, int] = {}
    """Raw tokens that the compressor state of that ratio covers."""


class Rename(Model):
    """One step from the native name of a module to another spelling: a regular expression and what it becomes."""

    pattern: Text
    to: str


class Spelling(Sourced):
    """How another family of programs calls the modules; the steps are taken in order."""

    renames: Items[Rename]
    without: Items[TensorClass] = ()
    """Classes that such a model does not hold."""


class Architecture(Sourced):
    """The numbers of one model family and the tensors that they shape."""

    numbers: dict[Symbol, int]
    compress_ratios: CompressRatios
    layer_sets: dict[Symbol, LayerSet]
    blocks: dict[Symbol, Block]
    stacks: Items[Stack]
    drafts: dict[Draft, Items[Stack]] = {}
    fused: Items[Items[Text]] = ()
    """Modules of one layer that engines read as one: ends of their native names; all have one format."""
    spellings: dict[Name, Spelling] = {}
    """By family of programs; the names of the tensors here are the native ones."""
    kv: KvCache


class Size(Sourced):
    """A published size of a checkpoint."""

    bytes: int
    exact: bool
    """False where the source rounds."""


class Checkpoint(Sourced):
    """Published weights of a variant, by tensor class or `class.part`."""

    id: Text
    hubs: Items[Literal["huggingface", "modelscope"]]
    producer: Text
    format: Name
    """One word for rules and people: native, w8a8, w4a8, nvfp4, bf16 ..."""
    compute: Items[NumberFormat]
    """Number formats that the chip must run (natively or by its fallback)."""
    storage: dict[str, Storage] = {}
    """Where it differs from the native format: `class` or `class.part` to storage."""
    adds: Items[Symbol] = ()
    """Blocks of the architecture that it holds beside those of the native checkpoint."""
    draft: Draft | None
    families: Items[Name] = ()
    """Chip families that it was made for; empty: any that runs its formats."""
    converted: Name | None = None
    """Made by this quantizer from the native checkpoint and not published: it must be run."""
    made_by: Name | None = None
    """The quantizer that its publisher ran, where that is known."""
    policy: Name | None = None
    """The policy of that quantizer."""
    read_by: dict[Name, Text] = {}
    """Engine to its loader that reads it, where the quantizer is not known."""
    only_pinned: bool = False
    """Planned only where a pairing names it: nobody has published that it runs."""
    accuracy: Items[Accuracy] = ()
    size: Size | None = None
    revision: str | None = None
    """Commit to download; null: not known here, the site pins it."""


class VariantSpec(Model):
    """One released snapshot; only what differs from its family's architecture is said here."""

    title: Text
    family: Name
    released: Date
    license: Text
    kind: VariantKind
    active_parameters: Fact[int]
    max_context: Fact[int]
    architecture: Architecture | None = None
    architecture_of: Name | None = None
    """The variant whose architecture this one has."""
    checkpoints: Items[Checkpoint]

    def checkpoint(self, id: str) -> Checkpoint | None:  # noqa: A002 - the word of the files
        """The checkpoint of that id."""
        return next((c for c in self.checkpoints if c.id == id), None)

    @property
    def native(self) -> Checkpoint:
        """The checkpoint that the variant was released with."""
        return next(c for c in self.checkpoints if c.format == "native")

    @model_validator(mode="after")
    def _one_architecture(self) -> Self:
        if (self.architecture is None) == (self.architecture_of is None):
            raise ValueError("a variant gives either its architecture or architectureOf")
        return self
