"""Deployments, sets of pods and what they do on an update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import workload
from stowplan.check.admission._register import APPS, Context, Problem, object_check, pod_check
from stowplan.check.admission._syntax import amount, int_or_percent, integer, text
from stowplan.check.objects import Object, Path, Pod, mapping, sequence

_SETS = "Deployment ReplicaSet StatefulSet DaemonSet"
_PERCENT_LIMIT = 100
_STATEFUL_SET_STEPS = 37  # before that, maxUnavailable of a StatefulSet is dropped unless a gate is on


def selects(selector: object, labels: Mapping[str, Any]) -> bool | None:
    """Whether a label selector matches labels; None where the selector cannot be read."""
    for key, value in mapping(mapping(selector).get("matchLabels")).items():
        if (labels.get(key) or "") != (value or "") or key not in labels:
            return False
    for item in sequence(mapping(selector).get("matchExpressions")):
        expression = mapping(item)
        key, values = text(expression.get("key")), sequence(expression.get("values"))
        value = labels.get(key) or ""
        match expression.get("operator"):
            case "In":
                fits = key in labels and value in values
            case "NotIn":
                fits = key not in labels or value not in values
            case "Exists":
                fits = key in labels
            case "DoesNotExist":
                fits = key not in labels
            case _:
                return None
        if not fits:
            return False
    return True


@object_check(
    "M170",
    _SETS,
    reason="The API server refuses a workload without a selector or with an empty one.",
    source=f"{APPS}: ValidateDeploymentSpec, ValidateDaemonSetSpec, ValidateStatefulSetSpec and ValidateReplicaSetSpec.",
    bad="apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: engine\nspec:\n  selector: {}\n  template:\n    metadata:\n"
    "      labels: {app: engine}\n    spec:\n      containers:\n        - {name: engine, image: registry.example/engine:1.0}\n",
    good=workload("Deployment"),
)
def has_selector(item: Object, _context: Context) -> Iterator[Problem]:
    """A workload selects its pods."""
    selector = item.spec.get("selector")
    if isinstance(selector, Mapping) and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield Problem(
            ("spec", "selector"),
            f"the selector of this {item.kind} is empty",
            "select the labels of its pod template",
        )


@object_check(
    "M171",
    _SETS,
    reason="The API server refuses a workload whose selector does not match the labels of its own pods.",
    source=f"{APPS}: ValidatePodTemplateSpecForReplicaSet and its siblings.",
    bad=workload("Deployment", labels="{app: server}"),
    good=workload("Deployment"),
)
def selector_matches_template(item: Object, _context: Context) -> Iterator[Problem]:
    """The selector matches the labels of the pod template."""
    template = item.spec.get("template")
    if not isinstance(template, Mapping):
        return
    labels = mapping(mapping(template.get("metadata")).get("labels"))
    selector = item.spec.get("selector")
    if selects(selector, labels) is not False:
        return
    wanted = mapping(mapping(selector).get("matchLabels"))
    missing = [key for key, value in wanted.items() if labels.get(key) != value]
    what = f"'{missing[0]}: {wanted[missing[0]]}'" if missing else "an expression of the selector"
    path: Path = ("spec", "template", "metadata", "labels")
    yield Problem(path, f"the labels of the pod template lack {what}, which the selector wants")


def _problems_of_step(data: Mapping[str, Any], path: Path, fields: tuple[str, ...]) -> Iterator[Problem]:
    for field in fields:
        if wrong := int_or_percent(data.get(field)):
            yield Problem((*path, field), f"{field} {wrong}")


def _above_hundred(value: object) -> bool:
    return isinstance(value, str) and (number := amount(value)) is not None and number > _PERCENT_LIMIT


@object_check(
    "M172",
    "Deployment",
    reason="The API server refuses an update strategy that can make no step, or whose numbers do not fit its type.",
    source=f"{APPS}: ValidateDeploymentStrategy and ValidateRollingUpdateDeployment.",
    bad=workload("Deployment", "strategy:\n  rollingUpdate: {maxSurge: 0, maxUnavailable: 0}"),
    good=workload("Deployment", "strategy:\n  rollingUpdate: {maxSurge: 0, maxUnavailable: 1}"),
)
def deployment_strategy(item: Object, _context: Context) -> Iterator[Problem]:
    """A Deployment's update strategy can proceed."""
    strategy, path = mapping(item.spec.get("strategy")), ("spec", "strategy", "rollingUpdate")
    rolling = strategy.get("rollingUpdate")
    if not isinstance(rolling, Mapping):
        return
    if strategy.get("type") == "Recreate":
        yield Problem(path, "the strategy Recreate takes no rollingUpdate", "remove rollingUpdate", key=True)
        return
    yield from _problems_of_step(rolling, path, ("maxUnavailable", "maxSurge"))
    if _above_hundred(rolling.get("maxUnavailable")):
        yield Problem(
            (*path, "maxUnavailable"),
            f"maxUnavailable {rolling['maxUnavailable']} is more than 100%",
        )
    if amount(rolling.get("maxUnavailable")) == 0 and amount(rolling.get("maxSurge")) == 0:
        yield Problem(
            (*path, "maxUnavailable"),
            "maxUnavailable and maxSurge are both 0: no pod could be replaced",
            "set one of them to 1",
        )


@object_check(
    "M173",
    "DaemonSet",
    reason="The API server refuses a DaemonSet update that can make no step, or that both adds and removes pods.",
    source=f"{APPS}: ValidateRollingUpdateDaemonSet.",
    bad=workload("DaemonSet", "updateStrategy:\n  rollingUpdate: {maxSurge: 1, maxUnavailable: 1}"),
    good=workload("DaemonSet", "updateStrategy:\n  rollingUpdate: {maxSurge: 1, maxUnavailable: 0}"),
)
def daemon_set_strategy(item: Object, _context: Context) -> Iterator[Problem]:
    """A DaemonSet's update either adds or removes pods."""
    strategy, path = (
        mapping(item.spec.get("updateStrategy")),
        ("spec", "updateStrategy", "rollingUpdate"),
    )
    rolling = strategy.get("rollingUpdate")
    if not isinstance(rolling, Mapping) or strategy.get("type") == "OnDelete":
        return
    yield from _problems_of_step(rolling, path, ("maxUnavailable", "maxSurge"))
    for field in ("maxUnavailable", "maxSurge"):
        if _above_hundred(rolling.get(field)):
            yield Problem((*path, field), f"{field} {rolling[field]} is more than 100%")
    gone, more = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    less, extra = amount(1 if gone is None else gone), amount(0 if more is None else more)
    if less == 0 and extra == 0:
        yield Problem(path, "maxUnavailable and maxSurge are both 0: no pod could be replaced")
    elif less and extra and less > 0 and extra > 0:
        message = f"maxSurge {more} is allowed only with maxUnavailable: 0"
        yield Problem(
            (*path, "maxSurge"),
            message,
            "set maxUnavailable: 0 (the default is 1), or remove maxSurge",
        )


@object_check(
    "M174",
    "StatefulSet",
    reason="The API server refuses an update strategy of a StatefulSet whose numbers do not fit its type.",
    source=f"{APPS}: ValidateStatefulSetSpec.",
    bad=workload("StatefulSet", "updateStrategy:\n  type: OnDelete\n  rollingUpdate: {partition: 1}"),
    good=workload("StatefulSet", "updateStrategy:\n  type: RollingUpdate\n  rollingUpdate: {partition: 1}"),
)
def stateful_set_strategy(item: Object, context: Context) -> Iterator[Problem]:
    """A StatefulSet's update strategy fits its type."""
    strategy, path = (
        mapping(item.spec.get("updateStrategy")),
        ("spec", "updateStrategy", "rollingUpdate"),
    )
    rolling = strategy.get("rollingUpdate")
    if not isinstance(rolling, Mapping):
        return
    if strategy.get("type") == "OnDelete":
        yield Problem(path, "the strategy OnDelete takes no rollingUpdate", "remove rollingUpdate", key=True)
        return
    partition = integer(rolling.get("partition"))
    if partition is not None and partition < 0:
        yield Problem((*path, "partition"), f"partition {partition} is negative")
    if context.minor >= _STATEFUL_SET_STEPS:
        yield from _problems_of_step(rolling, path, ("maxUnavailable",))


@object_check(
    "M175",
    _SETS,
    reason="The API server refuses negative counts, and a Deployment that is given up before its pods may be ready.",
    source=f"{APPS}: ValidateDeploymentSpec; progressDeadlineSeconds is 600 by default.",
    bad=workload("Deployment", "minReadySeconds: 900"),
    good=workload("Deployment", "minReadySeconds: 900\nprogressDeadlineSeconds: 1800"),
)
def counts_of_workload(item: Object, _context: Context) -> Iterator[Problem]:
    """Counts are not negative, and progressDeadlineSeconds exceeds minReadySeconds."""
    first = integer(mapping(item.spec.get("ordinals")).get("start"))
    if first is not None and first < 0:
        yield Problem(("spec", "ordinals", "start"), f"start {first} is negative")
    for field in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        number = integer(item.spec.get(field))
        if number is not None and number < 0 and (item.kind, field) != ("StatefulSet", "revisionHistoryLimit"):
            yield Problem(("spec", field), f"{field} {number} is negative")
    if item.kind != "Deployment" or not item.api_version.endswith("/v1"):
        return
    ready, given = (
        integer(item.spec.get("minReadySeconds")),
        item.spec.get("progressDeadlineSeconds"),
    )
    deadline = 600 if given is None else integer(given)
    if deadline is not None and 0 <= deadline <= (ready or 0):
        field = "minReadySeconds" if given is None else "progressDeadlineSeconds"
        message = f"progressDeadlineSeconds {deadline} is not greater than minReadySeconds {ready or 0}"
        yield Problem(("spec", field), message)


_POLICIES = {
    "CronJob": ("Never", "OnFailure"),
    "DaemonSet": ("Always",),
    "Deployment": ("Always",),
    "Job": ("Never", "OnFailure"),
    "ReplicaSet": ("Always",),
    "StatefulSet": ("Always",),
}


@pod_check(
    "M176",
    reason="The API server refuses a workload whose pods restart otherwise than its kind works.",
    source=f"{APPS} and batch/validation: restartPolicy of the pod template; its default is Always.",
    bad=workload("Deployment", pod_spec="restartPolicy: OnFailure"),
    good=workload("Deployment", pod_spec="restartPolicy: Always"),
)
def restart_policy(pod: Pod, context: Context) -> Iterator[Problem]:
    """Pods restart as their workload needs it."""
    kind = context.item.kind
    known, policy = _POLICIES.get(kind), pod.spec.get("restartPolicy") or "Always"
    if known and isinstance(policy, str) and policy not in known:
        message = f"restartPolicy {policy} of the pods of a {kind} is not allowed"
        yield Problem((*pod.spec_path, "restartPolicy"), message, f"set restartPolicy: {' or '.join(known)}")
    if known == ("Always",) and pod.spec.get("activeDeadlineSeconds") is not None:
        message = f"the pods of a {kind} take no activeDeadlineSeconds"
        yield Problem((*pod.spec_path, "activeDeadlineSeconds"), message, "remove it")
