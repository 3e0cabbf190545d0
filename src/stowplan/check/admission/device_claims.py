"""Claims of devices and classes of devices: dynamic resource allocation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import (
    dns_label,
    dns_subdomain,
    driver_name,
    integer,
    label_value,
    qualified_name,
    repeats,
    resource_name,
    short,
    text,
    walk,
)
from stowplan.check.objects import Object, Path, dig, mapping, sequence

_SOURCE = "Kubernetes API validation, pkg/apis/resource/validation"
_API = "resource.k8s.io/v1"
_FIRST = "resource.k8s.io/v1beta1"
_APIS = {_API, _FIRST, "resource.k8s.io/v1beta2"}
_MOST, _MOST_ALTERNATIVES, _MOST_TOLERATIONS = 32, 8, 16
_LONGEST_PARAMETERS, _LONGEST_EXPRESSION = 10 * 1024, 10 * 1024
_LONGEST_DOMAIN, _LONGEST_ID = 63, 32


def _claim(devices: str) -> str:
    return thing(_API, "ResourceClaim", f"spec:\n  devices:\n{devices}")


def _request_of(fields: str) -> str:
    return _claim(f"    requests:\n      - {fields}")


def _devices(item: Object) -> tuple[Mapping[str, Any], Path]:
    base: Path = ("spec", "spec", "devices") if item.kind == "ResourceClaimTemplate" else ("spec", "devices")
    return mapping(dig(item.data, base)) if item.api_version in _APIS else {}, base


def _too_many(items: object, path: Path, most: int = _MOST) -> Iterator[Problem]:
    if len(sequence(items)) > most:
        yield Problem(path, f"{len(sequence(items))} {path[-1]} are given, at most {most} are allowed")


@object_check(
    "M188",
    "ResourceClaim ResourceClaimTemplate",
    reason="The API server refuses a claim whose requests have no names or classes, or count devices in an impossible way.",
    source=f"{_SOURCE}: validateDeviceClaim and validateDeviceRequest.",
    bad=_request_of("{name: gpus, exactly: {deviceClassName: gpu.nvidia.com, allocationMode: All, count: 8}}"),
    good=_request_of("{name: gpus, exactly: {deviceClassName: gpu.nvidia.com, count: 8}}"),
)
def device_requests(item: Object, context: Context) -> Iterator[Problem]:
    """Requests for devices have a name, a class and a possible count."""
    devices, base = _devices(item)
    yield from _too_many(devices.get("requests"), (*base, "requests"))
    yield from _names(devices, (*base, "requests"))
    for index, entry in enumerate(sequence(devices.get("requests"))):
        request, path = mapping(entry), (*base, "requests", index)
        if item.api_version == _FIRST:
            if request.get("firstAvailable") is None:
                yield from _request(request, path, context)
            continue
        given = [field for field in ("exactly", "firstAvailable") if request.get(field) not in (None, [])]
        if len(given) != 1:
            message = f"the request has {len(given)} forms, exactly one of exactly and firstAvailable is allowed"
            yield Problem(path, message)
            continue
        if given == ["exactly"]:
            yield from _request(mapping(request["exactly"]), (*path, "exactly"), context)
        else:
            yield from _alternatives(request, (*path, "firstAvailable"), context)


def _alternatives(request: Mapping[str, Any], path: Path, context: Context) -> Iterator[Problem]:
    yield from _too_many(request["firstAvailable"], path, _MOST_ALTERNATIVES)
    yield from _names(request, path)
    for index, alternative in enumerate(sequence(request["firstAvailable"])):
        yield from _request(mapping(alternative), (*path, index), context)


def _names(data: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(sequence(data.get(str(path[-1])))):
        name = text(mapping(entry).get("name"))
        if wrong := "is given twice" if name in seen else dns_label(name):
            yield Problem((*path, index, "name"), f"the request name {short(name)} {wrong}")
        seen.add(name)


def _request(request: Mapping[str, Any], path: Path, context: Context) -> Iterator[Problem]:
    name, mode, count = (
        request.get("deviceClassName"),
        request.get("allocationMode") or "ExactCount",
        integer(request.get("count")),
    )
    if name in (None, ""):
        yield Problem(path, "the request names no deviceClassName")
    elif isinstance(name, str) and (wrong := dns_subdomain(name)):
        yield Problem((*path, "deviceClassName"), f"deviceClassName {short(name)} {wrong}")
    if mode == "ExactCount" and count is not None and count < 0:
        yield Problem((*path, "count"), f"the count {count} is not greater than 0")
    elif mode == "All" and count:
        hint = "remove count, or use ExactCount"
        yield Problem((*path, "count"), "a request for all devices takes no count", hint)
    elif isinstance(mode, str) and mode not in ("ExactCount", "All"):
        yield Problem((*path, "allocationMode"), f"{short(mode)} is no allocation mode", "use ExactCount or All")
    yield from _selectors(request, path)
    yield from _too_many(request.get("tolerations"), (*path, "tolerations"), _MOST_TOLERATIONS)
    for index, toleration in enumerate(sequence(request.get("tolerations"))):
        yield from _toleration(mapping(toleration), (*path, "tolerations", index), context.minor)


_NO_EFFECT_YET = 36  # since then a device's taint may have the effect None


def _toleration(data: Mapping[str, Any], path: Path, minor: int) -> Iterator[Problem]:
    key, operator, value = text(data.get("key")), data.get("operator") or "Equal", text(data.get("value"))
    effects = ("NoSchedule", "NoExecute", *(("None",) if minor >= _NO_EFFECT_YET else ()))
    if key and (wrong := qualified_name(key)):
        yield Problem((*path, "key"), f"the taint key {short(key)} {wrong}")
    if operator not in ("Exists", "Equal"):
        yield Problem(
            (*path, "operator"), f"{short(text(operator))} is no operator of a toleration", "use Exists or Equal"
        )
    elif operator == "Exists" and value:
        yield Problem((*path, "value"), "a toleration with the operator Exists takes no value", "remove value")
    elif operator == "Equal" and (wrong := label_value(value)):
        yield Problem((*path, "value"), f"the value {short(value)} of a toleration {wrong}")
    if data.get("effect") not in (None, "", *effects):
        yield Problem((*path, "effect"), f"{short(text(data['effect']))} is not one of {', '.join(effects)}")


def _selectors(data: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    yield from _too_many(data.get("selectors"), (*path, "selectors"))
    for index, entry in enumerate(sequence(data.get("selectors"))):
        inner = (*path, "selectors", index)
        if mapping(entry).get("cel") is None:
            yield Problem(inner, "the selector has no cel", "give cel: {expression: ...}")
            continue
        expression = mapping(entry["cel"]).get("expression")
        if not text(expression).strip():
            yield Problem((*inner, "cel", "expression"), "the expression is empty")
        elif len(text(expression)) > _LONGEST_EXPRESSION:
            message = f"the expression is longer than {_LONGEST_EXPRESSION:,} characters"
            yield Problem((*inner, "cel", "expression"), message)


@object_check(
    "M405",
    "ResourceClaim ResourceClaimTemplate",
    reason="The API server refuses constraints and configurations that speak of requests which the claim does not make.",
    source=f"{_SOURCE}: validateDeviceConstraint and validateDeviceClaimConfiguration.",
    bad=_claim(
        "    requests: [{name: gpus, exactly: {deviceClassName: a}}]\n    constraints: [{requests: [gpu], matchAttribute: example.com/numa}]"
    ),
    good=_claim(
        "    requests: [{name: gpus, exactly: {deviceClassName: a}}]\n    constraints: [{requests: [gpus], matchAttribute: example.com/numa}]"
    ),
)
def constraints(item: Object, _context: Context) -> Iterator[Problem]:
    """Constraints and configurations are of the claim's own requests."""
    devices, base = _devices(item)
    known = set(_request_names(devices))
    for field in ("constraints", "config"):
        yield from _too_many(devices.get(field), (*base, field))
        for name, path in walk(devices, (field, "*", "requests", "*")):
            if isinstance(name, str | None) and (name or "") not in known:
                yield Problem((*base, *path), f"the claim has no request {short(name or '')}")
        for entry, path in walk(devices, (field, "*")):
            for name, inner in repeats(walk(entry, ("requests", "*"))):
                yield Problem((*base, *path, *inner), f"the request {short(text(name))} is listed twice")
    for entry, path in walk(devices, ("constraints", "*")):
        given = [f for f in ("matchAttribute", "distinctAttribute") if mapping(entry).get(f) is not None]
        if not given:
            yield Problem((*base, *path), "the constraint has no matchAttribute")
        for field in given[:1]:
            if wrong := _attribute(text(entry[field])):
                yield Problem((*base, *path, field), f"the attribute {short(text(entry[field]))} {wrong}")
    yield from _configurations(devices, base)


def _request_names(devices: Mapping[str, Any]) -> Iterator[str]:
    for entry in sequence(devices.get("requests")):
        name = text(mapping(entry).get("name"))
        yield name
        for inner in sequence(mapping(entry).get("firstAvailable")):
            yield f"{name}/{text(mapping(inner).get('name'))}"


def _attribute(name: str) -> str:
    """What keeps a text from being the full name of a device's attribute: `domain/identifier`."""
    domain, slash, own = name.partition("/")
    if not slash:
        return "has no domain before '/'"
    if "/" in own:
        return ""  # the API server looks no closer
    if dns_subdomain(domain.lower()) or len(domain) > _LONGEST_DOMAIN:
        return f"has a domain that is not a DNS subdomain of at most {_LONGEST_DOMAIN} characters"
    if not own.isascii() or not own.isidentifier() or len(own) > _LONGEST_ID:
        return f"has a name that is not an identifier of at most {_LONGEST_ID} characters"
    return ""


def _configurations(data: Mapping[str, Any], base: Path) -> Iterator[Problem]:
    for index, entry in enumerate(sequence(data.get("config"))):
        path = (*base, "config", index)
        opaque = mapping(entry).get("opaque")
        if opaque is None:
            yield Problem(path, "the configuration has no opaque part", "give opaque: {driver: ..., parameters: ...}")
            continue
        driver = text(mapping(opaque).get("driver"))
        if wrong := driver_name(driver):
            yield Problem((*path, "opaque", "driver"), f"the driver name {short(driver)} {wrong}")
        parameters = mapping(opaque).get("parameters")
        if not isinstance(parameters, Mapping):
            yield Problem((*path, "opaque", "parameters"), "the parameters are no mapping")
        elif len(json.dumps(parameters, default=str)) > _LONGEST_PARAMETERS:
            message = f"the parameters are longer than {_LONGEST_PARAMETERS:,} characters"
            yield Problem((*path, "opaque", "parameters"), message, key=True)


@object_check(
    "M406",
    "DeviceClass",
    reason="The API server refuses a class of devices whose selectors or configurations are empty, or whose resource name nothing can ask for.",
    source=f"{_SOURCE}: validateDeviceClassSpec.",
    bad=thing(_API, "DeviceClass", "spec:\n  selectors:\n    - {}"),
    good=thing(_API, "DeviceClass", "spec:\n  selectors:\n    - cel: {expression: device.driver == 'gpu.nvidia.com'}"),
)
def device_class(item: Object, _context: Context) -> Iterator[Problem]:
    """A class of devices has whole selectors and configurations, and a possible resource name."""
    if item.api_version not in _APIS:
        return
    yield from _selectors(item.spec, ("spec",))
    yield from _too_many(item.spec.get("config"), ("spec", "config"))
    yield from _configurations(item.spec, ("spec",))
    name = item.spec.get("extendedResourceName")
    if isinstance(name, str) and (wrong := resource_name(name)):
        yield Problem(("spec", "extendedResourceName"), f"{short(name)} {wrong}")
