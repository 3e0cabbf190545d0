"""What a pod asks for as a whole: its own resources, and the overhead of its runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, pod_check
from stowplan.check.admission._syntax import quantity, short
from stowplan.check.admission.quantities import overhead_problems
from stowplan.check.objects import Path, Pod, mapping, sequence

_SOURCE = (
    f"{CORE}: validatePodResources; https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"
)
_KNOWN = 34  # since then a pod's own resources are read without a feature gate
_NAMES = ("cpu", "memory")
_HUGE = "hugepages-"


@pod_check(
    "M408",
    reason="The API server refuses resources of a whole pod that its containers exceed, or that only containers can have.",
    source=_SOURCE,
    bad=pod("resources:\n  requests: {cpu: 4}", "resources:\n  requests: {cpu: 2}"),
    good=pod("resources:\n  requests: {cpu: 4}", "resources:\n  requests: {cpu: 8}"),
)
def resources_of_pod(pod: Pod, context: Context) -> Iterator[Problem]:
    """A pod's own resources are cpu, memory or huge pages, and hold those of its containers."""
    resources, path = mapping(pod.spec.get("resources")), (*pod.spec_path, "resources")
    if context.minor < _KNOWN:
        return
    if resources.get("claims") is not None:
        yield Problem((*path, "claims"), "a pod's own resources take no claims", "use resourceClaims", key=True)
    for field in ("requests", "limits"):
        for name in mapping(resources.get(field)):
            if name not in _NAMES and not name.startswith(_HUGE):
                hint = "ask for it in a container"
                yield Problem((*path, field, name), f"{short(name)} cannot be asked for by a whole pod", hint, key=True)
    yield from _held(pod, resources, path)


def _held(pod: Pod, resources: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for name, value in mapping(resources.get("requests")).items():
        whole, inside = quantity(value), _requested(pod, name)
        if whole is not None and inside > whole:
            message = f"the pod's request of {value} {name} is less than what its containers request together"
            yield Problem((*path, "requests", name), message)
    for name, value in mapping(resources.get("limits")).items():
        whole = quantity(value)
        for limit in _limits(pod, name):
            if whole is not None and limit > whole and not name.startswith(_HUGE):
                message = f"the pod's limit of {value} {name} is less than that of one of its containers"
                yield Problem((*path, "limits", name), message)


def _amount(container: object, name: str) -> Fraction:
    resources = mapping(mapping(container).get("resources"))
    asked = mapping(resources.get("requests")).get(name, mapping(resources.get("limits")).get(name))
    return quantity(asked) or Fraction(0)


def _requested(pod: Pod, name: str) -> Fraction:
    """As the scheduler adds it up: init containers run one after the other beside those that stay."""
    together = sum((_amount(c, name) for c in sequence(pod.spec.get("containers"))), Fraction(0))
    staying, most = Fraction(0), Fraction(0)
    for container in sequence(pod.spec.get("initContainers")):
        amount = _amount(container, name)
        if mapping(container).get("restartPolicy") == "Always":
            staying += amount
            most = max(most, staying)
        else:
            most = max(most, staying + amount)
    return max(together + staying, most)


def _limits(pod: Pod, name: str) -> Iterator[Fraction]:
    for field in ("containers", "initContainers"):
        for container in sequence(pod.spec.get(field)):
            limits: Mapping[str, Any] = mapping(mapping(mapping(container).get("resources")).get("limits"))
            yield quantity(limits.get(name)) or Fraction(0)


@pod_check(
    "M409",
    reason="The API server refuses an overhead of a pod in a resource that no container has, or in a negative amount.",
    source=f"{CORE}: validateOverhead.",
    bad=pod(spec="runtimeClassName: kata\noverhead: {gpu: 1}"),
    good=pod(spec="runtimeClassName: kata\noverhead: {cpu: 250m}"),
)
def overhead(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A pod's overhead is made of resources that containers have."""
    yield from overhead_problems(mapping(pod.spec.get("overhead")), (*pod.spec_path, "overhead"))
