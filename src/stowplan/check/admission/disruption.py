"""Disruption budgets and autoscalers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import (
    amount,
    int_or_percent,
    integer,
    path_segment,
    short,
    text,
)
from stowplan.check.objects import Object, Path, mapping, sequence

_TARGET = "spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: engine}\n"
_METRICS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


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


@object_check(
    "M194",
    "HorizontalPodAutoscaler",
    reason="The API server refuses an autoscaler with impossible bounds, target or metrics.",
    source="Kubernetes API validation, pkg/apis/autoscaling/validation: validateHorizontalPodAutoscalerSpec.",
    bad=thing("autoscaling/v2", "HorizontalPodAutoscaler", f"{_TARGET}  minReplicas: 4\n  maxReplicas: 2"),
    good=thing("autoscaling/v2", "HorizontalPodAutoscaler", f"{_TARGET}  minReplicas: 2\n  maxReplicas: 4"),
)
def autoscaler(item: Object, _context: Context) -> Iterator[Problem]:
    """An autoscaler's bounds, target and metrics are possible ones."""
    spec = item.spec
    least, most = integer(spec.get("minReplicas")), integer(spec.get("maxReplicas"))
    kinds = {
        mapping(metric).get("type")
        for metric in sequence(spec.get("metrics"))
        if isinstance(mapping(metric).get("type"), str)
    }
    if least is not None and (least < 0 or (least == 0 and not kinds & {"Object", "External"})):
        yield Problem(
            ("spec", "minReplicas"),
            f"minReplicas {least} is less than 1",
            "0 needs an Object or External metric",
        )
    if most is not None and most < 1:
        yield Problem(("spec", "maxReplicas"), f"maxReplicas {most} is less than 1")
    elif most is not None and least is not None and most < least:
        yield Problem(("spec", "maxReplicas"), f"maxReplicas {most} is less than minReplicas {least}")
    target = mapping(spec.get("scaleTargetRef"))
    for field in ("kind", "name"):
        value = target.get(field)
        if value == "" or (isinstance(value, str) and path_segment(value)):
            yield Problem(
                ("spec", "scaleTargetRef", field),
                f"{short(value)} is no {field} of an object to scale",
            )
    for index, metric in enumerate(sequence(spec.get("metrics"))):
        if item.api_version == "autoscaling/v2":
            yield from _metric(mapping(metric), ("spec", "metrics", index))


def _metric(metric: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    kind = text(metric.get("type"))
    field = _METRICS.get(kind)
    if kind and field is None:
        yield Problem(
            (*path, "type"),
            f"{short(kind)} is no type of metric",
            f"use one of {', '.join(_METRICS)}",
        )
        return
    given = [name for name in _METRICS.values() if metric.get(name) is not None]
    if field and given != [field]:
        yield Problem(
            path,
            f"a metric of type {kind} has exactly the field {field}, got {', '.join(given) or 'none'}",
        )
        return
    target = mapping(mapping(metric.get(field)).get("target")) if field else {}
    for name in ("averageUtilization",):
        number = integer(target.get(name))
        if number is not None and number < 1:
            yield Problem((*path, str(field), "target", name), f"{name} {number} is less than 1")
