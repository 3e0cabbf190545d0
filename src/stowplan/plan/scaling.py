"""A chosen layout in; when an autoscaler adds and takes replicas of it, out."""

from __future__ import annotations

from math import floor
from typing import Any

from stowplan.plan.model import Candidate, Plan
from stowplan.plan.planner import replicas

_LONGEST_PERIOD = 1800
_LONGEST_WINDOW = 3600
"""Seconds; the autoscaling API takes no longer ones."""
_UP_WINDOW = 300


def scaling(plan: Plan, chosen: Candidate, startup_seconds: int) -> dict[str, Any] | None:
    """Bounds and pace: one replica at a time, not before the last one can have started; None: nothing scales."""
    most = plan.pairing.spec.max_replicas
    if most is None:
        return None
    load, use_case = plan.pairing.use_case.load, plan.pairing.use_case
    carried = chosen.roles[-1].carried(use_case.mean_request)
    return {
        "minReplicas": replicas(plan),
        "maxReplicas": most,
        "requestsPerReplica": max(1, min(load.concurrency, floor(carried))),
        "upWindowSeconds": _UP_WINDOW,
        "upPeriodSeconds": min(startup_seconds, _LONGEST_PERIOD),
        "downWindowSeconds": _LONGEST_WINDOW,
        "downPeriodSeconds": _LONGEST_PERIOD,
        "prometheus": plan.pairing.site.prometheus,
    }
