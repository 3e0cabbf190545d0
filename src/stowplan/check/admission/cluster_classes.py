"""Classes of the cluster that pods name: priorities and container runtimes."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import dns_label, integer, label_value, qualified_name, short
from stowplan.check.admission.quantities import overhead_problems
from stowplan.check.admission.scheduling import toleration_problems
from stowplan.check.objects import Object, mapping, sequence

_HIGHEST_PRIORITY = 1_000_000_000
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


@object_check(
    "M189",
    "PriorityClass",
    reason="The API server keeps the priorities above 1000000000 and the names system-* for itself.",
    source="Kubernetes API validation, pkg/apis/scheduling/validation: ValidatePriorityClass.",
    bad=thing("scheduling.k8s.io/v1", "PriorityClass", "value: 2000000000"),
    good=thing("scheduling.k8s.io/v1", "PriorityClass", "value: 1000000000"),
)
def priority_class(item: Object, _context: Context) -> Iterator[Problem]:
    """A priority is at most 1000000000."""
    value = integer(item.data.get("value")) or 0
    if item.name.startswith("system-"):
        if value != _SYSTEM_PRIORITIES.get(item.name) or item.data.get("globalDefault") is True:
            message = "names of priority classes that begin with system- are reserved"
            yield Problem(("metadata", "name"), message)
    elif value > _HIGHEST_PRIORITY:
        yield Problem(("value",), f"the priority {value} is more than {_HIGHEST_PRIORITY}")
    if item.data.get("preemptionPolicy") == "":
        yield Problem(("preemptionPolicy",), "preemptionPolicy is empty", "remove the field")


@object_check(
    "M407",
    "RuntimeClass",
    reason="The API server refuses a runtime class with an impossible handler, overhead, node selector or toleration.",
    source="Kubernetes API validation, pkg/apis/node/validation: ValidateRuntimeClass.",
    bad=thing("node.k8s.io/v1", "RuntimeClass", "handler: Nvidia"),
    good=thing("node.k8s.io/v1", "RuntimeClass", "handler: nvidia"),
)
def runtime_class(item: Object, _context: Context) -> Iterator[Problem]:
    """A runtime class has a handler, and an overhead and a place that pods can have."""
    handler = item.data.get("handler")
    if isinstance(handler, str) and (wrong := dns_label(handler)):
        yield Problem(("handler",), f"the handler {short(handler)} {wrong}")
    amounts = mapping(mapping(item.data.get("overhead")).get("podFixed"))
    yield from overhead_problems(amounts, ("overhead", "podFixed"))
    scheduling = mapping(item.data.get("scheduling"))
    for key, value in mapping(scheduling.get("nodeSelector")).items():
        wrong = qualified_name(key) or (label_value(value) if isinstance(value, str) else "")
        if wrong:
            yield Problem(("scheduling", "nodeSelector", key), f"the label '{key}: {value}' {wrong}", key=True)
    seen: set[tuple[object, ...]] = set()
    for index, entry in enumerate(sequence(scheduling.get("tolerations"))):
        path, toleration = ("scheduling", "tolerations", index), mapping(entry)
        yield from toleration_problems(toleration, path, ("Exists", "Equal"))
        same = tuple(str(toleration.get(field) or "") for field in ("key", "operator", "value", "effect"))
        if same in seen:
            yield Problem(path, "the toleration is given twice")
        seen.add(same)
