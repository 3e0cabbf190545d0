"""What the Jobs have in common: a user without rights, and a home on a volume of their own."""

from __future__ import annotations

from typing import Any

JOB_USER = 65532
JOB_HOME = {"name": "HOME", "value": "/tmp"}  # noqa: S108 - inside a container, on a volume of its own
PLAIN = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Security context of a container that needs nothing."""
JOB_POD: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": JOB_USER,
    "runAsGroup": JOB_USER,
    "fsGroup": JOB_USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of a Job's pod; the weights' volume is written by its group."""
