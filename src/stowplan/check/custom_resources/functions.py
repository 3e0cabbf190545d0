"""The functions that Kubernetes adds to the Common Expression Language, for the library that evaluates it.

Quantities, addresses, networks and URLs are mappings with one key, for the library takes no values of types of its own.
What is not here (formats that are validated by name, for one) does not compile, and its rule is then told as unchecked.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from stowplan.check.admission._syntax import quantity

if TYPE_CHECKING:
    from cel_expr_python import cel

Boxed = dict[str, str]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+[0-9a-zA-Z.-]+)?\Z"
)
_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?!\?)|\(\?P?<[A-Za-z_]\w*>", re.DOTALL)


def declarations(extract: Callable[[str, str], list[str]]) -> list[cel.FunctionDecl]:
    """Every function, declared; `extract` finds all matches of a pattern that has no groups."""
    from cel_expr_python import cel  # noqa: PLC0415 - a large library, needed only where rules are evaluated

    types = {"s": cel.Type.STRING, "i": cel.Type.INT, "b": cel.Type.BOOL, "d": cel.Type.DOUBLE, "?": cel.Type.DYN}
    types |= {"m": cel.Type.Map(cel.Type.STRING, cel.Type.DYN), "l": cel.Type.List(cel.Type.DYN)}
    made: dict[str, list[cel.Overload]] = {}
    for spelled, run in [*_FUNCTIONS, *_regex(extract)]:
        member, name, parameters, result = _signature(spelled)
        overload = cel.Overload(f"{spelled}", types[result], [types[p] for p in parameters], is_member=member, impl=run)
        made.setdefault(name, []).append(overload)
    return [cel.FunctionDecl(name, overloads) for name, overloads in made.items()]


def _signature(spelled: str) -> tuple[bool, str, str, str]:
    """`m.add(m)m`: on a mapping, with a mapping, gives a mapping; `url(s)m`: a function of a text."""
    head, _, rest = spelled.partition("(")
    parameters, _, result = rest.partition(")")
    owner, dot, name = head.partition(".")
    member = bool(dot) and len(owner) == 1
    return member, name if member else head, (owner if member else "") + parameters, result


def _regex(extract: Callable[[str, str], list[str]]) -> list[tuple[str, Callable[..., Any]]]:
    def found(text: str, pattern: str, limit: int = -1) -> list[str]:
        whole = extract(text, _GROUP.sub(lambda m: "(?:" if m[0].startswith("(") else m[0], pattern))
        return whole if limit < 0 else whole[:limit]

    return [
        ("s.find(s)s", lambda text, pattern: next(iter(found(text, pattern)), "")),
        ("s.findAll(s)l", found),
        ("s.findAll(si)l", found),
    ]


def _is(read: Callable[[str], object]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return test


def _number(boxed: Boxed) -> Fraction:
    return Fraction(boxed["quantity"])


def _quantity(text: str) -> Boxed:
    value = quantity(text)
    if value is None or not text:
        raise ValueError(f"{text!r} is not a quantity")
    return _boxed(value)


def _boxed(value: Fraction) -> Boxed:
    return {"quantity": str(value)}


def _whole(boxed: Boxed) -> int:
    value = _number(boxed)
    if value.denominator != 1:
        raise ValueError("the quantity is not a whole number")
    return int(value)


def _read_address(text: str) -> Address:
    address = ipaddress.ip_address(text)
    if "%" in text or getattr(address, "ipv4_mapped", None):
        raise ValueError(f"{text!r} is not an IP address that the API takes")
    return address


def _read_network(text: str) -> Network:
    address, slash, bits = text.partition("/")
    _read_address(address)
    if not slash or not bits.isdigit():
        raise ValueError(f"{text!r} is not a CIDR block")
    return ipaddress.ip_interface(text)


def _address(boxed: Boxed) -> Address:
    return _read_address(boxed["ip"])


def _ip(text: str) -> Boxed:
    return {"ip": str(_read_address(text))}


def _cidr(text: str) -> Boxed:
    return {"cidr": str(_read_network(text))}


def _network(boxed: Boxed) -> Network:
    return _read_network(boxed["cidr"])


def _holds(boxed: Boxed, other: Boxed | str) -> bool:
    """Whether a network holds an address or another network."""
    outer = _network(boxed).network
    text = other if isinstance(other, str) else next(iter(other.values()))
    inner = _read_network(text) if "/" in text else ipaddress.ip_interface(text)
    return inner.version == outer.version and outer.prefixlen <= inner.network.prefixlen and inner.ip in outer


def _split(text: str) -> SplitResult:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")) or (parts.scheme and not (parts.netloc or parts.path)):
        raise ValueError(f"{text!r} is not an absolute URL or path")
    return parts


def _url(text: str) -> Boxed:
    _split(text)
    return {"url": text}


def _port(boxed: Boxed) -> str:
    port = _split(boxed["url"]).port
    return "" if port is None else str(port)


def _host(boxed: Boxed) -> str:
    return _split(boxed["url"]).netloc.rpartition("@")[2]


def _hostname(boxed: Boxed) -> str:
    return (_split(boxed["url"]).hostname or "") if _host(boxed) else ""


def _version(text: str) -> Boxed:
    if not _SEMVER.match(text):
        raise ValueError(f"{text!r} is not a semantic version")
    return {"semver": text}


def _parts(boxed: Boxed) -> tuple[Any, ...]:
    """A version as a key that sorts: a release after its own candidates."""
    match = _SEMVER.match(boxed["semver"])
    groups = match.groups() if match else ()
    before = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in (groups[3] or "").split(".") if p]
    return (*(int(number) for number in groups[:3]), not before, before)


def _comparable(boxed: Boxed) -> Any:
    return _number(boxed) if "quantity" in boxed else _parts(boxed)


def _compare(one: Boxed, other: Boxed) -> int:
    left, right = _comparable(one), _comparable(other)
    return int(left > right) - int(left < right)


def _added(one: Boxed, other: Boxed | int, sign: int = 1) -> Boxed:
    return _boxed(_number(one) + sign * (Fraction(other) if isinstance(other, int) else _number(other)))


def _ordered(items: Sequence[Any]) -> bool:
    return all(not items[i + 1] < items[i] for i in range(len(items) - 1))


def _unicast(address: Address) -> bool:
    everyone = address == ipaddress.ip_address("255.255.255.255")
    return not (
        address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local or everyone
    )


_FUNCTIONS: list[tuple[str, Callable[..., Any]]] = [
    ("quantity(s)m", _quantity),
    ("isQuantity(s)b", _is(_quantity)),
    ("m.sign()i", lambda q: _compare(q, _boxed(Fraction(0)))),
    ("m.isInteger()b", lambda q: _number(q).denominator == 1),
    ("m.asInteger()i", _whole),
    ("m.asApproximateFloat()d", lambda q: float(_number(q))),
    ("m.isGreaterThan(m)b", lambda one, other: _compare(one, other) > 0),
    ("m.isLessThan(m)b", lambda one, other: _compare(one, other) < 0),
    ("m.compareTo(m)i", _compare),
    ("m.add(m)m", _added),
    ("m.add(i)m", _added),
    ("m.sub(m)m", lambda one, other: _added(one, other, -1)),
    ("m.sub(i)m", lambda one, other: _added(one, other, -1)),
    ("ip(s)m", _ip),
    ("isIP(s)b", _is(_ip)),
    ("ip.isCanonical(s)b", lambda text: str(_read_address(text)) == text),
    ("m.family()i", lambda ip: _address(ip).version),
    ("m.isUnspecified()b", lambda ip: _address(ip).is_unspecified),
    ("m.isLoopback()b", lambda ip: _address(ip).is_loopback),
    ("m.isLinkLocalUnicast()b", lambda ip: _address(ip).is_link_local),
    ("m.isGlobalUnicast()b", lambda ip: _unicast(_address(ip))),
    ("cidr(s)m", _cidr),
    ("isCIDR(s)b", _is(_cidr)),
    ("m.containsIP(m)b", _holds),
    ("m.containsIP(s)b", _holds),
    ("m.containsCIDR(m)b", _holds),
    ("m.containsCIDR(s)b", _holds),
    ("m.ip()m", lambda network: {"ip": str(_network(network).ip)}),
    ("m.masked()m", lambda network: {"cidr": str(_network(network).network)}),
    ("m.prefixLength()i", lambda network: _network(network).network.prefixlen),
    ("url(s)m", _url),
    ("isURL(s)b", _is(_url)),
    ("m.getScheme()s", lambda url: _split(url["url"]).scheme),
    ("m.getHost()s", _host),
    ("m.getHostname()s", _hostname),
    ("m.getPort()s", _port),
    ("m.getEscapedPath()s", lambda url: _split(url["url"]).path),
    ("m.getQuery()?", lambda url: parse_qs(_split(url["url"]).query, keep_blank_values=True)),
    ("semver(s)m", _version),
    ("isSemver(s)b", _is(_version)),
    ("m.major()i", lambda version: _parts(version)[0]),
    ("m.minor()i", lambda version: _parts(version)[1]),
    ("m.patch()i", lambda version: _parts(version)[2]),
    ("l.isSorted()b", _ordered),
    ("l.sum()?", sum),
    ("l.min()?", min),
    ("l.max()?", max),
]
