"""Network policies and ingresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import (
    MAX_PORT,
    dns_subdomain,
    integer,
    ip_network,
    is_ip,
    port_number_or_name,
    short,
    text,
    walk,
)
from stowplan.check.objects import Object, Path, mapping, sequence

_SOURCE = "Kubernetes API validation, pkg/apis/networking/validation"
_SIDES = (("ingress", "from"), ("egress", "to"))
_POLICY = "spec:\n  podSelector: {}\n"


def _policy(rule: str) -> str:
    return thing("networking.k8s.io/v1", "NetworkPolicy", f"{_POLICY}  ingress:\n    - {rule}")


@object_check(
    "M185",
    "NetworkPolicy",
    reason="The API server refuses a network policy with impossible ports.",
    source=f"{_SOURCE}: ValidateNetworkPolicyPort.",
    bad=_policy("ports: [{port: 9000, endPort: 8000}]"),
    good=_policy("ports: [{port: 8000, endPort: 9000}]"),
)
def policy_ports(item: Object, _context: Context) -> Iterator[Problem]:
    """Ports of a network policy are possible ones."""
    for side, _ in _SIDES:
        for data, inner in walk(item.spec, (side, "*", "ports", "*")):
            path: Path = ("spec", *inner)
            port, end = mapping(data).get("port"), integer(mapping(data).get("endPort"))
            if wrong := port_number_or_name(port):
                yield Problem((*path, "port"), wrong)
            if end is None:
                continue
            if not isinstance(port, int):
                yield Problem((*path, "endPort"), "endPort needs a numeric port")
            elif end < port:
                yield Problem((*path, "endPort"), f"endPort {end} is less than port {port}")
            elif end > MAX_PORT:
                yield Problem((*path, "endPort"), f"{end} is not a port: expected 1 to {MAX_PORT}")


@object_check(
    "M186",
    "NetworkPolicy",
    reason="The API server refuses a peer of a network policy that is empty, of two sorts, or no block of IP addresses.",
    source=f"{_SOURCE}: ValidateNetworkPolicyPeer and ValidateIPBlock.",
    bad=_policy("from: [{ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/16]}}]"),
    good=_policy("from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]"),
)
def policy_peers(item: Object, _context: Context) -> Iterator[Problem]:
    """Peers of a network policy are selectors or one block of IP addresses."""
    for side, peers in _SIDES:
        for data, inner in walk(item.spec, (side, "*", peers, "*")):
            path: Path = ("spec", *inner)
            given = {
                key for key in ("podSelector", "namespaceSelector", "ipBlock") if mapping(data).get(key) is not None
            }
            if isinstance(data, Mapping) and not given:
                yield Problem(path, "the peer is empty", "give podSelector, namespaceSelector or ipBlock")
            elif "ipBlock" in given and len(given) > 1:
                yield Problem((*path, "ipBlock"), "ipBlock excludes the selectors beside it", key=True)
            yield from _block(mapping(mapping(data).get("ipBlock")), (*path, "ipBlock"))
    if len(sequence(item.spec.get("policyTypes"))) > len(_SIDES):
        yield Problem(("spec", "policyTypes"), "policyTypes has more than two entries")


def _block(block: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    cidr = block.get("cidr")
    if not isinstance(cidr, str):
        return
    whole = ip_network(cidr)
    if whole is None:
        yield Problem((*path, "cidr"), f"{short(cidr)} is not a block of IP addresses such as 10.0.0.0/8")
        return
    for index, value in enumerate(sequence(block.get("except"))):
        part = ip_network(value) if isinstance(value, str) else None
        if isinstance(value, str) and part is None:
            yield Problem(
                (*path, "except", index),
                f"{short(value)} is not a block of IP addresses such as 10.0.0.0/8",
            )
        elif part is not None and not _is_inside(part, whole):
            yield Problem((*path, "except", index), f"{value} is not a smaller block inside {cidr}")


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _is_inside(part: _Network, whole: _Network) -> bool:
    return part.version == whole.version and part.prefixlen > whole.prefixlen and part.network_address in whole


_BACKEND = "{service: {name: engine, port: {number: 80}}}"


@object_check(
    "M187",
    "Ingress",
    reason="The API server refuses an ingress without rules, with relative paths, or with impossible hosts and backends.",
    source=f"{_SOURCE}: validateIngressSpec.",
    bad=thing(
        "networking.k8s.io/v1",
        "Ingress",
        f"spec:\n  rules:\n    - http:\n        paths:\n          - {{path: v1, pathType: Prefix, backend: {_BACKEND}}}",
    ),
    good=thing(
        "networking.k8s.io/v1",
        "Ingress",
        f"spec:\n  rules:\n    - http:\n        paths:\n          - {{path: /v1, pathType: Prefix, backend: {_BACKEND}}}",
    ),
)
def ingress(item: Object, _context: Context) -> Iterator[Problem]:
    """An ingress has rules with absolute paths, host names and backends."""
    if not item.spec.get("rules") and item.spec.get("defaultBackend") is None:
        yield Problem(("spec",), "the ingress has neither rules nor a default backend")
    for host, path in walk(item.spec, ("rules", "*", "host")):
        if isinstance(host, str) and host and (is_ip(host) or dns_subdomain(host.removeprefix("*."))):
            yield Problem(("spec", *path), f"{short(host)} is no host name")
    for rule, inner in walk(item.spec, ("rules", "*", "http", "paths", "*")):
        path = ("spec", *inner)
        value, kind = text(mapping(rule).get("path")), mapping(rule).get("pathType")
        if kind in ("Exact", "Prefix") and not value.startswith("/"):
            yield Problem((*path, "path"), f"the path {short(value)} is not absolute")
        elif kind in ("Exact", "Prefix") and any(wrong in value for wrong in ("//", "/./", "/../", "%2f", "%2F")):
            yield Problem((*path, "path"), f"the path {short(value)} has '//', '/./', '/../' or a quoted '/'")
        yield from _backend(mapping(mapping(rule).get("backend")), (*path, "backend"))
    yield from _backend(mapping(item.spec.get("defaultBackend")), ("spec", "defaultBackend"))


def _backend(backend: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if backend.get("service") is not None and backend.get("resource") is not None:
        yield Problem(path, "a backend is either a service or a resource")
    port = mapping(backend.get("service")).get("port")
    if not isinstance(port, Mapping):
        return
    name, number = text(port.get("name")), integer(port.get("number"))
    if bool(name) == bool(number):
        yield Problem((*path, "service", "port"), "the port of a backend has either a name or a number")
    elif number and not 1 <= number <= MAX_PORT:
        yield Problem(
            (*path, "service", "port", "number"),
            f"{number} is not a port: expected 1 to {MAX_PORT}",
        )
