"""A pod's spec in; the strictest pod-security level that admits it, and what keeps it from a stricter one, out.

The rules are those of the Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.objects import mapping, sequence

LEVELS = ("restricted", "baseline", "privileged")
"""From the strictest on."""
_ADDED_BY_BASELINE = {
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
}
_VOLUMES_OF_RESTRICTED = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_PROFILES = {"RuntimeDefault", "Localhost"}


def needed_level(spec: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The level that a pod needs, and which of its fields ask for it."""
    for level, asks in (("privileged", _beyond_baseline), ("baseline", _beyond_restricted)):
        found = tuple(dict.fromkeys(asks(spec)))
        if found:
            return level, found
    return LEVELS[0], ()


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainers", "containers"):
        yield from (item for item in sequence(spec.get(field)) if isinstance(item, Mapping))


def _capabilities(context: Mapping[str, Any], side: str) -> set[str]:
    return {str(name) for name in sequence(mapping(context.get("capabilities")).get(side))}


def _profile(context: Mapping[str, Any]) -> object:
    return mapping(context.get("seccompProfile")).get("type")


def _beyond_baseline(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    if any("hostPath" in mapping(volume) for volume in sequence(spec.get("volumes"))):
        yield "hostPath"
    if _profile(mapping(spec.get("securityContext"))) == "Unconfined":
        yield "seccompProfile Unconfined"
    for container in _containers(spec):
        context = mapping(container.get("securityContext"))
        if context.get("privileged"):
            yield "privileged"
        if _profile(context) == "Unconfined":
            yield "seccompProfile Unconfined"
        yield from (f"capability {name}" for name in sorted(_capabilities(context, "add") - _ADDED_BY_BASELINE))
        if any(mapping(port).get("hostPort") for port in sequence(container.get("ports"))):
            yield "hostPort"


def _beyond_restricted(spec: Mapping[str, Any]) -> Iterator[str]:
    pod = mapping(spec.get("securityContext"))
    for volume in sequence(spec.get("volumes")):
        yield from (f"volume {kind}" for kind in mapping(volume) if kind not in {*_VOLUMES_OF_RESTRICTED, "name"})
    for container in _containers(spec):
        context = mapping(container.get("securityContext"))
        if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield "runAsNonRoot is not true"
        if context.get("runAsUser", pod.get("runAsUser")) == 0:
            yield "runAsUser 0"
        if (_profile(context) or _profile(pod)) not in _PROFILES:
            yield "no seccompProfile"
        if context.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation is not false"
        if "ALL" not in _capabilities(context, "drop"):
            yield "capabilities are not dropped"
        yield from (f"capability {name}" for name in sorted(_capabilities(context, "add") - {"NET_BIND_SERVICE"}))
