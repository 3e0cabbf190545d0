"""Expressions that select devices."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import thing
from stowplan.check.admission._expressions import device_problem
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import short, walk
from stowplan.check.objects import Object, Path

_ALTERNATIVES: tuple[Path, ...] = (("exactly",), ("firstAvailable", "*"), ())
_PLACES: dict[str, tuple[Path, ...]] = {
    "DeviceClass": (("spec",),),
    "ResourceClaim": tuple(("spec", "devices", "requests", "*", *inner) for inner in _ALTERNATIVES),
    "ResourceClaimTemplate": tuple(("spec", "spec", "devices", "requests", "*", *inner) for inner in _ALTERNATIVES),
}


@object_check(
    "M423",
    " ".join(_PLACES),
    reason="The API server compiles the expressions that select devices, and refuses one that is no condition on a device.",
    source="Kubernetes API validation, pkg/apis/resource/validation: validateCELSelector; https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/",
    bad=thing(
        "resource.k8s.io/v1", "DeviceClass", "spec:\n  selectors:\n    - cel: {expression: driver == 'gpu.example.com'}"
    ),
    good=thing(
        "resource.k8s.io/v1",
        "DeviceClass",
        "spec:\n  selectors:\n    - cel: {expression: device.driver == 'gpu.example.com'}",
    ),
)
def device_expressions(item: Object, _context: Context) -> Iterator[Problem]:
    """An expression that selects devices is a condition on a device."""
    for steps in _PLACES[item.kind]:
        for expression, path in walk(item.data, (*steps, "selectors", "*", "cel", "expression")):
            if isinstance(expression, str) and expression.strip() and (wrong := device_problem(expression)):
                yield Problem(path, f"the expression {short(expression)} cannot be compiled: {wrong}")
