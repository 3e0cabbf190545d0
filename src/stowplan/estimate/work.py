"""Architecture, weights and cache in; what one token costs on a chip, in seconds at the peak and in bytes, out.

Each class of tensors runs at the rate of its own storage format, so that the rate of a step is a mixture
and never the one of its slowest class. Attention is counted by type: the window, entries that an indexer
selects, the indexer's own scan, and entries that are all read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stowplan.fit.cache import Cache
from stowplan.fit.expression import evaluate
from stowplan.fit.weights import TensorGroup, Weights, layer_ratios, layer_set
from stowplan.profiles.hardware import ChipSpec, Rate
from stowplan.profiles.recipe import Layout
from stowplan.profiles.variant import Architecture, Draft

LOOKED_UP = frozenset({"embed", "engram", "vision"})
"""Classes of which a step of text touches rows only, or nothing."""
_FORMATS: Mapping[str, tuple[str, Rate]] = {
    "fp8-block": ("fp8", "fp8"),
    "fp8-row": ("fp8", "fp8"),
    "mxfp8": ("mxfp8", "fp8"),
    "mxfp4": ("mxfp4", "fp4"),
    "nvfp4": ("nvfp4", "fp4"),
    "int8-channel": ("int8", "int8"),
    "int4-channel": ("int8", "int8"),
}
"""Storage to the operands' format and its rate; the rest computes in 16 bit. Four-bit integers meet 8-bit activations."""
_BYTES_OF_16_BIT = 2


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds for one token at the peak: what every rank of tensor parallel repeats, and what they divide."""

    repeated: float = 0.0
    divided: float = 0.0

    def on(self, tp: int) -> float:
        """On one of that many ranks."""
        return self.repeated + self.divided / tp


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of weights on one device: read at every step, and experts, of which a step reads those that it is routed to."""

    fixed: float
    experts: float
    draft: float
    """Of one pass, the output projection included."""
    draft_experts: float


@dataclass(frozen=True)
class Work:
    """What one stack asks of a chip for each token, apart from layout and load."""

    architecture: Architecture
    weights: Weights
    chip: ChipSpec
    draft: Draft | None
    experts_over_group: bool
    """Without expert parallel, experts are split over tensor x data parallel."""

    def rate(self, storage: str) -> float:
        """FLOP/s at which operands of that storage multiply; 0 where the catalogue does not know."""
        operand, name = _FORMATS.get(storage, ("bf16", "bf16"))
        known = self.chip.dense_rates.get(name) if operand in self.chip.formats.native else None
        fact = known if known and known.value else self.chip.dense_rates.get("bf16")
        return (fact.value or 0.0) * 1e12 if fact else 0.0

    @cached_property
    def known(self) -> bool:
        """Whether the catalogue has the rates that every estimate stands on."""
        return bool(self.rate("bf16") and self.bandwidth)

    @cached_property
    def bandwidth(self) -> float:
        """Bytes/s of one device's memory; 0 where the catalogue does not know."""
        return (self.chip.memory_bandwidth.value or 0.0) * 1e9

    @cached_property
    def layers(self) -> int:
        """Layers of the main stack."""
        return evaluate("layers", self.architecture.numbers)

    @cached_property
    def draft_layers(self) -> int:
        """Layers of the draft module that runs."""
        stacks = self.architecture.drafts.get(self.draft, ()) if self.draft else ()
        return sum(evaluate(s.layers, self.architecture.numbers) for s in stacks if "{layer}" in s.prefix)

    @cached_property
    def prefill_share(self) -> float:
        """Layers that a prompt passes: an encoder-decoder leaves out its second half."""
        return self.architecture.numbers.get("encoder_layers", self.layers) / self.layers

    @cached_property
    def linear(self) -> Span:
        """Matrix multiplications of the main stack."""
        return self._span(draft=False)

    @cached_property
    def draft_linear(self) -> Span:
        """Those of one pass of the draft module, the output projection of its tokens included."""
        drafted, head = self._span(draft=True), self._head
        return Span(drafted.repeated, drafted.divided + head) if self.draft else Span()

    @cached_property
    def _head(self) -> float:
        return sum(self._seconds(g) for g in self.weights.groups if g.tensor_class == "lm_head" and not g.draft)

    def _span(self, *, draft: bool) -> Span:
        kinds: Counter[str] = Counter()
        for group in self.weights.groups:
            if group.draft == draft and group.tensor_class not in LOOKED_UP:
                kinds["repeated" if group.split == "replicated" else "divided"] += self._seconds(group)  # type: ignore[assignment]
        return Span(float(kinds["repeated"]), float(kinds["divided"]))

    def _seconds(self, group: TensorGroup) -> float:
        if len(group.shape) < 2 or group.storage == "int64":  # noqa: PLR2004 - a vector multiplies nothing
            return 0.0
        numbers = self.architecture.numbers
        share = 1.0
        if group.split == "expert":
            of, taken = ("draft_experts", "draft_experts_per_token") if group.draft else ("", "")
            share = numbers.get(taken, numbers["experts_per_token"]) / numbers.get(of, numbers["experts"])
        rate = self.rate(group.storage)
        return 2.0 * group.parameters * share / rate if rate else 0.0

    @cached_property
    def _attending(self) -> Counter[int]:
        """Compression ratio to the number of layers that attend to compressed entries."""
        return Counter(r for r in layer_ratios(self.architecture) if r)

    @cached_property
    def _scanning(self) -> tuple[tuple[int, bool], ...]:
        """Layers that scan the index: compression ratio, and whether a first stage has narrowed the scan."""
        arch, ratios = self.architecture, layer_ratios(self.architecture)
        name = "index_owners" if "index_owners" in arch.layer_sets else arch.kv.index_layers
        narrowed = arch.numbers.get("candidate_layer", self.layers)
        scanning = layer_set(arch, name, self.layers) if name else ()
        return tuple((ratios[i], i > narrowed) for i in scanning if ratios[i])

    @cached_property
    def _selected(self) -> frozenset[int]:
        return frozenset(ratio for ratio, _ in self._scanning)

    def entries(self, length: float) -> tuple[float, float]:
        """Entries that a token attends to and that its index scans, over all layers, at that length of the sequence."""
        numbers = self.architecture.numbers
        attended = self.layers * min(length, self.architecture.kv.window)
        for ratio, layers in self._attending.items():
            found = length / ratio
            attended += layers * (min(found, numbers["index_topk"]) if ratio in self._selected else found)
        most = numbers.get("candidate_blocks", 0) * numbers.get("candidate_block", 0)
        scanned = sum(min(length / r, most) if narrow else length / r for r, narrow in self._scanning)
        return attended, scanned

    @cached_property
    def _entry(self) -> Span:
        """Seconds for one entry: its index scanned, which each rank does for itself, and attended to by all heads."""
        numbers = self.architecture.numbers
        scan = 2.0 * numbers.get("index_heads", 0) * numbers.get("index_dim", 0) / self.rate("fp8-block")
        return Span(scan, 4.0 * numbers["heads"] * numbers["head_dim"] / self.rate("bf16"))

    def attention(self, length: float) -> Span:
        """Attention of one token at that length: heads are divided, the index scan is repeated."""
        attended, scanned = self.entries(length)
        return Span(self._entry.repeated * scanned, self._entry.divided * attended)

    def cache_read(self, kept: Cache, length: float) -> float:
        """Bytes of the cache that one decode step reads for one request."""
        attended, scanned = self.entries(length)
        window = self.layers * min(length, kept.window)
        return window * kept.window_entry + (attended - window) * kept.main + scanned * kept.index

    @cached_property
    def _draft_expert_share(self) -> float:
        sizes = {split: size for (name, split), size in self.weights.by_split.items() if name == "draft"}
        return sizes.get("expert", 0) / sum(sizes.values()) if sizes else 0.0

    def held(self, layout: Layout) -> Held:
        """What one device of a layout holds, as a step reads it."""
        device = self.weights.on_device(layout, experts_over_group=self.experts_over_group)
        routed, drafted = device.get("routed_experts", 0), device.get("draft", 0)
        fixed = sum(size for name, size in device.items() if name not in LOOKED_UP) - routed - drafted
        head = device.get("lm_head", 0) if self.draft else 0
        experts = drafted * self._draft_expert_share
        return Held(fixed, routed, drafted - experts + head, experts)

    def touched(self, layout: Layout, tokens: float) -> float:
        """Share of the routed experts that a step over that many tokens of the replica reads."""
        numbers = self.architecture.numbers
        seen = tokens if layout.ep > 1 or self.experts_over_group else tokens / layout.dp
        return 1.0 - float((1 - numbers["experts_per_token"] / numbers["experts"]) ** seen)

    @property
    def row(self) -> int:
        """Bytes of one token's hidden state in 16 bit."""
        return self.architecture.numbers["hidden"] * _BYTES_OF_16_BIT
