"""What one sequence keeps in the KV cache: layers by compression ratio and bytes of their entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

from stowplan.fit.expression import evaluate
from stowplan.fit.held import Held
from stowplan.fit.weights import layer_ratios, layer_set
from stowplan.profiles.variant import Architecture, Draft


@dataclass(frozen=True, slots=True)
class Cache:
    """KV layout of a variant under one pair of cache formats."""

    layers: int
    """Layers with a sliding window, those of the draft module included."""
    drafted: int
    """Layers of the draft module among them."""
    window: int
    main: int
    """Bytes of one latent entry."""
    window_entry: int
    """Bytes of one entry of the sliding window."""
    index: int
    """Bytes of one indexer entry."""
    main_layers: Mapping[int, int]
    """Compression ratio to the number of layers that keep compressed entries."""
    index_layers: Mapping[int, int]
    state: Mapping[int, int]
    """Compression ratio to the compressor's running state, bytes of one layer."""
    state_entries: Mapping[int, int]
    """Compression ratio to the raw tokens that the state covers."""

    def payload(self, tokens: int) -> int:
        """Bytes that a sequence of that many tokens needs, without any paging."""
        compressed = sum(n * (tokens // ratio) * self.main for ratio, n in self.main_layers.items())
        indexed = sum(n * (tokens // ratio) * self.index for ratio, n in self.index_layers.items())
        windows = self.layers * min(tokens, self.window) * self.window_entry
        return compressed + indexed + windows + self.state_bytes

    def stage(self, stages: int) -> Cache:
        """The fullest of so many pipeline stages: each kind of layer divides over them, rounded up."""
        if stages == 1:
            return self
        return replace(
            self,
            layers=ceil((self.layers - self.drafted) / stages) + self.drafted,
            main_layers={ratio: ceil(n / stages) for ratio, n in self.main_layers.items()},
            index_layers={ratio: ceil(n / stages) for ratio, n in self.index_layers.items()},
        )

    def widened(self, layers: int) -> Cache:
        """The same with so many more layers that keep a window only."""
        return replace(self, layers=self.layers + layers)

    @property
    def state_bytes(self) -> int:
        """Running state of all compressors, bytes for each sequence."""
        return sum(n * self.state.get(ratio, 0) for ratio, n in self.main_layers.items())

    @property
    def bytes_per_token(self) -> float:
        """Growth for each token of a long sequence."""
        main = sum(n * self.main / ratio for ratio, n in self.main_layers.items())
        return main + sum(n * self.index / ratio for ratio, n in self.index_layers.items())


@lru_cache(maxsize=256)
def _cache(architecture: Held[Architecture], main: str, index: str, draft: Draft | None) -> Cache:
    spec, arch = architecture.value.kv, architecture.value
    ratios = layer_ratios(arch)
    layers = evaluate("layers", arch.numbers)
    main_layers = range(layers) if spec.main_layers is None else layer_set(arch, spec.main_layers, layers)
    index_layers = () if spec.index_layers is None else layer_set(arch, spec.index_layers, layers)
    drafted = (
        sum(evaluate(s.layers, arch.numbers) for s in arch.drafts.get(draft, ()) if "{layer}" in s.prefix)
        if draft
        else 0
    )
    return Cache(
        layers=layers + drafted,
        drafted=drafted,
        window=spec.window,
        main=spec.main[main].value or 0,
        window_entry=spec.window_entry.get(main, spec.main[main]).value or 0,
        index=spec.index[index].value or 0,
        main_layers=Counter(ratios[i] for i in main_layers if ratios[i]),
        index_layers=Counter(ratios[i] for i in index_layers if ratios[i]),
        state={int(ratio): fact.value or 0 for ratio, fact in spec.state.items()},
        state_entries={int(ratio): entries for ratio, entries in spec.state_entries.items()},
    )


def cache(architecture: Architecture, *, main: str, index: str, draft: Draft | None) -> Cache:
    """The KV layout with these cache formats; `draft` is the module that runs, if any."""
    return _cache(Held(architecture), main, index, draft)
