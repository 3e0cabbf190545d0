"""Autoscalers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import api_version, dns_label, integer, path_segment, quantity, short, text
from stowplan.check.admission.quantities import resource_name_problems
from stowplan.check.objects import Object, Path, mapping, sequence

_SOURCE = "Kubernetes API validation, pkg/apis/autoscaling/validation"
_API = "autoscaling/v2"
_TARGET = "spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: engine}\n"
_METRICS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_WANTED: dict[str, tuple[str, ...]] = {
    "ContainerResource": ("averageUtilization", "averageValue"),
    "External": ("value", "averageValue"),
    "Object": ("value", "averageValue"),
    "Pods": ("averageValue",),
    "Resource": ("averageUtilization", "averageValue"),
}
"""What of a target each type of metric needs; all but Object take only one of two."""
_TARGET_GROUPS = 36  # since then the group of what is scaled must be given
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800


@object_check(
    "M194",
    "HorizontalPodAutoscaler",
    reason="The API server refuses an autoscaler with impossible bounds or an impossible target.",
    source=f"{_SOURCE}: validateHorizontalPodAutoscalerSpec and ValidateCrossVersionObjectReference.",
    bad=thing(_API, "HorizontalPodAutoscaler", f"{_TARGET}  minReplicas: 4\n  maxReplicas: 2"),
    good=thing(_API, "HorizontalPodAutoscaler", f"{_TARGET}  minReplicas: 2\n  maxReplicas: 4"),
)
def autoscaler(item: Object, context: Context) -> Iterator[Problem]:
    """An autoscaler's bounds and target are possible ones."""
    spec = item.spec
    least, most = integer(spec.get("minReplicas")), integer(spec.get("maxReplicas"))
    kinds = {text(mapping(metric).get("type")) for metric in sequence(spec.get("metrics"))}
    if least is not None and (least < 0 or (least == 0 and not kinds & {"Object", "External"})):
        hint = "0 needs an Object or External metric"
        yield Problem(("spec", "minReplicas"), f"minReplicas {least} is less than 1", hint)
    if most is not None and most < 1:
        yield Problem(("spec", "maxReplicas"), f"maxReplicas {most} is less than 1")
    elif most is not None and least is not None and most < least:
        yield Problem(("spec", "maxReplicas"), f"maxReplicas {most} is less than minReplicas {least}")
    target = mapping(spec.get("scaleTargetRef"))
    yield from _reference(target, ("spec", "scaleTargetRef"))
    if context.minor >= _TARGET_GROUPS and "/" not in text(target.get("apiVersion")):
        hint = "write for example apps/v1"
        yield Problem(("spec", "scaleTargetRef"), "the object to scale has no apiVersion with a group", hint)
    usage = integer(spec.get("targetCPUUtilizationPercentage"))
    if usage is not None and usage < 1:
        yield Problem(
            ("spec", "targetCPUUtilizationPercentage"), f"targetCPUUtilizationPercentage {usage} is less than 1"
        )


def _reference(target: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for field in ("kind", "name"):
        value = text(target.get(field))
        if not value:
            yield Problem((*path, field), f"the {field} of the object is missing")
        elif wrong := path_segment(value):
            yield Problem((*path, field), f"the {field} {short(value)} of the object {wrong}")
    if wrong := api_version(text(target.get("apiVersion"))):
        yield Problem((*path, "apiVersion"), f"the API version {short(text(target['apiVersion']))} {wrong}")


@object_check(
    "M402",
    "HorizontalPodAutoscaler",
    reason="The API server refuses a metric whose source, name or target does not fit its type.",
    source=f"{_SOURCE}: validateMetricSpec and validateMetricTarget.",
    bad=thing(
        _API,
        "HorizontalPodAutoscaler",
        f"{_TARGET}  maxReplicas: 2\n  metrics:\n    - {{type: Pods, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}",
    ),
    good=thing(
        _API,
        "HorizontalPodAutoscaler",
        f"{_TARGET}  maxReplicas: 2\n  metrics:\n    - {{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}",
    ),
)
def metrics(item: Object, _context: Context) -> Iterator[Problem]:
    """A metric has the source, the name and the target of its type."""
    for index, entry in enumerate(sequence(item.spec.get("metrics")) if item.api_version == _API else ()):
        metric, path = mapping(entry), ("spec", "metrics", index)
        kind = text(metric.get("type"))
        field = _METRICS.get(kind)
        if field is None:
            yield Problem((*path, "type"), f"{short(kind)} is no type of metric", f"use one of {', '.join(_METRICS)}")
            continue
        given = [name for name in _METRICS.values() if metric.get(name) is not None]
        if given != [field]:
            message = f"a metric of type {kind} has exactly the field {field}, got {', '.join(given) or 'none'}"
            yield Problem(path, message)
            continue
        source = mapping(metric[field])
        yield from _source(kind, source, (*path, field))
        yield from _target(kind, mapping(source.get("target")), (*path, field, "target"))


def _source(kind: str, source: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if kind in ("Resource", "ContainerResource"):
        name = text(source.get("name"))
        if not name:
            yield Problem((*path, "name"), "the metric names no resource")
        elif kind == "ContainerResource":
            yield from resource_name_problems(name, (*path, "name"))
        container = text(source.get("container"))
        if kind == "ContainerResource" and (wrong := dns_label(container)):
            yield Problem((*path, "container"), f"the container {short(container)} {wrong}")
        return
    name = text(mapping(source.get("metric")).get("name"))
    if not name or path_segment(name):
        yield Problem((*path, "metric", "name"), f"{short(name)} is no name of a metric")
    if kind == "Object":
        yield from _reference(mapping(source.get("describedObject")), (*path, "describedObject"))


def _target(kind: str, target: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if target.get("type") not in ("Utilization", "Value", "AverageValue"):
        hint = "use Utilization, Value or AverageValue"
        yield Problem((*path, "type"), f"{short(text(target.get('type')))} is no type of a target", hint)
    for field in ("value", "averageValue", "averageUtilization"):
        number = quantity(target.get(field))
        if number is not None and number <= 0:
            yield Problem((*path, field), f"{field} {target[field]} is not greater than 0")
    wanted = _WANTED[kind]
    given = [field for field in wanted if target.get(field) is not None]
    if not given:
        yield Problem(path, f"the target of a {kind} metric has no {' or '.join(wanted)}")
    elif len(given) > 1 and kind != "Object":
        yield Problem(
            (*path, given[-1]), f"{given[0]} and {given[-1]} exclude each other", "remove one of them", key=True
        )


@object_check(
    "M403",
    "HorizontalPodAutoscaler",
    reason="The API server refuses scaling rules without policies, or with steps, periods or windows that it does not count.",
    source=f"{_SOURCE}: validateScalingRules and validateScalingPolicy.",
    bad=thing(
        _API,
        "HorizontalPodAutoscaler",
        f"{_TARGET}  maxReplicas: 2\n  behavior:\n    scaleDown: {{stabilizationWindowSeconds: 7200}}",
    ),
    good=thing(
        _API,
        "HorizontalPodAutoscaler",
        f"{_TARGET}  maxReplicas: 2\n  behavior:\n    scaleDown: {{stabilizationWindowSeconds: 3600}}",
    ),
)
def behavior(item: Object, _context: Context) -> Iterator[Problem]:
    """Scaling rules have known policies, periods and windows."""
    for side in ("scaleUp", "scaleDown"):
        rules, path = mapping(mapping(item.spec.get("behavior")).get(side)), ("spec", "behavior", side)
        window = integer(rules.get("stabilizationWindowSeconds"))
        if window is not None and not 0 <= window <= _LONGEST_WINDOW:
            message = f"stabilizationWindowSeconds {window} is not in the range 0 to {_LONGEST_WINDOW}"
            yield Problem((*path, "stabilizationWindowSeconds"), message)
        if rules.get("selectPolicy") not in (None, "Max", "Min", "Disabled"):
            yield Problem((*path, "selectPolicy"), "selectPolicy is not one of Max, Min, Disabled")
        tolerance = quantity(rules.get("tolerance"))
        if tolerance is not None and tolerance < 0:
            yield Problem((*path, "tolerance"), f"the tolerance {rules['tolerance']} is negative")
        if rules.get("policies") == []:
            yield Problem((*path, "policies"), "the list of policies is empty", "remove it, then the defaults hold")
        for index, policy in enumerate(sequence(rules.get("policies"))):
            yield from _policy(mapping(policy), (*path, "policies", index))


def _policy(policy: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if policy.get("type") not in ("Pods", "Percent"):
        yield Problem((*path, "type"), f"{short(text(policy.get('type')))} is not one of Pods, Percent")
    value, period = integer(policy.get("value")), integer(policy.get("periodSeconds"))
    if value is not None and value <= 0:
        yield Problem((*path, "value"), f"the value {value} is not greater than 0")
    if period is not None and not 0 < period <= _LONGEST_PERIOD:
        yield Problem((*path, "periodSeconds"), f"periodSeconds {period} is not in the range 1 to {_LONGEST_PERIOD}")
