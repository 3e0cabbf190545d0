"""Amounts of the resources that containers ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check, pod_check
from stowplan.check.admission._syntax import is_native, qualified_name, quantity, resource_name, short
from stowplan.check.objects import Container, Path, Pod, containers, mapping

_SOURCE = f"{CORE}: ValidateContainerResourceRequirements; https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"
_STANDARD = {"cpu", "memory", "ephemeral-storage"}
_HUGE = "hugepages-"


def _lists(resources: object, path: Path = ("resources",)) -> Iterator[tuple[str, Mapping[str, Any], Path]]:
    for field in ("requests", "limits"):
        yield field, mapping(mapping(resources).get(field)), (*path, field)


def is_extended(name: str) -> bool:
    """Whether this is a resource of a device plugin, such as nvidia.com/gpu."""
    return not resource_name(name)


def _resources(pod: Pod) -> Iterator[tuple[object, Path]]:
    for container in containers(pod):
        yield container.data.get("resources"), (*container.path, "resources")
    yield pod.spec.get("resources"), (*pod.spec_path, "resources")


@pod_check(
    "M121",
    reason="The API server refuses a negative amount of a resource.",
    source=_SOURCE,
    bad=pod("resources:\n  limits: {cpu: -1}"),
    good=pod("resources:\n  limits: {cpu: 0}"),
)
def negative_quantity(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Amounts of resources are not negative."""
    for resources, base in _resources(pod):
        for _, amounts, path in _lists(resources, base):
            for name, value in amounts.items():
                if (number := quantity(value)) is not None and number < 0:
                    yield Problem((*path, name), f"the amount {value} of {name} is negative")


@container_check(
    "M122",
    reason="The API server refuses a container resource that is neither a standard one nor one with a vendor's prefix.",
    source=_SOURCE,
    bad=pod("resources:\n  limits: {gpu: 8}"),
    good=pod("resources:\n  limits: {nvidia.com/gpu: 8}"),
)
def resource_names(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Resources of a container have standard or vendor names."""
    for _, amounts, path in _lists(container.data.get("resources")):
        for name in amounts:
            yield from resource_name_problems(name, (*path, name))


def resource_name_problems(name: str, path: Path) -> Iterator[Problem]:
    """What the API server refuses in the name of a resource of containers."""
    hint = "use cpu, memory, ephemeral-storage, hugepages-<size> or a vendor's name such as nvidia.com/gpu"
    if wrong := qualified_name(name):
        yield Problem(path, f"the resource name {short(name)} {wrong}", key=True)
    elif "/" not in name and name not in _STANDARD and not name.startswith(_HUGE):
        yield Problem(path, f"{short(name)} is no standard resource of a container", hint, key=True)
    elif not is_native(name) and not is_extended(name):
        yield Problem(path, f"{short(name)} is no name of an extended resource", key=True)


@container_check(
    "M123",
    reason="The API server refuses a fraction of an extended resource, and huge pages that are no multiple of their size.",
    source=_SOURCE,
    bad=pod("resources:\n  limits: {nvidia.com/gpu: 1.5}"),
    good=pod("resources:\n  limits: {nvidia.com/gpu: 1}"),
)
def whole_devices(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Devices and huge pages are asked for in whole numbers."""
    for _, amounts, path in _lists(container.data.get("resources")):
        for name, value in amounts.items():
            yield from _whole(name, value, (*path, name))


def _whole(name: str, value: object, path: Path) -> Iterator[Problem]:
    number = quantity(value)
    if number is None:
        return
    if is_extended(name) and _ceiling(number * 1000) % 1000:
        yield Problem(path, f"the amount {value} of {name} is not a whole number")
    elif name.startswith(_HUGE):
        size = quantity(name.removeprefix(_HUGE))
        if size and size > 0 and number % size:
            yield Problem(path, f"the amount {value} of {name} is no multiple of the page size")


def _ceiling(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)


def overhead_problems(amounts: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """What the API server refuses in amounts that a runtime adds to every pod."""
    for name, value in amounts.items():
        yield from resource_name_problems(name, (*path, name))
        yield from _whole(name, value, (*path, name))
        if (number := quantity(value)) is not None and number < 0:
            yield Problem((*path, name), f"the amount {value} of {name} is negative")


@pod_check(
    "M124",
    reason="The API server refuses a request that is larger than the limit of the same resource.",
    source=_SOURCE,
    bad=pod("resources:\n  requests: {memory: 128Gi}\n  limits: {memory: 64Gi}"),
    good=pod("resources:\n  requests: {memory: 64Gi}\n  limits: {memory: 128Gi}"),
)
def request_within_limit(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A request is at most the limit."""
    for resources, base in _resources(pod):
        limits = mapping(mapping(resources).get("limits"))
        for name, value in mapping(mapping(resources).get("requests")).items():
            asked, limit = quantity(value), quantity(limits.get(name, "") or (0 if name in limits else None))
            if (
                asked is not None
                and limit is not None
                and asked > limit
                and (is_native(name) and not name.startswith(_HUGE))
            ):
                yield Problem(
                    (*base, "requests", name),
                    f"the request of {value} {name} is more than the limit of {limits[name]}",
                )


@container_check(
    "M125",
    reason="Devices and huge pages cannot be overcommitted: the API server refuses a request without an equal limit.",
    source=_SOURCE,
    bad=pod("resources:\n  requests: {nvidia.com/gpu: 8}"),
    good=pod("resources:\n  requests: {nvidia.com/gpu: 8}\n  limits: {nvidia.com/gpu: 8}"),
)
def device_request_equals_limit(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A request for devices or huge pages equals the limit."""
    resources = mapping(container.data.get("resources"))
    limits = mapping(resources.get("limits"))
    for name, value in mapping(resources.get("requests")).items():
        if is_native(name) and not name.startswith(_HUGE):
            continue
        asked, limit = quantity(value), quantity(limits.get(name))
        if name not in limits:
            message = f"{value} {name} are requested without a limit"
            yield Problem(
                ("resources", "requests", name),
                message,
                "give the same number under limits; the request may then be left out",
            )
        elif asked is not None and limit is not None and asked != limit:
            yield Problem(
                ("resources", "requests", name),
                f"the request of {value} {name} differs from the limit of {limits[name]}",
            )


@container_check(
    "M126",
    reason="The API server refuses a container that asks for huge pages but for neither cpu nor memory.",
    source=_SOURCE,
    bad=pod("resources:\n  limits: {hugepages-2Mi: 64Mi}"),
    good=pod("resources:\n  limits: {hugepages-2Mi: 64Mi, memory: 1Gi}"),
)
def huge_pages_need_memory(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Huge pages come with cpu or memory."""
    names = {name for _, amounts, _ in _lists(container.data.get("resources")) for name in amounts}
    huge = sorted(name for name in names if name.startswith(_HUGE))
    if huge and not names & {"cpu", "memory"}:
        yield Problem(("resources",), f"{huge[0]} is asked for without cpu or memory")


@container_check(
    "M127",
    severity="warning",
    reason="A fraction of a byte is almost always a mistake in the suffix (m means a thousandth); the API server warns of it.",
    source="Kubernetes API server, pkg/api/pod: warnings for fractional bytes.",
    bad=pod("resources:\n  limits: {memory: 400m}"),
    good=pod("resources:\n  limits: {memory: 400M}"),
)
def fraction_of_byte(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Memory and storage are whole bytes."""
    for _, amounts, path in _lists(container.data.get("resources")):
        for name in ("memory", "ephemeral-storage"):
            number = quantity(amounts.get(name))
            if number is not None and number.denominator != 1:
                yield Problem(
                    (*path, name),
                    f"{amounts[name]} of {name} is a fraction of a byte",
                    "did you mean M or Mi?",
                )
