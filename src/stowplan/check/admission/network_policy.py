"""Network policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import (
    MAX_PORT,
    integer,
    ip_network,
    port_number_or_name,
    short,
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
            if mapping(data).get("protocol") == "":
                yield Problem((*path, "protocol"), "the protocol is empty", "use TCP, UDP or SCTP, or remove it")
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
            if not given:
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
