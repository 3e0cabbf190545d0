"""Shorter forms of `check` for this level: findings by path, kinds told apart by group, one call per pod or container."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stowplan.check.objects import Bundle, Container, Object, Path, Pod
from stowplan.check.registry import Found, check
from stowplan.diagnostics import Severity

CORE = "Kubernetes API validation, pkg/apis/core/validation"
APPS = "Kubernetes API validation, pkg/apis/apps/validation"
BATCH = "Kubernetes API validation, pkg/apis/batch/validation"

GROUPS = {
    "ClusterRole": "rbac.authorization.k8s.io",
    "ClusterRoleBinding": "rbac.authorization.k8s.io",
    "ConfigMap": "",
    "CronJob": "batch",
    "CustomResourceDefinition": "apiextensions.k8s.io",
    "DaemonSet": "apps",
    "Deployment": "apps",
    "DeviceClass": "resource.k8s.io",
    "HorizontalPodAutoscaler": "autoscaling",
    "Ingress": "networking.k8s.io",
    "IngressClass": "networking.k8s.io",
    "Job": "batch",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io",
    "Namespace": "",
    "NetworkPolicy": "networking.k8s.io",
    "PersistentVolume": "",
    "PersistentVolumeClaim": "",
    "Pod": "",
    "PodDisruptionBudget": "policy",
    "PriorityClass": "scheduling.k8s.io",
    "ReplicaSet": "apps",
    "ResourceClaim": "resource.k8s.io",
    "ResourceClaimTemplate": "resource.k8s.io",
    "Role": "rbac.authorization.k8s.io",
    "RoleBinding": "rbac.authorization.k8s.io",
    "RuntimeClass": "node.k8s.io",
    "Secret": "",
    "Service": "",
    "ServiceAccount": "",
    "StatefulSet": "apps",
    "StorageClass": "storage.k8s.io",
}
POD_KINDS = "Pod Deployment ReplicaSet StatefulSet DaemonSet Job CronJob LeaderWorkerSet"


class Problem(NamedTuple):
    """A finding before the object is known: where and what."""

    path: Path
    message: str
    hint: str = ""
    key: bool = False


class Context(NamedTuple):
    """What surrounds a pod or an object."""

    item: Object
    minor: int
    """The 37 of Kubernetes 1.37."""


ObjectRule = Callable[[Object, Context], Iterator[Problem]]
PodRule = Callable[[Pod, Context], Iterator[Problem]]
ContainerRule = Callable[[Container, Pod, Context], Iterator[Problem]]


def is_own(item: Object) -> bool:
    """Whether a known kind is that of Kubernetes (or of LeaderWorkerSet), not another group's kind of that name."""
    return GROUPS.get(item.kind) == item.group


def minor_of(bundle: Bundle) -> int:
    """The 37 of 1.37."""
    return int(bundle.minor.partition(".")[2] or 0)


def object_check(
    code: str,
    kinds: str,
    *,
    reason: str,
    source: str,
    bad: str,
    good: str,
    severity: Severity = "error",
) -> Callable[[ObjectRule], ObjectRule]:
    """Register a check of some kinds; empty: every object."""

    def register(rule: ObjectRule) -> ObjectRule:
        @functools.wraps(rule)
        def run(item: Object, bundle: Bundle) -> Iterator[Found]:
            if not kinds or is_own(item):
                for problem in rule(item, Context(item, minor_of(bundle))):
                    yield Found(item, *problem)

        check(
            code,
            level="admission",
            reason=reason,
            source=source,
            bad=bad,
            good=good,
            kinds=kinds,
            severity=severity,
        )(run)
        return rule

    return register


def pod_check(
    code: str, *, reason: str, source: str, bad: str, good: str, severity: Severity = "error"
) -> Callable[[PodRule], PodRule]:
    """Register a check of every pod and pod template; paths are inside the object."""

    def register(rule: PodRule) -> PodRule:
        @functools.wraps(rule)
        def run(item: Object, bundle: Bundle) -> Iterator[Found]:
            if is_own(item):
                context = Context(item, minor_of(bundle))
                for pod in item.pods:
                    for problem in rule(pod, context):
                        yield Found(item, *problem)

        check(
            code,
            level="admission",
            reason=reason,
            source=source,
            bad=bad,
            good=good,
            kinds=POD_KINDS,
            severity=severity,
        )(run)
        return rule

    return register


def container_check(
    code: str, *, reason: str, source: str, bad: str, good: str, severity: Severity = "error"
) -> Callable[[ContainerRule], ContainerRule]:
    """Register a check of every container; paths are inside the container."""

    def register(rule: ContainerRule) -> ContainerRule:
        def of_pod(pod: Pod, context: Context) -> Iterator[Problem]:
            for container in context.item.containers[pod.spec_path]:
                for path, message, hint, key in rule(container, pod, context):
                    yield Problem((*container.path, *path), message, hint, key)

        of_pod.__doc__ = rule.__doc__
        pod_check(code, reason=reason, source=source, bad=bad, good=good, severity=severity)(of_pod)
        return rule

    return register
