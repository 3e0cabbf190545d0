"""A variant in, what only its tensors' shapes can say out: sizes, precision by class, cache bytes of a sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stowplan.catalog import Catalog
from stowplan.fit.cache import cache
from stowplan.fit.weights import weights
from stowplan.profiles.variant import Architecture, Checkpoint, Draft

LONG = 2**20
"""Tokens of the sequence that caches are compared at."""


def checkpoints(catalog: Catalog, variant: str | None = None) -> Iterator[dict[str, Any]]:
    """Every checkpoint, or those of one variant: the published size where there is one, and the computed one."""
    for name in [variant] if variant else catalog.variants:
        for checkpoint in catalog.variants[name].checkpoints:
            computed = weights(catalog.architecture(name), checkpoint, checkpoint.draft).total
            size = checkpoint.size
            yield {
                "name": checkpoint.id,
                "variant": name,
                "format": checkpoint.format,
                "producer": checkpoint.producer,
                "draft": checkpoint.draft,
                "gb": round((size.bytes if size else computed) / 1e9, 1),
                "size": "computed" if size is None else "published" if size.exact else "published, rounded",
                "computedGb": round(computed / 1e9, 1),
                "computesIn": list(checkpoint.compute),
                "hubs": list(checkpoint.hubs),
            }


def precision(architecture: Architecture, checkpoint: Checkpoint) -> dict[str, dict[str, int]]:
    """Tensor class to its storage formats, each with its bytes, the largest first."""
    classes: dict[str, Counter[str]] = {}
    for group in weights(architecture, checkpoint, checkpoint.draft).groups:
        name = "draft" if group.draft else group.tensor_class
        classes.setdefault(name, Counter())[group.storage] += group.bytes
    return {name: dict(sizes.most_common()) for name, sizes in classes.items()}


def draft_bytes(architecture: Architecture, native: Checkpoint) -> dict[Draft, int]:
    """Each draft module of a family with its bytes in the native format."""
    without = weights(architecture, native, None).total
    return {draft: weights(architecture, native, draft).total - without for draft in architecture.drafts}


def caches(architecture: Architecture) -> Iterator[dict[str, Any]]:
    """KV cache of one sequence in each pair of formats whose records are known: growth, and the whole at `LONG` tokens."""
    for main, record in architecture.kv.main.items():
        for index, indexed in architecture.kv.index.items():
            if record.value is not None and indexed.value is not None:
                kept = cache(architecture, main=main, index=index, draft=None)
                yield {
                    "main": main,
                    "index": index,
                    "bytesPerToken": kept.bytes_per_token,
                    "bytesOfLongSequence": kept.payload(LONG),
                }
