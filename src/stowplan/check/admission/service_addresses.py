"""IP addresses and families of Services."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.check.admission._examples import service
from stowplan.check.admission._register import CORE, Context, Problem, object_check
from stowplan.check.admission._syntax import ip_address, repeats, short, text, walk
from stowplan.check.objects import Object, sequence

_PORTS = "ports:\n  - {port: 80}"
_MOST = 2  # one address of each family


@object_check(
    "M413",
    "Service",
    reason="The API server refuses addresses of a Service that are none, contradict each other or are no host's in a network.",
    source=f"{CORE}: ValidateServiceClusterIPsRelatedFields and ValidateEndpointIP.",
    bad=service(f"externalIPs: [127.0.0.1]\n{_PORTS}"),
    good=service(f"externalIPs: [192.0.2.10]\n{_PORTS}"),
)
def addresses(item: Object, _context: Context) -> Iterator[Problem]:
    """Addresses of a Service are IP addresses that fit each other."""
    spec = item.spec
    for index, value in enumerate(sequence(spec.get("externalIPs"))):
        if wrong := _no_endpoint(text(value)):
            yield Problem(("spec", "externalIPs", index), f"{short(text(value))} {wrong}")
    if spec.get("type") != "ExternalName":
        yield from _cluster_addresses(spec)
    for value, path in repeats(walk(spec, ("ipFamilies", "*"))):
        yield Problem(("spec", *path), f"the family {value} is given twice")


def _no_endpoint(value: str) -> str:
    address = ip_address(value)
    if address is None:
        return "is not an IP address"
    if address.is_unspecified or address.is_loopback or address.is_link_local or _is_local_multicast(address):
        return "is no address that others can reach"
    return ""


def _is_local_multicast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """224.0.0.0/24 and ff02::/16: the rest of multicast is let through."""
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return address in ipaddress.ip_network("224.0.0.0/24")
    return address in ipaddress.ip_network("ff02::/16")


def _cluster_addresses(spec: Mapping[str, Any]) -> Iterator[Problem]:
    first, several = text(spec.get("clusterIP")), sequence(spec.get("clusterIPs"))
    if several and not first:
        yield Problem(("spec", "clusterIPs"), "clusterIPs needs the same clusterIP beside it", key=True)
    elif several and several[0] != first:
        yield Problem(("spec", "clusterIPs", 0), f"the first of clusterIPs is not the clusterIP {short(first)}")
    if len(several) > _MOST:
        yield Problem(("spec", "clusterIPs"), f"{len(several)} addresses are given, at most {_MOST} are allowed")
    yield from _families(several or [first] if first else several, sequence(spec.get("ipFamilies")))


def _families(values: Sequence[Any], families: Sequence[Any]) -> Iterator[Problem]:
    if list(values) == ["None"]:
        return
    seen: set[int] = set()
    for index, value in enumerate(values):
        address = ip_address(text(value))
        if address is None:
            hint = "set clusterIP: None alone for a headless Service" if value == "None" else ""
            yield Problem(("spec", "clusterIP"), f"{short(text(value))} is not an IP address", hint)
            continue
        if address.version in seen:
            yield Problem(("spec", "clusterIPs", index), "two addresses are of one family")
        seen.add(address.version)
        if index < len(families) and families[index] in ("IPv4", "IPv6") and families[index] != f"IPv{address.version}":
            yield Problem(("spec", "ipFamilies", index), f"{value} is not of the family {families[index]}")
