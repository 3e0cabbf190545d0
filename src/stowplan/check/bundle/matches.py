"""Selectors and references that should find something in the bundle."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import pod, service, thing, workload
from stowplan.check.admission._register import is_own
from stowplan.check.admission._syntax import short, text
from stowplan.check.bundle._references import (
    PodOf,
    all_pods_known,
    holders_near,
    matches,
    pods_near,
    pods_of,
)
from stowplan.check.objects import Bundle, Container, Object, containers, mapping, sequence
from stowplan.check.registry import Found, check

_DEPLOYMENT = workload("Deployment")
_ENGINE = "selector: {app: engine}\nports:\n  - {port: 80, targetPort: 8000}"
_SERVER = "selector: {app: server}\nports:\n  - {port: 80}"
_LABELS = "https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"


def _selected(bundle: Bundle, item: Object, selector: object) -> list[PodOf] | None:
    """The pods that an object selects; None where that cannot be said."""
    if not isinstance(selector, dict):
        return None
    return [found for found in pods_near(bundle, item, selector) if matches(selector, found)]


def _selects_nothing(bundle: Bundle, kind: str, field: str) -> Iterator[Found]:
    if not all_pods_known(bundle):
        return
    for item in bundle.of(kind):
        if not is_own(item):
            continue
        given = item.spec.get(field)
        if not isinstance(given, dict) or not given:
            continue
        if _selected(bundle, item, {"matchLabels": given} if kind == "Service" else given) == []:
            labels = given if kind == "Service" else mapping(given.get("matchLabels"))
            shown = ", ".join(f"{key}: {value}" for key, value in list(labels.items())[:4])
            message = f"the {kind} selects no pod of the bundle{f' ({shown})' if shown else ''}"
            yield Found(item, ("spec", field), message, "compare it with the labels of the pod template")


@check(
    "M207",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A Service whose selector matches no pod answers no request.",
    source=_LABELS,
    bad=f"{_DEPLOYMENT}---\n{service(_SERVER)}",
    good=f"{_DEPLOYMENT}---\n{service(_ENGINE)}",
)
def service_has_pods(bundle: Bundle) -> Iterator[Found]:
    """A Service selects pods of the bundle."""
    yield from _selects_nothing(bundle, "Service", "selector")


_BUDGET = "spec:\n  maxUnavailable: 1\n  selector: {matchLabels: {app: %s}}"


@check(
    "M208",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A disruption budget that matches no pod protects nothing.",
    source=_LABELS,
    bad=f"{_DEPLOYMENT}---\n{thing('policy/v1', 'PodDisruptionBudget', _BUDGET % 'server')}",
    good=f"{_DEPLOYMENT}---\n{thing('policy/v1', 'PodDisruptionBudget', _BUDGET % 'engine')}",
)
def budget_has_pods(bundle: Bundle) -> Iterator[Found]:
    """A disruption budget selects pods of the bundle."""
    yield from _selects_nothing(bundle, "PodDisruptionBudget", "selector")


_POLICY = "spec:\n  podSelector: {matchLabels: {app: %s}}"


@check(
    "M209",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A network policy that matches no pod restricts nothing.",
    source=_LABELS,
    bad=f"{_DEPLOYMENT}---\n{thing('networking.k8s.io/v1', 'NetworkPolicy', _POLICY % 'server')}",
    good=f"{_DEPLOYMENT}---\n{thing('networking.k8s.io/v1', 'NetworkPolicy', _POLICY % 'engine')}",
)
def policy_has_pods(bundle: Bundle) -> Iterator[Found]:
    """A network policy selects pods of the bundle."""
    yield from _selects_nothing(bundle, "NetworkPolicy", "podSelector")


def _port_names(container: Container) -> set[str]:
    return {text(mapping(port).get("name")) for port in sequence(container.data.get("ports"))}


_NAMED = "selector: {app: engine}\nports:\n  - {port: 80, targetPort: http}"
_LABELLED = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: engine\n  labels: {app: engine}\nspec:\n  containers:\n    - name: engine\n      image: registry.example/a:1\n"


@check(
    "M210",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A Service sends nothing to a named port that its pods do not have.",
    source="https://kubernetes.io/docs/concepts/services-networking/service/#field-spec-ports",
    bad=f"{_LABELLED}---\n{service(_NAMED)}",
    good=f"{_LABELLED}      ports:\n        - {{name: http, containerPort: 8000}}\n---\n{service(_NAMED)}",
)
def target_port_names(bundle: Bundle) -> Iterator[Found]:
    """Named target ports of a Service are ports of its pods."""
    for item in bundle.of("Service"):
        selector = item.spec.get("selector")
        if not is_own(item) or not isinstance(selector, dict) or not selector:
            continue
        selected = _selected(bundle, item, {"matchLabels": selector}) or []
        names = {name for found in selected for container in containers(found.pod) for name in _port_names(container)}
        for index, port in enumerate(sequence(item.spec.get("ports"))):
            target = mapping(port).get("targetPort")
            if selected and isinstance(target, str) and target and target not in names:
                message = f"no pod that the Service selects has a port named {short(target)}"
                yield Found(item, ("spec", "ports", index, "targetPort"), message)


_PROBE = "readinessProbe:\n  httpGet: {path: /health, port: http}"


@check(
    "M211",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A probe of a named port fails for ever if the container has no port of that name.",
    source="https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#use-a-named-port",
    bad=pod(_PROBE),
    good=pod(f"{_PROBE}\nports:\n  - {{name: http, containerPort: 8000}}"),
)
def probe_port_names(bundle: Bundle) -> Iterator[Found]:
    """Named ports of probes are ports of their container."""
    for found in pods_of(bundle):
        for container in containers(found.pod):
            names = _port_names(container)
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                for kind in ("httpGet", "tcpSocket"):
                    port = mapping(mapping(container.data.get(probe)).get(kind)).get("port")
                    if isinstance(port, str) and port and port not in names:
                        path = (*container.path, probe, kind, "port")
                        yield Found(found.item, path, f"the container has no port named {short(port)}")


_ROLES_OF_CLUSTER = {"extension-apiserver-authentication-reader"}
_ROLE_REF = "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: engine}\nsubjects: []"


@check(
    "M212",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A binding to a role that does not exist grants nothing.",
    source="https://kubernetes.io/docs/reference/access-authn-authz/rbac/",
    bad=thing("rbac.authorization.k8s.io/v1", "RoleBinding", _ROLE_REF),
    good=f"{thing('rbac.authorization.k8s.io/v1', 'RoleBinding', _ROLE_REF)}---\n{thing('rbac.authorization.k8s.io/v1', 'Role', 'rules: []')}",
)
def roles_exist(bundle: Bundle) -> Iterator[Found]:
    """A binding's role is in the bundle; roles of the cluster may come from elsewhere."""
    for item in bundle.of("RoleBinding"):
        role = mapping(item.data.get("roleRef"))
        name = text(role.get("name"))
        if not is_own(item) or role.get("kind") != "Role" or not name or name in _ROLES_OF_CLUSTER:
            continue
        if not _has(bundle, "Role", name, item):
            yield Found(item, ("roleRef", "name"), f"the bundle holds no Role {short(name)}")


def _has(bundle: Bundle, kind: str, name: str, near: Object) -> bool:
    return any(holders_near(bundle, near, kind, name))


_TARGET = "spec:\n  maxReplicas: 4\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %s}"


@check(
    "M213",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="An autoscaler of something that does not exist scales nothing.",
    source="https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/",
    bad=f"{_DEPLOYMENT}---\n{thing('autoscaling/v2', 'HorizontalPodAutoscaler', _TARGET % 'server')}",
    good=f"{_DEPLOYMENT}---\n{thing('autoscaling/v2', 'HorizontalPodAutoscaler', _TARGET % 'engine')}",
)
def scale_target_exists(bundle: Bundle) -> Iterator[Found]:
    """What an autoscaler scales is in the bundle."""
    for item in bundle.of("HorizontalPodAutoscaler"):
        target = mapping(item.spec.get("scaleTargetRef"))
        kind, name = text(target.get("kind")), text(target.get("name"))
        if kind in ("Deployment", "StatefulSet") and name and is_own(item) and not _has(bundle, kind, name, item):
            yield Found(
                item,
                ("spec", "scaleTargetRef", "name"),
                f"the bundle holds no {kind} {short(name)}",
            )
