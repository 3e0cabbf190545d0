"""Weight bytes come from tensor shapes; they reproduce what is published."""

from __future__ import annotations

from collections import Counter

import pytest
from conftest import InSummary

from stowplan.catalog import Catalog
from stowplan.fit.weights import weights
from stowplan.profiles.recipe import Layout
from stowplan.profiles.variant import Checkpoint

TO_A_THOUSANDTH = (
    "deepseek-ai/DeepSeek-V4-Flash",
    "deepseek-ai/DeepSeek-V4-Pro",
    "deepseek-ai/DeepSeek-V4-Pro-DSpark",
    "canada-quant/DeepSeek-V4-Pro-NVFP4-FP8-MTP",
    "MJPansa/DeepSeek-V4-Flash-0731-NVFP4",
)
"""Published with rounding, and met to 0.1 % all the same."""

CLASSES = {
    "deepseek-v4-flash": {
        "routed_experts": 147169738752,
        "shared_experts": 1082196480,
        "attention": 4599335040,
        "compressor_indexer": 801028608,
        "mhc": 135537756,
        "router": 108834816,
        "norms": 903168,
        "embed": 1059061760,
        "lm_head": 1059061760,
    },
    "deepseek-v4-pro": {
        "routed_experts": 822054223872,
        "shared_experts": 4029923520,
        "attention": 18294573440,
        "compressor_indexer": 1969863168,
        "mhc": 336278412,
        "router": 354511872,
        "norms": 2114560,
        "embed": 1853358080,
        "lm_head": 1853358080,
    },
}
DRAFTS = {
    ("deepseek-v4-flash", "mtp"): 3593787736,
    ("deepseek-v4-flash", "dspark"): 10862846984,
    ("deepseek-v4-pro", "mtp"): 13956587672,
    ("deepseek-v4-pro", "dspark"): 41847007496,
}


def published(catalog: Catalog) -> list[tuple[str, Checkpoint]]:
    return [(name, c) for name, spec in catalog.variants.items() for c in spec.checkpoints if c.size]


def computed(catalog: Catalog, variant: str, checkpoint: Checkpoint) -> int:
    return weights(catalog.architecture(variant), checkpoint, checkpoint.draft).total


def allowed(checkpoint: Checkpoint) -> float:
    exact = checkpoint.size is not None and checkpoint.size.exact
    return 0.001 if exact or checkpoint.id in TO_A_THOUSANDTH else 0.01


def test_shapes_reproduce_every_published_size(catalog: Catalog, in_summary: InSummary) -> None:
    wrong = []
    in_summary(f"{'size of a checkpoint':46} {'computed':>17} {'published':>17} {'error':>9}")
    for variant, checkpoint in published(catalog):
        assert checkpoint.size
        total, said = computed(catalog, variant, checkpoint), checkpoint.size.bytes
        error = total / said - 1
        exactly = "" if checkpoint.size.exact else "  rounded"
        in_summary(f"{checkpoint.id:46} {total:17,} {said:17,} {error:+9.4%}{exactly}")
        if abs(error) > allowed(checkpoint):
            wrong.append((checkpoint.id, f"{error:+.4%}"))
    assert wrong == []


def test_enough_sizes_are_published_for_the_shapes_to_be_tested(catalog: Catalog) -> None:
    known = {checkpoint.id: checkpoint.size for _, checkpoint in published(catalog)}
    assert {*TO_A_THOUSANDTH} <= {*known}
    assert sum(1 for size in known.values() if size and size.exact) >= 6


@pytest.mark.parametrize("variant", CLASSES)
def test_each_class_of_tensors_has_its_known_bytes(variant: str, catalog: Catalog) -> None:
    architecture, checkpoint = catalog.architecture(variant), catalog.variants[variant].checkpoints[0]
    sums: Counter[str] = Counter()
    for (tensor_class, _), size in weights(architecture, checkpoint, None).by_split.items():
        sums["compressor_indexer" if tensor_class in ("compressor", "indexer") else tensor_class] += size
    assert dict(sums) == CLASSES[variant]


@pytest.mark.parametrize(("variant", "draft"), DRAFTS)
def test_each_draft_module_has_its_known_bytes(variant: str, draft: str, catalog: Catalog) -> None:
    architecture, checkpoint = catalog.architecture(variant), catalog.variants[variant].checkpoints[0]
    with_draft = weights(architecture, checkpoint, draft).total  # type: ignore[arg-type]
    assert with_draft - weights(architecture, checkpoint, None).total == DRAFTS[variant, draft]


def test_flash_has_its_published_parameters(catalog: Catalog) -> None:
    architecture = catalog.architecture("deepseek-v4-flash")
    native = catalog.variants["deepseek-v4-flash"].checkpoints[0]
    total = sum(group.parameters for group in weights(architecture, native, None).groups)
    assert total == pytest.approx(284.33e9, rel=0.001)


def test_a_checkpoint_holds_the_blocks_that_it_adds_to_its_draft(catalog: Catalog) -> None:
    """QuaRot rotates the trunk's embedding and head, so that the W8A8 checkpoint of V4.1 repeats both for the draft."""
    architecture = catalog.architecture("deepseek-v4.1-flash")
    made = next(c for c in catalog.variants["deepseek-v4.1-flash"].checkpoints if c.adds == ("draft_vocabulary",))
    plain = made.model_copy(update={"adds": (), "id": "plain"})
    vocabulary = 2 * 2 * architecture.numbers["vocab"] * architecture.numbers["hidden"]
    assert weights(architecture, made, "dspark").total - weights(architecture, plain, "dspark").total == vocabulary
    assert weights(architecture, made, None).total == weights(architecture, plain, None).total


def test_a_tensor_of_the_published_w8a8_has_scale_and_offset(catalog: Catalog) -> None:
    """The published tables list 142,494 tensors of 47,498 linears, and 56 floating ones in the draft."""
    architecture = catalog.architecture("deepseek-v4.1-flash")
    made = next(c for c in catalog.variants["deepseek-v4.1-flash"].checkpoints if c.format == "w8a8")
    groups = weights(architecture, made, "dspark").groups
    assert 3 * sum(g.count for g in groups if g.storage == "int8-channel-offset") == 142_494
    assert sum(g.count for g in groups if g.draft and not g.storage.startswith("int8")) == 56


@pytest.mark.parametrize("layout", [(1, 8, 8), (8, 1, 8), (8, 1, 1), (2, 4, 8)])
def test_all_devices_together_hold_no_less_than_the_checkpoint(layout: tuple[int, int, int], catalog: Catalog) -> None:
    tp, dp, ep = layout
    held = weights(catalog.architecture("deepseek-v4-pro"), catalog.variants["deepseek-v4-pro"].checkpoints[0], "mtp")
    on_device = held.on_device(Layout(tp=tp, dp=dp, ep=ep, pp=1), experts_over_group=False)
    assert sum(on_device.values()) * tp * dp >= held.total
    assert sum(on_device.values()) < held.total


def test_expert_parallel_holds_whole_experts(catalog: Catalog) -> None:
    architecture, native = (
        catalog.architecture("deepseek-v4-flash"),
        catalog.variants["deepseek-v4-flash"].checkpoints[0],
    )
    held = weights(architecture, native, None)
    experts = held.on_device(Layout(tp=1, dp=24, ep=24, pp=1), experts_over_group=False)["routed_experts"]
    assert (
        experts
        == held.on_device(Layout(tp=1, dp=1, ep=1, pp=1), experts_over_group=False)["routed_experts"] * 11 // 256
    )


def test_an_engine_may_split_experts_over_the_whole_group(catalog: Catalog) -> None:
    held = weights(
        catalog.architecture("deepseek-v4-flash"), catalog.variants["deepseek-v4-flash"].checkpoints[0], None
    )
    ranks = Layout(tp=1, dp=4, ep=1, pp=1)
    spread = held.on_device(ranks, experts_over_group=True)["routed_experts"]
    assert spread * 4 == held.on_device(ranks, experts_over_group=False)["routed_experts"]
