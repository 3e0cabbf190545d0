"""Pods that ask for devices, against what the hosts' device layer advertises: the name and the number."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission.quantities import is_extended
from stowplan.check.advertised import advertised, device_resources
from stowplan.check.claims import claimed
from stowplan.check.domain._asking import POLICIES, SERVER, Asked, asked_for, example_pod, limits_of
from stowplan.check.objects import Bundle, Object, containers, mapping
from stowplan.check.registry import Found, check


@check(
    "D120",
    level="domain",
    reason="A pod that asks for a name that its hosts do not advertise stays Pending for ever.",
    source="The resource of each server in the device layers' profiles, and in the node-labels.yaml that is rendered from them.",
    bad=example_pod(resource="huawei.com/npu"),
    good=example_pod(),
)
def advertised_name(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod asks its hosts for the resource that their device layer advertises."""
    known = device_resources(bundle)
    for pod in item.pods:
        server = str(mapping(pod.spec.get("nodeSelector")).get(SERVER, ""))
        offered = {entry.resource: entry.layer for entry in advertised(bundle, server)}
        domains = {name.partition("/")[0] for name in offered}
        for container in containers(pod):
            names = [name for name in limits_of(container) if is_extended(name)]
            met = any(name in offered for name in names)
            told = "it advertises " + " or ".join(f"{resource} ({layer})" for resource, layer in offered.items())
            for name in names if offered else ():
                other = name in known or (not met and name.partition("/")[0] in domains)
                if name not in offered and other:
                    path = (*container.path, "resources", "limits", name)
                    yield Found(item, path, f"{server} does not advertise {name}", told, key=True)
            for claim in claimed(bundle, pod, container) if offered else ():
                if claim.device_class in known and claim.device_class not in offered:
                    path = (*claim.path, "deviceClassName")
                    yield Found(claim.item, path, f"{server} does not advertise {claim.device_class}", told)


@check(
    "D121",
    level="domain",
    reason="The device plugin or its scheduler refuses other numbers: the pod stays Pending, or fails at admission.",
    source=POLICIES,
    bad=example_pod(count="3"),
    good=example_pod(),
)
def advertised_count(item: Object, bundle: Bundle) -> Iterator[Found]:
    """A pod asks for a number of devices that its hosts' device layer gives."""
    for asked in asked_for(item, bundle):
        for message in _refused_count(asked, bundle):
            yield Found(item, asked.path, message)
    for pod in item.pods:
        for container in containers(pod):
            for claim in claimed(bundle, pod, container):
                asked = Asked(item, pod, container, claim.device_class, claim.devices)
                for message in _refused_count(asked, bundle):
                    yield Found(claim.item, claim.path, message)


def _refused_count(asked: Asked, bundle: Bundle) -> Iterator[str]:
    entries = [entry for entry in advertised(bundle, asked.server) if entry.resource == asked.resource]
    given = {n for entry in entries for n in (entry.distributed if asked.hosts > 1 else entry.single)}
    if entries and asked.number is not None and asked.number not in given:
        layers, numbers = " or ".join(entry.layer for entry in entries), ", ".join(str(n) for n in sorted(given))
        yield f"asks {asked.server} for {asked.number} {asked.resource}; {layers} gives {numbers}"
