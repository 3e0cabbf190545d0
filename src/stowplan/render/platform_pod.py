"""A pod template in; the one that a platform's operator can lay over its own presets, out.

Operators merge what they are told into presets of theirs, field by field: a handler of another kind than the preset's
would stand beside it, which the API server refuses, and what is left out becomes the preset's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stowplan.profiles.platform import PlatformSpec

_ACCOUNT = ("serviceAccountName", "automountServiceAccountToken")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def for_platform(pod: Mapping[str, Any], spec: PlatformSpec) -> dict[str, Any]:
    """The pod with the engine's container named, probed and confined as the platform's presets expect."""
    inner = pod["spec"]
    engine, *others = inner["containers"]
    told = {**engine, "name": spec.container}
    if "lifecycle" in engine:
        seconds = engine["lifecycle"]["preStop"]["sleep"]["seconds"]
        told["lifecycle"] = {"preStop": {"exec": {"command": ["/bin/sleep", str(seconds)]}}}
        told |= {name: _by_http(engine[name], engine["livenessProbe"], spec) for name in _PROBES}
    if spec.own_account:
        inner = {key: value for key, value in inner.items() if key not in _ACCOUNT}
    told["securityContext"] = _confined(engine["securityContext"], inner.get("securityContext") or {})
    return {**pod, "spec": {**inner, "containers": [told, *others]}}


def _by_http(probe: Mapping[str, Any], alive: Mapping[str, Any], spec: PlatformSpec) -> dict[str, Any]:
    """A probe of the health path, with what the engine speaks: presets may have said TLS."""
    asked = {**alive["httpGet"], "port": spec.port_name, "scheme": "HTTP"}
    return {"httpGet": asked, **{key: value for key, value in probe.items() if key not in ("exec", "httpGet")}}


def _confined(own: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, Any]:
    """What the pod says of user and system calls, said of the container too, where presets would override it."""
    user = pod.get("runAsUser", 0)
    confined = {**own, "runAsNonRoot": bool(user), "runAsUser": user}
    if "seccompProfile" in pod:
        confined["seccompProfile"] = pod["seccompProfile"]
    return confined
