"""Environment variables of containers and where their values come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check
from stowplan.check.admission._syntax import (
    config_key,
    dns_subdomain,
    qualified_name,
    quantity,
    repeats,
    short,
    text,
    walk,
)
from stowplan.check.objects import Container, Path, Pod, mapping, sequence

_SOURCES = ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef")
_FIELDS = {
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.host",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
}
_VOLUME_FIELDS = {
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
}
_CPU_DIVISORS = {Fraction(1), Fraction(1, 1000)}
_BYTE_DIVISORS = {Fraction(base**power) for base in (1000, 1024) for power in range(7)}
_RESOURCES = {f"{way}.{name}" for way in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage")}


def variable_name(value: str) -> str:
    """What keeps a text from being the name of an environment variable."""
    return (
        ""
        if all(" " <= character <= "~" and character != "=" for character in value)
        else "may hold only printable ASCII other than '='"
    )


def field_path_problem(reference: object, *, volume: bool = False) -> str:
    """What the API server refuses in a fieldRef."""
    path, version = mapping(reference).get("fieldPath"), mapping(reference).get("apiVersion")
    if version not in (None, "", "v1"):
        return f"the fields of a pod are those of the API version v1, not {short(text(version))}"
    if not isinstance(path, str):
        return ""
    if path.endswith("']") and "['" in path:
        base, _, key = path[:-2].partition("['")
        if base not in ("metadata.labels", "metadata.annotations"):
            return f"the field {short(base)} takes no key in brackets"
        wrong = qualified_name(key.lower() if base.endswith("annotations") else key)
        return f"the key {short(key)} {wrong}" if wrong else ""
    known = _VOLUME_FIELDS if volume else _FIELDS
    return "" if path in known else f"{short(path)} is no field of a pod that can be read here"


def resource_field_problem(reference: object) -> str:
    """What the API server refuses in a resourceFieldRef."""
    name, divisor = mapping(reference).get("resource"), mapping(reference).get("divisor")
    if not isinstance(name, str):
        return ""
    if name not in _RESOURCES and not name.startswith(("limits.hugepages-", "requests.hugepages-")):
        return f"{short(name)} is no resource that can be read here"
    number = quantity(divisor)
    if number and number not in (_CPU_DIVISORS if name.endswith(".cpu") else _BYTE_DIVISORS):
        return f"{divisor} is no divisor of {name}: expected 1{' or 1m' if name.endswith('.cpu') else ', 1k, 1M, 1Mi, 1Gi ...'}"
    return ""


@container_check(
    "M136",
    reason="The API server refuses an environment variable without a name, or whose name holds '=' or unprintable characters.",
    source=f"{CORE}: ValidateEnv and ValidateEnvFrom; relaxed names are allowed by default from 1.32.",
    bad=pod('env:\n  - {name: "HCCL=BUFFSIZE", value: "200"}'),
    good=pod('env:\n  - {name: HCCL_BUFFSIZE, value: "200"}'),
)
def variable_names(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Names of environment variables are printable and hold no '='."""
    for name, path in walk(container.data, ("env", "*", "name")):
        if name == "":
            yield Problem(path, "the environment variable has an empty name")
        elif isinstance(name, str) and (wrong := variable_name(name)):
            yield Problem(path, f"the name {short(name)} of an environment variable {wrong}")
    for prefix, path in walk(container.data, ("envFrom", "*", "prefix")):
        if isinstance(prefix, str) and (wrong := variable_name(prefix)):
            yield Problem(path, f"the prefix {short(prefix)} of environment variables {wrong}")


@container_check(
    "M137",
    reason="The API server refuses an environment variable with a value and a source, several sources, or a source that cannot be read.",
    source=f"{CORE}: validateEnvVarValueFrom.",
    bad=pod("env:\n  - name: POD_IP\n    valueFrom:\n      fieldRef: {fieldPath: status.podIp}"),
    good=pod("env:\n  - name: POD_IP\n    valueFrom:\n      fieldRef: {fieldPath: status.podIP}"),
)
def variable_sources(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A variable has a value or one source that can be read."""
    for index, item in enumerate(sequence(container.data.get("env"))):
        source = mapping(item).get("valueFrom")
        if not isinstance(source, Mapping):
            continue
        path: Path = ("env", index, "valueFrom")
        given = [name for name in _SOURCES if source.get(name) is not None]
        if not given and not set(source) - set(_SOURCES):
            yield Problem(
                path,
                "valueFrom names no source",
                "give one of configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef",
            )
        elif given and text(mapping(item).get("value")):
            yield Problem(path, "the variable has both value and valueFrom", "remove one of them")
        elif len(given) > 1:
            yield Problem(path, f"valueFrom has {len(given)} sources, one is allowed: {', '.join(given)}")
        if wrong := field_path_problem(source.get("fieldRef")):
            yield Problem((*path, "fieldRef", "fieldPath"), wrong)
        if wrong := resource_field_problem(source.get("resourceFieldRef")):
            yield Problem((*path, "resourceFieldRef", "resource"), wrong)
        for name in ("configMapKeyRef", "secretKeyRef"):
            yield from _key_reference(source.get(name), (*path, name))


def _key_reference(reference: object, path: Path) -> Iterator[Problem]:
    if not isinstance(reference, Mapping):
        return
    data: Mapping[str, Any] = reference
    name, key = data.get("name"), data.get("key")
    if name in (None, ""):
        yield Problem((*path, "name"), "the name of the object that holds the key is missing")
    elif isinstance(name, str) and (wrong := dns_subdomain(name)):
        yield Problem((*path, "name"), f"the name {short(name)} {wrong}")
    if key == "":
        yield Problem((*path, "key"), "the key is empty")
    elif isinstance(key, str) and (wrong := config_key(key)):
        yield Problem((*path, "key"), f"the key {short(key)} {wrong}")


@container_check(
    "M138",
    reason="The API server refuses an entry of envFrom that does not name exactly one ConfigMap or Secret.",
    source=f"{CORE}: ValidateEnvFrom.",
    bad=pod("envFrom:\n  - prefix: ENGINE_"),
    good=pod("envFrom:\n  - configMapRef: {name: engine}"),
)
def variables_from_object(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """An entry of envFrom names one ConfigMap or Secret."""
    for index, item in enumerate(sequence(container.data.get("envFrom"))):
        data = mapping(item)
        given = [name for name in ("configMapRef", "secretRef") if data.get(name) is not None]
        if len(given) != 1:
            message = f"envFrom names {len(given)} objects, exactly one is allowed"
            yield Problem(("envFrom", index), message, "give either configMapRef or secretRef")
        for name in given:
            value = text(mapping(data[name]).get("name"))
            if not value:
                yield Problem(("envFrom", index, name), f"{name} has no name")
            elif wrong := dns_subdomain(value.removesuffix("-")):  # read as the beginning of a name
                yield Problem(("envFrom", index, name, "name"), f"the name {short(value)} {wrong}")


@container_check(
    "M139",
    severity="warning",
    reason="Of two variables with one name the last wins; server-side apply refuses them.",
    source="Kubernetes API reference, Container: env is a map by name.",
    bad=pod('env:\n  - {name: TP, value: "4"}\n  - {name: TP, value: "8"}'),
    good=pod('env:\n  - {name: TP, value: "4"}\n  - {name: DP, value: "8"}'),
)
def variables_differ(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A container sets a variable once."""
    for name, path in repeats(walk(container.data, ("env", "*", "name"))):
        yield Problem(path, f"the environment variable {short(text(name))} is set twice")
