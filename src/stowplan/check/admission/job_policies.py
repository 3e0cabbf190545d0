"""When a Job fails or succeeds early: its rules on exit codes, pod conditions and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import job
from stowplan.check.admission._register import BATCH, Context, Problem, object_check
from stowplan.check.admission._syntax import integer, qualified_name, short, text
from stowplan.check.admission.jobs import job_spec
from stowplan.check.objects import Object, Path, dig, mapping, sequence

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MOST_RULES, _MOST_CONDITIONS, _MOST_CODES = 20, 20, 255
_INTERVAL = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?")
_FAILURE = "podFailurePolicy:\n  rules:\n    - {{action: FailJob, onExitCodes: {{operator: In, values: {}}}}}"


@object_check(
    "M411",
    "Job CronJob",
    reason="The API server refuses rules on failed pods that name no known action, no codes or conditions, or other containers.",
    source=f"{BATCH}: validatePodFailurePolicy.",
    bad=job(_FAILURE.format("[0]")),
    good=job(_FAILURE.format("[42]")),
)
def failure_policy(item: Object, _context: Context) -> Iterator[Problem]:
    """Rules on failed pods have an action, and either exit codes or conditions."""
    spec, base = job_spec(item)
    policy, path = spec.get("podFailurePolicy"), (*base, "podFailurePolicy", "rules")
    if not isinstance(policy, Mapping):
        return
    pod = mapping(dig(spec, ("template", "spec")))
    if pod.get("restartPolicy") not in (None, "Never"):
        place = (*base, "template", "spec", "restartPolicy")
        yield Problem(place, "a podFailurePolicy needs restartPolicy: Never")
    if spec.get("podReplacementPolicy") not in (None, "Failed"):
        yield Problem((*base, "podReplacementPolicy"), "a podFailurePolicy allows only podReplacementPolicy: Failed")
    names = {text(mapping(c).get("name")) for f in ("containers", "initContainers") for c in sequence(pod.get(f))}
    rules = sequence(policy.get("rules"))
    if len(rules) > _MOST_RULES:
        yield Problem(path, f"{len(rules)} rules are given, at most {_MOST_RULES} are allowed")
    for index, entry in enumerate(rules):
        rule = mapping(entry)
        if rule.get("action") not in _ACTIONS:
            yield Problem((*path, index), f"the action of the rule is not one of {', '.join(_ACTIONS)}")
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            yield Problem((*path, index, "action"), "the action FailIndex needs backoffLimitPerIndex")
        given = [field for field in ("onExitCodes", "onPodConditions") if rule.get(field) not in (None, [])]
        if len(given) != 1:
            yield Problem(
                (*path, index), f"the rule has {len(given)} of onExitCodes and onPodConditions, one is allowed"
            )
        yield from _exit_codes(rule.get("onExitCodes"), (*path, index, "onExitCodes"), names)
        yield from _conditions(rule, (*path, index, "onPodConditions"))


def _exit_codes(data: object, path: Path, names: set[str]) -> Iterator[Problem]:
    if not isinstance(data, Mapping):
        return
    operator, container = data.get("operator"), data.get("containerName")
    if operator not in ("In", "NotIn"):
        yield Problem((*path, "operator"), "the operator is not one of In, NotIn")
    if isinstance(container, str) and container not in names:
        yield Problem((*path, "containerName"), f"the pod has no container {short(container)}")
    codes = [integer(code) or 0 for code in sequence(data.get("values"))]
    if not 0 < len(codes) <= _MOST_CODES:
        yield Problem(path, f"{len(codes)} exit codes are given, expected 1 to {_MOST_CODES}")
    if operator == "In" and 0 in codes:
        yield Problem((*path, "values", codes.index(0)), "the exit code 0 is no failure")
    if codes != sorted(set(codes)):
        yield Problem((*path, "values"), "exit codes are given in order, each once")


def _conditions(rule: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    conditions = sequence(rule.get("onPodConditions"))
    if len(conditions) > _MOST_CONDITIONS:
        yield Problem(path, f"{len(conditions)} conditions are given, at most {_MOST_CONDITIONS} are allowed")
    for index, condition in enumerate(conditions):
        kind = text(mapping(condition).get("type"))
        if wrong := qualified_name(kind):
            yield Problem((*path, index, "type"), f"the condition {short(kind)} {wrong}")
        if mapping(condition).get("status") not in (None, "True", "False", "Unknown"):
            yield Problem((*path, index, "status"), "the status is not one of True, False, Unknown")


@object_check(
    "M412",
    "Job CronJob",
    reason="The API server refuses rules on success of a Job without indexes, or on indexes that it does not have.",
    source=f"{BATCH}: validateSuccessPolicy.",
    bad=job("successPolicy: {rules: [{succeededCount: 1}]}"),
    good=job("completionMode: Indexed\ncompletions: 4\nsuccessPolicy: {rules: [{succeededCount: 1}]}"),
)
def success_policy(item: Object, _context: Context) -> Iterator[Problem]:
    """Rules on success are of an Indexed Job and within its indexes."""
    spec, base = job_spec(item)
    policy, path = spec.get("successPolicy"), (*base, "successPolicy")
    if not isinstance(policy, Mapping):
        return
    if spec.get("completionMode") != "Indexed":
        yield Problem(path, "a successPolicy needs the completion mode Indexed", key=True)
        return
    rules = sequence(policy.get("rules"))
    if not 0 < len(rules) <= _MOST_RULES:
        yield Problem(path, f"{len(rules)} rules are given, expected 1 to {_MOST_RULES}")
    completions = integer(spec.get("completions"))
    for index, entry in enumerate(rules):
        yield from _success(mapping(entry), (*path, "rules", index), 1 if completions is None else completions)


def _success(rule: Mapping[str, Any], path: Path, completions: int) -> Iterator[Problem]:
    indexes, count, most = rule.get("succeededIndexes"), integer(rule.get("succeededCount")), completions
    if indexes is None and rule.get("succeededCount") is None:
        yield Problem(path, "the rule has neither succeededCount nor succeededIndexes")
    if isinstance(indexes, str):
        covered = _covered(indexes, completions)
        if covered is None:
            message = f"{short(indexes)} is no list of indexes below {completions}"
            yield Problem((*path, "succeededIndexes"), message, "write for example 0-2,5")
            return
        most = min(most, covered)
    if count is not None and not 0 <= count <= most:
        yield Problem((*path, "succeededCount"), f"succeededCount {count} is not in the range 0 to {most}")


def _covered(indexes: str, completions: int) -> int | None:
    """How many indexes a text such as `0-2,5` names; None where it cannot be read."""
    last, total = -1, 0
    for part in indexes.split(",") if indexes else ():
        if not _INTERVAL.fullmatch(part):
            return None
        bounds = [int(bound) for bound in part.split("-")]
        if bounds[0] <= last or bounds[-1] >= completions or (len(bounds) > 1 and bounds[0] >= bounds[1]):
            return None
        total += bounds[-1] - bounds[0] + 1
        last = bounds[-1]
    return total
