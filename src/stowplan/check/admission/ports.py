"""Ports of containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check, pod_check
from stowplan.check.admission._syntax import MAX_PORT, integer, port_name, short, text
from stowplan.check.objects import Container, Pod, containers, sequence

_SOURCE = f"{CORE}: validateContainerPorts."


def ports_of(container: Container) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The ports of a container, numbered."""
    for index, port in enumerate(sequence(container.data.get("ports"))):
        if isinstance(port, Mapping):
            yield index, port


@container_check(
    "M130",
    reason="The API server refuses a port outside 1 to 65535.",
    source=_SOURCE,
    bad=pod("ports:\n  - containerPort: 80000"),
    good=pod("ports:\n  - containerPort: 8000"),
)
def port_range(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Ports are numbers from 1 to 65535."""
    for index, port in ports_of(container):
        for field, least in (("containerPort", 1), ("hostPort", 0)):
            number = integer(port.get(field))
            if number is not None and not least <= number <= MAX_PORT:
                yield Problem(
                    ("ports", index, field),
                    f"{field} {number} is not a port: expected 1 to {MAX_PORT}",
                )


@container_check(
    "M131",
    reason="The API server refuses a port name that is longer than 15 characters or is no service name.",
    source=f"{_SOURCE} RFC 6335 section 5.1.",
    bad=pod("ports:\n  - name: openai-compatible\n    containerPort: 8000"),
    good=pod("ports:\n  - name: openai\n    containerPort: 8000"),
)
def port_names(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Names of ports follow their syntax."""
    for index, port in ports_of(container):
        name = text(port.get("name"))
        if name and (wrong := port_name(name)):
            yield Problem(("ports", index, "name"), f"the port name {short(name)} {wrong}")


@container_check(
    "M132",
    reason="The API server refuses a container in which two ports have one name.",
    source=_SOURCE,
    bad=pod("ports:\n  - {name: http, containerPort: 8000}\n  - {name: http, containerPort: 8001}"),
    good=pod("ports:\n  - {name: http, containerPort: 8000}\n  - {name: metrics, containerPort: 8001}"),
)
def port_names_differ(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Ports of one container have different names."""
    seen: set[str] = set()
    for index, port in ports_of(container):
        name = text(port.get("name"))
        if name and name in seen:
            yield Problem(("ports", index, "name"), f"two ports of the container are named {short(name)}")
        seen.add(name)


@pod_check(
    "M133",
    reason="Two containers of a pod cannot hold one port of the host; the API server refuses it.",
    source=f"{CORE}: checkHostPortConflicts.",
    bad=pod("ports:\n  - {containerPort: 8000, hostPort: 9000}\n  - {containerPort: 8001, hostPort: 9000}"),
    good=pod("ports:\n  - {containerPort: 8000, hostPort: 9000}\n  - {containerPort: 8001, hostPort: 9001}"),
)
def host_ports_differ(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Host ports of a pod differ."""
    shared: set[tuple[str, str, int]] = set()
    for container in containers(pod):
        seen = set() if container.init else shared
        for index, port in ports_of(container):
            number = integer(port.get("hostPort"))
            if not number:
                continue
            key = (text(port.get("protocol")) or "TCP", text(port.get("hostIP")), number)
            if key in seen:
                yield Problem(
                    (*container.path, "ports", index, "hostPort"),
                    f"the host port {number} is used twice in the pod",
                )
            seen.add(key)


@pod_check(
    "M134",
    reason="A pod on the host's network has the host's ports: the API server refuses a hostPort that differs from containerPort.",
    source=f"{CORE}: validatePodHostNetworkDeps.",
    bad=pod("ports:\n  - {containerPort: 8000, hostPort: 9000}", "hostNetwork: true"),
    good=pod("ports:\n  - {containerPort: 8000, hostPort: 8000}", "hostNetwork: true"),
)
def host_network_ports(pod: Pod, _context: Context) -> Iterator[Problem]:
    """On the host's network, hostPort equals containerPort."""
    if pod.spec.get("hostNetwork") is not True:
        return
    for container in containers(pod):
        for index, port in ports_of(container):
            inner, outer = integer(port.get("containerPort")), integer(port.get("hostPort"))
            if not container.init and outer and inner is not None and outer != inner:
                message = f"with hostNetwork the hostPort {outer} must equal the containerPort {inner}"
                yield Problem((*container.path, "ports", index, "hostPort"), message, "remove hostPort")


@container_check(
    "M135",
    severity="warning",
    reason="A port given twice is refused by server-side apply and warned of by the API server.",
    source="Kubernetes API reference, Container: ports is a map by containerPort and protocol.",
    bad=pod("ports:\n  - {name: http, containerPort: 8000}\n  - {name: metrics, containerPort: 8000}"),
    good=pod("ports:\n  - {containerPort: 8000}\n  - {containerPort: 8000, protocol: UDP}"),
)
def ports_differ(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A container lists a port and protocol once."""
    seen: set[tuple[int, str]] = set()
    for index, port in ports_of(container):
        number = integer(port.get("containerPort"))
        key = (number or 0, text(port.get("protocol")) or "TCP")
        if number and key in seen:
            yield Problem(("ports", index), f"the port {number}/{key[1]} is given twice")
        seen.add(key)
