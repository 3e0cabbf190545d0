"""Services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import service
from stowplan.check.admission._register import CORE, Context, Problem, object_check
from stowplan.check.admission._syntax import (
    MAX_PORT,
    dns_label,
    dns_subdomain,
    integer,
    ip_network,
    label_value,
    port_number_or_name,
    qualified_name,
    short,
    text,
    walk,
)
from stowplan.check.objects import Object, Path, mapping, sequence

_SOURCE = f"{CORE}: ValidateService and validateServicePort."
_AFFINITY_SECONDS = 86_400


def _ports(item: Object) -> Iterator[tuple[Mapping[str, Any], Path]]:
    for index, port in enumerate(sequence(item.spec.get("ports"))):
        if isinstance(port, Mapping):
            yield port, ("spec", "ports", index)


@object_check(
    "M180",
    "Service",
    reason="The API server refuses a Service without ports unless it is headless or an external name.",
    source=_SOURCE,
    bad=service("selector: {app: engine}"),
    good=service("clusterIP: None\nselector: {app: engine}"),
)
def has_ports(item: Object, _context: Context) -> Iterator[Problem]:
    """A Service has ports, unless it is headless or an external name."""
    headless = item.spec.get("clusterIP") == "None" or "None" in sequence(item.spec.get("clusterIPs"))[:1]
    if not item.spec.get("ports") and not headless and item.spec.get("type") != "ExternalName":
        yield Problem(("spec",), "the Service has no ports", "list its ports, or set clusterIP: None")


@object_check(
    "M181",
    "Service",
    reason="The API server refuses ports of a Service that are impossible or carry an impossible target.",
    source=_SOURCE,
    bad=service('ports:\n  - {port: 80, targetPort: "8000"}'),
    good=service("ports:\n  - {port: 80, targetPort: 8000}"),
)
def port_values(item: Object, _context: Context) -> Iterator[Problem]:
    """Ports and target ports of a Service are possible ones."""
    for port, path in _ports(item):
        number, target = integer(port.get("port")), port.get("targetPort")
        if number is not None and not 1 <= number <= MAX_PORT:
            yield Problem((*path, "port"), f"{number} is not a port: expected 1 to {MAX_PORT}")
        if target not in ("", 0) and (wrong := port_number_or_name(target)):
            hint = "write the number without quotes" if isinstance(target, str) and target.isdigit() else ""
            yield Problem((*path, "targetPort"), wrong, hint)
        protocol = port.get("appProtocol")
        if isinstance(protocol, str) and (wrong := qualified_name(protocol)):
            yield Problem((*path, "appProtocol"), f"appProtocol {short(protocol)} {wrong}")


@object_check(
    "M182",
    "Service",
    reason="The API server refuses a Service with several ports that have no, or the same, names, and a port given twice.",
    source=_SOURCE,
    bad=service("ports:\n  - {port: 80}\n  - {port: 443}"),
    good=service("ports:\n  - {name: http, port: 80}\n  - {name: https, port: 443}"),
)
def port_names(item: Object, _context: Context) -> Iterator[Problem]:
    """Several ports of a Service have different names, and no port comes twice."""
    several = len(sequence(item.spec.get("ports"))) > 1
    names: set[str] = set()
    seen: set[tuple[str, int, str]] = set()
    for port, path in _ports(item):
        name, protocol = text(port.get("name")), text(port.get("protocol")) or "TCP"
        if several and port.get("name") in (None, ""):
            yield Problem(path, "a port of a Service with several ports has no name")
        if name and (wrong := dns_label(name)):
            yield Problem((*path, "name"), f"the port name {short(name)} {wrong}")
        if name and name in names:
            yield Problem((*path, "name"), f"two ports of the Service are named {short(name)}")
        names.add(name)
        for field in ("port", "nodePort"):
            number = integer(port.get(field))
            if number and (field, number, protocol) in seen:
                yield Problem((*path, field), f"{field} {number}/{protocol} is given twice")
            if number:
                seen.add((field, number, protocol))


_BALANCER_FIELDS = (
    "loadBalancerClass",
    "allocateLoadBalancerNodePorts",
    "loadBalancerSourceRanges",
)


@object_check(
    "M183",
    "Service",
    reason="The API server refuses fields of a Service that its type does not have.",
    source=_SOURCE,
    bad=service("type: NodePort\nclusterIP: None\nports:\n  - {port: 80}"),
    good=service("type: NodePort\nports:\n  - {port: 80, nodePort: 30080}"),
)
def fields_of_type(item: Object, _context: Context) -> Iterator[Problem]:
    """The fields of a Service fit its type."""
    spec, kind = item.spec, item.spec.get("type") or "ClusterIP"
    if kind in ("NodePort", "LoadBalancer") and spec.get("clusterIP") == "None":
        yield Problem(
            ("spec", "clusterIP"),
            f"a Service of type {kind} cannot be headless",
            "remove clusterIP, or set type: ClusterIP",
        )
    if kind == "ExternalName":
        yield from _external_name(spec)
    if kind == "ClusterIP":
        for port, path in _ports(item):
            if integer(port.get("nodePort")):
                yield Problem(
                    (*path, "nodePort"),
                    "nodePort is not allowed with type ClusterIP",
                    "set type: NodePort, or remove nodePort",
                )
    yield from _balancer(spec, str(kind))
    yield from _traffic(spec, str(kind))


def _balancer(spec: Mapping[str, Any], kind: str) -> Iterator[Problem]:
    name = spec.get("loadBalancerClass")
    if isinstance(name, str) and kind == "LoadBalancer" and (wrong := qualified_name(name)):
        yield Problem(("spec", "loadBalancerClass"), f"the class {short(name)} {wrong}")
    for field in _BALANCER_FIELDS:
        if kind in ("ClusterIP", "NodePort", "ExternalName") and spec.get(field) not in (None, []):
            yield Problem(("spec", field), f"{field} is allowed only with type LoadBalancer", key=True)
    for value, path in walk(spec, ("loadBalancerSourceRanges", "*")):
        if ip_network(text(value).strip()) is None:
            yield Problem(("spec", *path), f"{short(text(value))} is not a block of IP addresses such as 10.0.0.0/8")


def _traffic(spec: Mapping[str, Any], kind: str) -> Iterator[Problem]:
    if (
        text(spec.get("externalTrafficPolicy"))
        and kind in ("ClusterIP", "ExternalName")
        and not (kind == "ClusterIP" and spec.get("externalIPs"))
    ):
        yield Problem(
            ("spec", "externalTrafficPolicy"),
            f"externalTrafficPolicy is not allowed with type {kind}",
            "remove it",
        )
    port = integer(spec.get("healthCheckNodePort"))
    if port and not 1 <= port <= MAX_PORT:
        yield Problem(("spec", "healthCheckNodePort"), f"{port} is not a port: expected 1 to {MAX_PORT}")
    if port and (kind != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local"):
        message = "healthCheckNodePort needs type LoadBalancer and externalTrafficPolicy: Local"
        yield Problem(("spec", "healthCheckNodePort"), message)


def _external_name(spec: Mapping[str, Any]) -> Iterator[Problem]:
    name = spec.get("externalName")
    if name in (None, "", "."):
        yield Problem(("spec",), "a Service of type ExternalName has no externalName")
    elif isinstance(name, str) and (wrong := dns_subdomain(name.removesuffix("."))):
        yield Problem(("spec", "externalName"), f"externalName {short(name)} {wrong}")
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            yield Problem(("spec", field), f"{field} is not allowed with type ExternalName", key=True)


@object_check(
    "M184",
    "Service",
    reason="The API server refuses a selector that no label can meet, and a session affinity of no time or of more than a day.",
    source=_SOURCE,
    bad=service(
        "sessionAffinity: ClientIP\nsessionAffinityConfig:\n  clientIP: {timeoutSeconds: 0}\nports:\n  - {port: 80}"
    ),
    good=service(
        "sessionAffinity: ClientIP\nsessionAffinityConfig:\n  clientIP: {timeoutSeconds: 600}\nports:\n  - {port: 80}"
    ),
)
def selector_and_affinity(item: Object, _context: Context) -> Iterator[Problem]:
    """A Service's selector and session affinity are possible ones."""
    spec = item.spec
    for key, value in mapping(spec.get("selector")).items():
        wrong = qualified_name(key) or (label_value(value) if isinstance(value, str) else "")
        if wrong:
            yield Problem(("spec", "selector", key), f"the label '{key}: {value}' {wrong}", key=True)
    config = spec.get("sessionAffinityConfig")
    seconds = integer(mapping(mapping(config).get("clientIP")).get("timeoutSeconds"))
    if seconds is not None and spec.get("sessionAffinity") == "ClientIP" and not 1 <= seconds <= _AFFINITY_SECONDS:
        path = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        yield Problem(path, f"timeoutSeconds {seconds} is not in the range 1 to {_AFFINITY_SECONDS}")
