"""Namespaces."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import short, text
from stowplan.check.objects import Object, mapping

_PREFIX = "pod-security.kubernetes.io/"
_LEVELS = ("privileged", "baseline", "restricted")
_VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")


@object_check(
    "M419",
    "Namespace",
    reason="The API server refuses a namespace whose labels for pod security name no level, or no version of it.",
    source="Kubernetes pod-security-admission, pkg api: PolicyToEvaluate; https://kubernetes.io/docs/concepts/security/pod-security-admission/",
    bad=thing("v1", "Namespace", name="serving", metadata="labels: {pod-security.kubernetes.io/enforce: strict}"),
    good=thing("v1", "Namespace", name="serving", metadata="labels: {pod-security.kubernetes.io/enforce: restricted}"),
)
def pod_security(item: Object, _context: Context) -> Iterator[Problem]:
    """Labels for pod security name a level and a version."""
    labels = mapping(item.metadata.get("labels"))
    for mode in ("enforce", "audit", "warn"):
        level, version = labels.get(f"{_PREFIX}{mode}"), labels.get(f"{_PREFIX}{mode}-version")
        if f"{_PREFIX}{mode}" in labels and text(level) not in _LEVELS:
            path = ("metadata", "labels", f"{_PREFIX}{mode}")
            yield Problem(path, f"{short(text(level))} is not one of {', '.join(_LEVELS)}")
        if isinstance(version, str) and not _VERSION.fullmatch(version):
            path = ("metadata", "labels", f"{_PREFIX}{mode}-version")
            yield Problem(
                path, f"{short(text(version))} is no version of pod security", "use latest, or v1.37 for example"
            )
