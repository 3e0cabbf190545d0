"""What the published policies of quantizers agree on: classes that each quantizes, and classes that none does."""

from __future__ import annotations

from stowplan.catalog import Catalog
from stowplan.check.quantization.coverage import Coverage
from stowplan.plan.quantization import said_of
from stowplan.profiles.quantizer import KEEPS, Policy


def never_quantized(coverage: Coverage, catalog: Catalog) -> frozenset[str]:
    """`class.part` of matrices that no policy of any quantizer quantizes, and that the source holds plain."""
    policies = [policy for spec in catalog.quantizers.values() for policy in spec.policies]
    plain = {m.key for m in coverage.model.sample if m.linear and m.storage in ("bf16", "f32")}
    return frozenset(key for key in plain if not any(_quantizes(policy, key) for policy in policies))


def always_quantized(coverage: Coverage, catalog: Catalog) -> frozenset[str]:
    """`class.part` of matrices that each policy quantizes whose output the same loaders read."""
    read_by, draft = coverage.file.spec.read_by, coverage.model.draft or "none"
    alike = [p for spec in catalog.quantizers.values() if spec.read_by == read_by for p in spec.policies]
    of_draft = [policy for policy in alike if draft in policy.drafts]
    keys = {module.key for module in coverage.model.sample if module.linear}
    found = {key: of_draft if key.startswith("draft.") else alike for key in keys}
    return frozenset(key for key, known in found.items() if known and all(_quantizes(p, key) for p in known))


def _quantizes(policy: Policy, key: str) -> bool:
    tensor_class, _, part = key.partition(".")
    return said_of(policy, tensor_class, part, unnamed=KEEPS[0]) not in KEEPS
