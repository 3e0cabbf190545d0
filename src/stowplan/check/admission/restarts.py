"""When a container is started again: its own policy and rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check, pod_check
from stowplan.check.admission._syntax import integer, short, text
from stowplan.check.objects import Container, Path, Pod, mapping, sequence

_RESTART_RULES = 34


@container_check(
    "M157",
    reason="The API server refuses a restart policy on a container of a version that knows it only for init containers.",
    source=f"{CORE}: validateInitContainerRestartPolicy and validateContainers; other policies of containers came with 1.34 (KEP-5307).",
    bad=pod(spec="initContainers:\n  - {name: fetch, image: registry.example/fetch:1, restartPolicy: Sometimes}"),
    good=pod(spec="initContainers:\n  - {name: fetch, image: registry.example/fetch:1, restartPolicy: Always}"),
)
def container_restart_policy(container: Container, _pod: Pod, context: Context) -> Iterator[Problem]:
    """The restart policy of a container is one that its version knows."""
    policy = container.data.get("restartPolicy")
    if not isinstance(policy, str):
        return
    if context.minor < _RESTART_RULES and not container.init:
        yield Problem(
            ("restartPolicy",),
            f"Kubernetes 1.{context.minor} allows restartPolicy only on init containers",
            "move it to the pod",
        )
    known = ("Always", "OnFailure", "Never") if context.minor >= _RESTART_RULES else ("Always",)
    if (container.init and policy not in known) or policy not in ("Always", "OnFailure", "Never"):
        yield Problem(
            ("restartPolicy",),
            f"{short(policy)} is no restart policy of this container",
            f"use {' or '.join(known)}",
        )


_MOST_RULES, _MOST_CODES = 20, 255


@container_check(
    "M420",
    reason="The API server refuses restart rules of a container without a policy, an action or exit codes.",
    source=f"{CORE}: validateRestartPolicyRules (KEP-5307).",
    bad=pod("restartPolicyRules:\n  - {action: Restart, exitCodes: {operator: In, values: [42]}}"),
    good=pod(
        "restartPolicy: Never\nrestartPolicyRules:\n  - {action: Restart, exitCodes: {operator: In, values: [42]}}"
    ),
)
def restart_rules(container: Container, _pod: Pod, context: Context) -> Iterator[Problem]:
    """Restart rules have a policy beside them, an action and exit codes."""
    rules = sequence(container.data.get("restartPolicyRules"))
    if not rules or context.minor <= _RESTART_RULES:
        return
    if container.data.get("restartPolicy") in (None, ""):
        yield Problem(("restartPolicyRules",), "restart rules need a restartPolicy of the container", key=True)
    if len(rules) > _MOST_RULES:
        message = f"{len(rules)} rules are given, at most {_MOST_RULES} are allowed"
        yield Problem(("restartPolicyRules",), message, key=True)
    for index, rule in enumerate(rules):
        yield from _rule(mapping(rule), ("restartPolicyRules", index))


def _rule(rule: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if rule.get("action") not in ("Restart", "RestartAllContainers"):
        yield Problem((*path, "action"), f"{short(text(rule.get('action')))} is no action of a restart rule")
    codes = mapping(rule.get("exitCodes"))
    values = sequence(codes.get("values"))
    if codes.get("operator") not in ("In", "NotIn"):
        yield Problem((*path, "exitCodes"), "the operator is not one of In, NotIn")
    if not 0 < len(values) <= _MOST_CODES or len({integer(value) for value in values}) < len(values):
        yield Problem((*path, "exitCodes"), f"expected 1 to {_MOST_CODES} exit codes, each once")


@pod_check(
    "M421",
    reason="The API server works out a pod's priority, preemption and overhead from its classes, and refuses other values.",
    source="Kubernetes admission plugins Priority and RuntimeClass.",
    bad=pod(spec="preemptionPolicy: Never"),
    good=pod(spec="priorityClassName: batch\npreemptionPolicy: Never"),
)
def classes_of_pod(pod: Pod, context: Context) -> Iterator[Problem]:
    """A pod without a class has no preemption policy or overhead of its own."""
    if context.item.kind != "Pod":
        return
    if pod.spec.get("priorityClassName") in (None, "") and pod.spec.get("preemptionPolicy") == "Never":
        place = (*pod.spec_path, "preemptionPolicy")
        yield Problem(place, "preemptionPolicy needs a priority class that says the same", "give priorityClassName")
    if pod.spec.get("runtimeClassName") is None and pod.spec.get("overhead"):
        place = (*pod.spec_path, "overhead")
        yield Problem(place, "an overhead needs a runtime class that says the same", "remove it", key=True)
