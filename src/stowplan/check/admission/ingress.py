"""Ingresses and their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import (
    MAX_PORT,
    dns_label,
    dns_label_1035,
    dns_subdomain,
    domain_path,
    integer,
    is_ip,
    path_segment,
    port_name,
    short,
    text,
    walk,
)
from stowplan.check.admission.names import RELAXED_SERVICE_NAMES
from stowplan.check.objects import Object, Path, mapping, sequence

_SOURCE = "Kubernetes API validation, pkg/apis/networking/validation"
_BACKEND = "{service: {name: engine, port: {number: 80}}}"
_RULES = "spec:\n  rules:\n    - http:\n        paths:\n"
_INSIDE = ("//", "/./", "/../", "%2f", "%2F")
_AT_END = ("/..", "/.")


@object_check(
    "M187",
    "Ingress",
    reason="The API server refuses an ingress without rules, with relative paths, or with impossible hosts.",
    source=f"{_SOURCE}: ValidateIngressSpec and validateHTTPIngressPath.",
    bad=thing(
        "networking.k8s.io/v1", "Ingress", f"{_RULES}          - {{path: v1, pathType: Prefix, backend: {_BACKEND}}}"
    ),
    good=thing(
        "networking.k8s.io/v1", "Ingress", f"{_RULES}          - {{path: /v1, pathType: Prefix, backend: {_BACKEND}}}"
    ),
)
def ingress(item: Object, _context: Context) -> Iterator[Problem]:
    """An ingress has rules with absolute paths and host names."""
    if not item.spec.get("rules") and item.spec.get("defaultBackend") is None:
        yield Problem(("spec",), "the ingress has neither rules nor a default backend")
    yield from _names(item)
    for rule, path in walk(item.spec, ("rules", "*", "http")):
        if isinstance(rule, Mapping) and not rule.get("paths"):
            yield Problem(("spec", *path), "the rule has no paths")
        for index, entry in enumerate(sequence(mapping(rule).get("paths"))):
            yield from _path(mapping(entry), ("spec", *path, "paths", index))


def _names(item: Object) -> Iterator[Problem]:
    for host, path in walk(item.spec, ("rules", "*", "host")):
        if isinstance(host, str) and host and _is_no_host(host):
            yield Problem(("spec", *path), f"{short(host)} is no host name")
    for host, path in walk(item.spec, ("tls", "*", "hosts", "*")):
        if (isinstance(host, str) or host is None) and _is_no_host(host or ""):
            yield Problem(("spec", *path), f"{short(host or '')} is no host name")
    for name, path in (*walk(item.spec, ("tls", "*", "secretName")), *walk(item.spec, ("ingressClassName",))):
        if isinstance(name, str) and (name or path[-1] != "secretName") and (wrong := dns_subdomain(name)):
            yield Problem(("spec", *path), f"{path[-1]} {short(name)} {wrong}")


def _is_no_host(host: str) -> bool:
    return is_ip(host) or bool(dns_subdomain(host.removeprefix("*.")))


def _path(rule: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    value, kind = text(rule.get("path")), rule.get("pathType")
    if kind == "":
        yield Problem((*path, "pathType"), "the pathType is empty", "use Exact, Prefix or ImplementationSpecific")
    if (
        kind in ("Exact", "Prefix", "ImplementationSpecific")
        and not value.startswith("/")
        and (value or kind[0] != "I")
    ):
        yield Problem((*path, "path"), f"the path {short(value)} is not absolute")
    elif kind in ("Exact", "Prefix") and (any(part in value for part in _INSIDE) or value.endswith(_AT_END)):
        yield Problem((*path, "path"), f"the path {short(value)} has '//', '/.', '/..' or a quoted '/'")


@object_check(
    "M404",
    "Ingress",
    reason="The API server refuses a backend that is not exactly one service with a port, or one object.",
    source=f"{_SOURCE}: validateIngressBackend.",
    bad=thing("networking.k8s.io/v1", "Ingress", "spec:\n  defaultBackend: {service: {name: engine}}"),
    good=thing("networking.k8s.io/v1", "Ingress", f"spec:\n  defaultBackend: {_BACKEND}"),
)
def backends(item: Object, context: Context) -> Iterator[Problem]:
    """A backend of an ingress is one service with a port, or one object."""
    for steps in (("defaultBackend",), ("rules", "*", "http", "paths", "*", "backend")):
        for backend, path in walk(item.spec, steps):
            if isinstance(backend, Mapping):
                yield from _backend(backend, ("spec", *path), context.minor)


def _backend(backend: Mapping[str, Any], path: Path, minor: int) -> Iterator[Problem]:
    given = [field for field in ("service", "resource") if backend.get(field) is not None]
    if len(given) != 1:
        yield Problem(path, f"a backend is either a service or a resource, got {' and '.join(given) or 'none'}")
        return
    target = mapping(backend[given[0]])
    if given == ["service"]:
        yield from _service(target, (*path, "service"), minor)
        return
    yield from _typed(target, (*path, "resource"))


def _typed(target: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for field, rule in (("apiGroup", dns_subdomain), ("kind", path_segment), ("name", path_segment)):
        value = target.get(field)
        if value == "" or (isinstance(value, str) and rule(value)):
            yield Problem((*path, field), f"{short(value)} is no {field} of an object")


def _service(service: Mapping[str, Any], path: Path, minor: int) -> Iterator[Problem]:
    rule = dns_label if minor >= RELAXED_SERVICE_NAMES else dns_label_1035
    if wrong := rule(text(service.get("name"))):
        yield Problem((*path, "name"), f"the service name {short(text(service.get('name')))} {wrong}")
    port = mapping(service.get("port"))
    name, number = text(port.get("name")), integer(port.get("number"))
    if bool(name) == bool(number):
        yield Problem((*path, "port"), "the port of a backend has either a name or a number")
    elif name and (wrong := port_name(name)):
        yield Problem((*path, "port", "name"), f"the port name {short(name)} {wrong}")
    elif number and not 1 <= number <= MAX_PORT:
        yield Problem((*path, "port", "number"), f"{number} is not a port: expected 1 to {MAX_PORT}")


_CONTROLLER = "spec:\n  controller: {}\n"


@object_check(
    "M425",
    "IngressClass",
    reason="The API server refuses a class of ingresses whose controller or parameters nothing can be.",
    source=f"{_SOURCE}: ValidateIngressClass.",
    bad=thing("networking.k8s.io/v1", "IngressClass", _CONTROLLER.format("nginx")),
    good=thing("networking.k8s.io/v1", "IngressClass", _CONTROLLER.format("k8s.io/ingress-nginx")),
)
def ingress_class(item: Object, _context: Context) -> Iterator[Problem]:
    """A class of ingresses names its controller by a domain, and whole parameters."""
    controller = text(item.spec.get("controller"))
    if wrong := domain_path(controller):
        yield Problem(("spec", "controller"), f"the controller {short(controller)} {wrong}")
    data, path = item.spec.get("parameters"), ("spec", "parameters")
    if not isinstance(data, Mapping):
        return
    yield from _typed(data, path)
    scope, space = data.get("scope", "Cluster"), data.get("namespace")
    if scope not in ("Cluster", "Namespace", None):
        yield Problem((*path, "scope"), "scope is not one of Cluster, Namespace")
    elif scope == "Namespace" and (wrong := dns_label(text(space))):
        yield Problem((*path, "namespace"), f"the namespace {short(text(space))} {wrong}")
    elif scope != "Namespace" and space is not None:
        yield Problem((*path, "namespace"), "parameters of the scope Cluster take no namespace", "remove it")
