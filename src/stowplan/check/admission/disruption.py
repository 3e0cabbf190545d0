"""Disruption budgets."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import amount, int_or_percent
from stowplan.check.objects import Object


@object_check(
    "M193",
    "PodDisruptionBudget",
    reason="The API server refuses a budget that bounds both the available and the unavailable pods, or by an impossible number.",
    source="Kubernetes API validation, pkg/apis/policy/validation: ValidatePodDisruptionBudgetSpec.",
    bad=thing(
        "policy/v1",
        "PodDisruptionBudget",
        "spec:\n  minAvailable: 1\n  maxUnavailable: 1\n  selector: {matchLabels: {app: engine}}",
    ),
    good=thing(
        "policy/v1",
        "PodDisruptionBudget",
        "spec:\n  maxUnavailable: 1\n  selector: {matchLabels: {app: engine}}",
    ),
)
def disruption_budget(item: Object, _context: Context) -> Iterator[Problem]:
    """A disruption budget has one possible bound."""
    given = [field for field in ("minAvailable", "maxUnavailable") if item.spec.get(field) is not None]
    if len(given) > 1:
        yield Problem(
            ("spec", "maxUnavailable"),
            "minAvailable and maxUnavailable exclude each other",
            "remove one of them",
            key=True,
        )
    for field in given:
        value = item.spec[field]
        if wrong := int_or_percent(value):
            yield Problem(("spec", field), f"{field} {wrong}")
        elif isinstance(value, str) and (number := amount(value)) is not None and number > 100:  # noqa: PLR2004 - per cent
            yield Problem(("spec", field), f"{field} {value} is more than 100%")
