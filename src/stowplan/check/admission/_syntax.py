"""Value syntax of the Kubernetes API: names, labels, ports and quantities; each test says what is wrong, or nothing."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from stowplan.check.objects import MAPPINGS, Path, mapping

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")
_QUANTITY = re.compile(r"([+-]?)([0-9]*)(\.[0-9]*)?(?:[eE]([+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)\Z")
_URL_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z")
_PERCENT = re.compile(r"[0-9]+%\Z")
_LEADING_ZEROS = re.compile(r"(?<![0-9a-fA-F:.])0+(?=[0-9])|(?<=\.)0+(?=[0-9])")
_LONGEST_QUANTITY = 64
_LARGEST_EXPONENT = 40
_MAX_PORT_NAME = 15
_PERCENT_DIGITS = 18
_PREFIX_DIGITS = 3
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}

MAX_LABEL = 63
MAX_SUBDOMAIN = 253
MAX_PORT = 65535


def integer(value: object) -> int | None:
    """The value where it is a whole number, also one written as 8.0 (true and false are none)."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if type(value) is int else None


def text(value: object) -> str:
    """The value where it is text, else an empty text."""
    return value if isinstance(value, str) else ""


def short(value: str) -> str:
    """A value as a message shows it."""
    return repr(value if len(value) <= MAX_LABEL + 1 else f"{value[:MAX_LABEL]}...")


def dns_label(value: str) -> str:
    """What keeps a text from being a DNS-1123 label."""
    if len(value) > MAX_LABEL:
        return f"has {len(value)} characters, at most {MAX_LABEL} are allowed"
    return (
        ""
        if _LABEL.match(value)
        else "may hold only lower-case letters, digits and '-', and begins and ends with a letter or digit"
    )


def dns_label_1035(value: str) -> str:
    """What keeps a text from being a DNS-1035 label."""
    if len(value) > MAX_LABEL:
        return f"has {len(value)} characters, at most {MAX_LABEL} are allowed"
    return (
        ""
        if _LABEL_1035.match(value)
        else "may hold only lower-case letters, digits and '-', begins with a letter and ends with a letter or digit"
    )


def dns_subdomain(value: str) -> str:
    """What keeps a text from being a DNS-1123 subdomain."""
    if len(value) > MAX_SUBDOMAIN:
        return f"has {len(value)} characters, at most {MAX_SUBDOMAIN} are allowed"
    return (
        ""
        if _SUBDOMAIN.match(value)
        else "may hold only lower-case letters, digits, '-' and '.', and each part begins and ends with a letter or digit"
    )


def path_segment(value: str) -> str:
    """What keeps a text from being one segment of a URL path (names of RBAC objects)."""
    if value in (".", ".."):
        return "may not be '.' or '..'"
    return "may not hold '/' or '%'" if "/" in value or "%" in value else ""


def is_decimal(value: str) -> bool:
    """Whether a text is a whole number as the API server prints it."""
    return value.isascii() and value.removeprefix("-").isdigit() and str(int(value)) == value


def api_version(value: str) -> str:
    """What keeps a text from being `version` or `group/version`; an empty one is the core group's."""
    return "has more than one '/'" if value.count("/") > 1 else ""


def driver_name(value: str) -> str:
    """What keeps a text from being the name of a driver of storage or of devices."""
    if len(value) > MAX_LABEL:
        return f"has {len(value)} characters, at most {MAX_LABEL} are allowed"
    return dns_subdomain(value.lower())


def domain_path(value: str) -> str:
    """What keeps a text from being a path below a domain, such as example.com/manager."""
    domain, slash, path = value.partition("/")
    if not slash or not path or dns_subdomain(domain):
        return "is no path below a domain"
    return "" if _URL_PATH.match(path) else "has characters that a path does not have"


def is_native(name: str) -> bool:
    """Whether Kubernetes itself owns the name of a resource (no prefix, or one of kubernetes.io)."""
    return "/" not in name or "kubernetes.io/" in name


def resource_name(name: str) -> str:
    """What keeps a text from naming a device plugin's resource, such as nvidia.com/gpu."""
    if is_native(name) or name.startswith("requests.") or qualified_name(f"requests.{name}"):
        return "is no name of an extended resource"
    return ""


def qualified_name(value: str) -> str:
    """What keeps a text from being a qualified name: `name` or `prefix/name` (keys of labels, say)."""
    prefix, slash, name = value.rpartition("/")
    if slash and (not prefix or dns_subdomain(prefix)):
        return "has a prefix before '/' that is not a DNS subdomain"
    if not name:
        return "has no name" + (" after '/'" if slash else "")
    if len(name) > MAX_LABEL:
        return f"has a name of {len(name)} characters, at most {MAX_LABEL} are allowed"
    return (
        ""
        if _QUALIFIED.match(name)
        else "may hold only letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
    )


def label_value(value: str) -> str:
    """What keeps a text from being a label's value."""
    if len(value) > MAX_LABEL:
        return f"has {len(value)} characters, at most {MAX_LABEL} are allowed"
    return (
        ""
        if _LABEL_VALUE.match(value)
        else "may hold only letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
    )


def port_name(value: str) -> str:
    """What keeps a text from being the name of a container's port."""
    if len(value) > _MAX_PORT_NAME:
        return f"has {len(value)} characters, at most {_MAX_PORT_NAME} are allowed"
    if not _PORT_NAME.match(value) or value.startswith("-") or value.endswith("-") or "--" in value:
        return "may hold only lower-case letters, digits and single '-', and begins and ends with a letter or digit"
    return "" if re.search("[a-z]", value) else "must hold at least one letter"


def port_number_or_name(value: object) -> str:
    """What keeps a value from naming a port by number or name; nothing for other types."""
    if type(value) is int and not 1 <= value <= MAX_PORT:
        return f"{value} is not a port: expected 1 to {MAX_PORT}"
    if isinstance(value, str) and (wrong := port_name(value)):
        return f"the port name {short(value)} {wrong}"
    return ""


def config_key(value: str) -> str:
    """What keeps a text from being a key of a ConfigMap or Secret."""
    if len(value) > MAX_SUBDOMAIN:
        return f"has {len(value)} characters, at most {MAX_SUBDOMAIN} are allowed"
    if not _CONFIG_KEY.match(value):
        return "may hold only letters, digits, '-', '_' and '.'"
    return "may not be '.' or begin with '..'" if value == "." or value.startswith("..") else ""


def local_path(value: str) -> str:
    """What keeps a text from being a relative path that stays below its folder."""
    if value.startswith("/"):
        return "must be a relative path"
    return "may not contain '..'" if ".." in value.split("/") else ""


def int_or_percent(value: object) -> str:
    """What keeps a value from being a count or a percentage."""
    if type(value) is int and value < 0:
        return f"{value} is negative"
    if isinstance(value, str) and not _PERCENT.match(value):
        return f"{short(value)} is neither a number without quotes nor a percentage such as 25%"
    return ""


def amount(value: object) -> int | None:
    """The number in a count or percentage."""
    if isinstance(value, str) and _PERCENT.match(value) and len(value) <= _PERCENT_DIGITS:
        return int(value[:-1])
    return integer(value)


@functools.lru_cache(maxsize=4096)
def _quantity_text(value: str) -> Fraction | None:
    match = _QUANTITY.match(value)
    if not match or not value or len(value) > _LONGEST_QUANTITY:
        return None
    sign, whole, rest, exponent, suffix = match.groups()
    number = Fraction(f"{whole or '0'}{rest or ''}0" if rest else whole or "0")
    if exponent is not None:
        number *= Fraction(10) ** max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, int(exponent)))
    elif suffix in _BINARY:
        number *= 2 ** _BINARY[suffix]
    else:
        number *= Fraction(10) ** _DECIMAL[suffix or ""]
    return -number if sign == "-" else number


def quantity(value: object) -> Fraction | None:
    """The number that a quantity means; None where it is not one."""
    if isinstance(value, str):
        return _quantity_text(value)
    if type(value) is int:
        return Fraction(value)
    if isinstance(value, float):
        return _quantity_text(repr(value))
    return None


def ip_network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A CIDR block; as the API does, host bits and leading zeros are tolerated."""
    address, slash, prefix = value.partition("/")
    if not slash or not prefix.isascii() or not prefix.isdigit() or len(prefix) > _PREFIX_DIGITS or "%" in address:
        return None
    try:
        return ipaddress.ip_network(f"{_LEADING_ZEROS.sub('', address)}/{prefix}", strict=False)
    except ValueError:
        return None


def ip_address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address; leading zeros are tolerated."""
    try:
        return ipaddress.ip_address(_LEADING_ZEROS.sub("", value)) if "%" not in value else None
    except ValueError:
        return None


def is_ip(value: str) -> bool:
    """Whether a text is an IP address; leading zeros are tolerated."""
    return ip_address(value) is not None


def walk(data: object, steps: Path, path: Path = ()) -> Iterator[tuple[Any, Path]]:
    """Every value at a path in which `*` stands for each item of a list or each value of a mapping."""
    if not steps:
        yield data, path
    elif steps[0] == "*":
        items: Any = enumerate(data) if isinstance(data, list) else mapping(data).items()
        for key, item in items:
            yield from walk(item, steps[1:], (*path, key))
    elif isinstance(data, MAPPINGS) and steps[0] in data:
        yield from walk(data[steps[0]], steps[1:], (*path, steps[0]))


def repeats(values: Iterator[tuple[Any, Path]]) -> Iterator[tuple[Any, Path]]:
    """Those values that came before; values that cannot be compared are passed over."""
    seen: set[Any] = set()
    for value, path in values:
        if value is None or isinstance(value, dict | list):
            continue
        if value in seen:
            yield value, path
        seen.add(value)
