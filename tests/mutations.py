"""Single changes of rendered objects: where they apply, what becomes of the value, and what is to be said of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Path = tuple[Any, ...]
GONE: Any = object()
PODS = "CronJob DaemonSet Deployment Job LeaderWorkerSet StatefulSet"
"""Kinds whose pods the API server judges; an operator's own kind is judged by its definition alone."""
LONG = "x" * 64
SHARED = "/dev/shm"  # noqa: S108 - where engines look for it
POD = ("template", "spec")
CONTAINER = ("containers", "*")


class Mutation(NamedTuple):
    """A change at every path that ends in `tail` (`*`: any step); `code` None: it is legal."""

    code: str | None
    tail: Path
    change: Callable[[Any], Any]
    kinds: str = ""
    """Kinds that it is for; empty: all of which an object has the field."""
    seen_at: int | Path = 0
    """Where it is to be reported: so many steps above the change, or at a path of the object."""
    bundle: bool = False
    """It is wrong only beside the other objects of its folder."""

    def __str__(self) -> str:
        """For the names of tests."""
        return f"{self.code or 'legal'} {'.'.join(map(str, self.tail))}"


def to(value: Any) -> Callable[[Any], Any]:
    return lambda _: copy.deepcopy(value)


def more(**fields: Any) -> Callable[[Any], Any]:
    return lambda old: {**old, **copy.deepcopy(fields)}


def again(old: list[Any]) -> list[Any]:
    return [*old, copy.deepcopy(old[0])]


def gone(_: Any) -> Any:
    return GONE


def engine(change: Callable[[dict[str, Any], str], dict[str, Any]]) -> Callable[[Any], Any]:
    """A change of a container that starts an engine; it is given the text of its command."""

    def changing(old: dict[str, Any]) -> dict[str, Any]:
        script = old["args"][-1]
        if "--served-model-name" not in script:
            raise KeyError
        return {**old, **change(old, script)}

    return changing


def devices(count: int) -> Callable[[Any], Any]:
    """Another number of the devices that a container's limits name."""

    def changing(old: dict[str, Any], _: str) -> dict[str, Any]:
        name = [key for key in old["resources"]["limits"] if "/" in key][0]  # noqa: RUF015 - an IndexError says that there is none
        limits = {**old["resources"]["limits"], name: count}
        return {"resources": {"limits": limits, "requests": {**old["resources"].get("requests", {}), name: count}}}

    return engine(changing)


def places(data: Any, tail: Path, path: Path = ()) -> Iterator[Path]:
    """Paths of `data` that end so; the last step may be a field that a mapping does not have yet, written `+name`."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    new = str(tail[-1]).removeprefix("+") if str(tail[-1]).startswith("+") else None
    if new and isinstance(data, dict) and new not in data and _ends(path, tail[:-1]):
        yield (*path, new)
    for key, child in children:
        if new is None and _ends((*path, key), tail):
            yield (*path, key)
        yield from places(child, tail, (*path, key))


def _ends(path: Path, tail: Path) -> bool:
    if tail[:1] == ("^",):
        return len(path) == len(tail) - 1 and _ends(path, tail[1:])
    return len(path) >= len(tail) and all(
        t in ("*", p) for p, t in zip(path[len(path) - len(tail) :], tail, strict=True)
    )


def changed(data: dict[str, Any], path: Path, change: Callable[[Any], Any]) -> dict[str, Any] | None:
    """The object with one change; None where the value is of another kind than the change is for."""
    made = copy.deepcopy(data)
    node: Any = made
    for step in path[:-1]:
        node = node[step]
    old = node.get(path[-1]) if isinstance(node, dict) else node[path[-1]]
    try:
        new = change(old)
    except (TypeError, KeyError, IndexError, AttributeError):
        return None
    if new is GONE:
        del node[path[-1]]
    else:
        node[path[-1]] = new
    return None if made == data else made


M = Mutation
RULES: tuple[Mutation, ...] = (
    # schema
    M("M002", ("^", "apiVersion"), to("apps/v9"), kinds=PODS.replace("LeaderWorkerSet", "")),
    M("M004", ("^", "metadata", "+lables"), to({"a": "b"})),
    M("M004", (*CONTAINER, "image"), to(5)),
    M("M004", (*CONTAINER, "imagePullPolcy"), to("Always")),
    M("M004", (*CONTAINER, "+imagePullPolcy"), to("Always")),
    M("M004", (*CONTAINER, "ports", "*", "containerPort"), to("http")),
    M("M004", ("resources", "limits", "memory"), to("64GB")),
    M("M004", ("^", "spec", "replicas"), to("two")),
    # names, labels, annotations
    M("M101", ("^", "metadata", "name"), to("Not_a_name"), kinds=f"{PODS} ConfigMap Service Namespace ServiceAccount"),
    M("M103", ("^", "metadata", "name"), gone),
    M("M105", ("^", "metadata", "+namespace"), to("a"), kinds="Namespace ClusterRole ClusterRoleBinding RuntimeClass DeviceClass"),
    M("M106", ("^", "metadata", "namespace"), to("None")),
    M("M110", ("^", "metadata", "labels"), more(**{"a b": "c"})),
    M("M111", ("^", "metadata", "labels", "*"), to(LONG)),
    M("M111", ("template", "metadata", "labels", "+a"), to("-x")),
    M("M112", ("^", "metadata", "annotations"), more(**{"a/b/c": "d"})),
    M("M113", ("^", "metadata", "annotations", "*"), to("x" * 270_000), seen_at=1),
    M("M114", ("^", "spec", "podSelector", "matchLabels"), more(**{"a b": "c"}), kinds="NetworkPolicy"),
    M("M400", ("^", "metadata", "+finalizers"), to(["a b"])),
    M("M401", ("^", "metadata", "+ownerReferences"), to([{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "u"}])),
    *(rule._replace(kinds=rule.kinds or PODS) for rule in (
    # pods
    M("M100", (*POD, "dnsPolicy"), to("clusterfirst")),
    M("M100", (*POD, "+dnsPolicy"), to("clusterfirst")),
    M("M107", (*CONTAINER, "name"), to("Engine")),
    M("M107", (*CONTAINER, "image"), gone),
    M("M108", (*POD, "containers"), again),
    M("M109", (*POD, "serviceAccountName"), to("A b")),
    M("M115", (*POD, "nodeSelector", "*"), to("b c")),
    M("M115", (*POD, "+nodeSelector"), to({"a": "b c"})),
    M("M116", (*POD, "tolerations", "*", "tolerationSeconds"), to(5)),
    M("M116", (*POD, "+tolerations"), to([{"key": "a", "operator": "Exists", "value": "x"}])),
    M("M117", (*POD, "+affinity"), to({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 101, "podAffinityTerm": {"topologyKey": "a"}}]}})),
    M("M118", (*POD, "+topologySpreadConstraints"), to([{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}])),
    M("M118", (*POD, "topologySpreadConstraints", "*", "maxSkew"), to(0)),
    M("M121", (*CONTAINER, "resources", "limits", "memory"), to("-1Gi")),
    M("M122", (*CONTAINER, "resources", "limits"), more(gpu=1)),
    M("M123", (*CONTAINER, "resources", "limits"), more(**{"example.com/gpu": "1500m"})),
    M("M124", (*CONTAINER, "resources"), to({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})),
    M("M125", (*CONTAINER, "resources"), to({"limits": {"example.com/gpu": 1}, "requests": {"example.com/gpu": 2}})),
    M("M126", (*CONTAINER, "resources"), to({"limits": {"hugepages-2Mi": "2Mi"}})),
    M("M127", (*CONTAINER, "resources"), to({"limits": {"memory": "1500m"}})),
    M("M128", (*CONTAINER, "resources"), to({"claims": [{"name": "nothing"}]})),
    M("M129", (*POD, "+resourceClaims"), to([{"name": "a"}])),
    M("M130", (*CONTAINER, "ports", "*", "containerPort"), to(70_000)),
    M("M131", (*CONTAINER, "ports", "*", "name"), to("x" * 16)),
    M("M132", (*CONTAINER, "ports"), lambda old: [*old, {**old[0], "name": old[0]["name"], "containerPort": 9}]),
    M("M133", (*CONTAINER, "+ports"), to([{"containerPort": 9, "hostPort": 9}, {"containerPort": 10, "hostPort": 9}])),
    M("M135", (*CONTAINER, "ports"), lambda old: [*old, {**old[0], "name": "another"}]),
    M("M136", (*CONTAINER, "env", "*", "name"), to("A=B")),
    M("M137", (*CONTAINER, "env", "*"), lambda old: {"name": old["name"], "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
    M("M137", (*CONTAINER, "env", "*", "valueFrom", "fieldRef", "fieldPath"), to("status.ip")),
    M("M138", (*CONTAINER, "+envFrom"), to([{"prefix": "A"}])),
    M("M139", (*CONTAINER, "env"), again),
    M("M140", (*POD, "volumes", "*", "name"), to("Shm")),
    M("M141", (*POD, "volumes", "*"), more(nfs={"server": "nas", "path": "/a"}, emptyDir={})),
    M("M142", (*POD, "volumes", "*", "hostPath", "path"), to("/a/../b")),
    M("M144", (*POD, "volumes", "*", "emptyDir", "sizeLimit"), to("-1Gi")),
    M("M145", (*POD, "volumes", "*", "configMap", "+defaultMode"), to(512)),
    M("M145", (*POD, "volumes", "*", "configMap", "defaultMode"), to(512)),
    M("M146", (*CONTAINER, "volumeMounts", "*", "name"), to("nothing-so-named")),
    M("M147", (*CONTAINER, "volumeMounts"), again),
    M("M148", (*CONTAINER, "volumeMounts", "*", "+subPath"), to("/lib")),
    M("M149", CONTAINER, lambda old: {**old, "securityContext": {}, "volumeMounts": [{**old["volumeMounts"][0], "mountPropagation": "Bidirectional"}]}),
    M("M150", (*CONTAINER, "readinessProbe"), more(exec={"command": ["x"]}, tcpSocket={"port": 1})),
    M("M151", (*CONTAINER, "*", "periodSeconds"), to(-1)),
    M("M152", (*CONTAINER, "livenessProbe", "+successThreshold"), to(2)),
    M("M152", (*CONTAINER, "startupProbe", "+successThreshold"), to(2)),
    M("M153", (*CONTAINER, "readinessProbe", "+terminationGracePeriodSeconds"), to(3)),
    M("M154", (*CONTAINER, "*", "httpGet", "port"), to("8000")),
    M("M155", (*CONTAINER, "+lifecycle"), to({"preStop": {"sleep": {"seconds": 99_999}}})),
    M("M156", (*POD, "initContainers", "*", "+livenessProbe"), to({"exec": {"command": ["x"]}})),
    M("M160", (*CONTAINER, "securityContext"), to({"privileged": True, "allowPrivilegeEscalation": False})),
    M("M161", (*CONTAINER, "securityContext", "+runAsUser"), to(-1)),
    M("M162", ("securityContext", "seccompProfile", "+localhostProfile"), to("a.json")),
    M("M163", (*POD, "securityContext", "+sysctls"), to([{"name": "a b", "value": "1"}])),
    M("M164", (*POD,), lambda old: {**old, "hostPID": True, "shareProcessNamespace": True}),
    M("M165", (*POD,), lambda old: {**old, "hostUsers": False, "hostPID": True}),
    M("M166", (*POD, "+dnsConfig"), to({"nameservers": ["1.1.1.1"] * 4})),
    M("M167", (*POD, "+hostAliases"), to([{"ip": "a", "hostnames": ["b"]}])),
    M("M168", (*POD, "+activeDeadlineSeconds"), to(0)),
    M("M414", (*POD, "+schedulingGates"), to([{"name": "a b"}])),
    )),
    # workloads
    M("M170", ("^", "spec", "selector"), to({}), kinds="DaemonSet Deployment StatefulSet"),
    M("M171", ("^", "spec", "selector", "matchLabels", "*"), to("other"), kinds="DaemonSet Deployment StatefulSet",
      seen_at=("spec", "template", "metadata", "labels")),
    M("M119", ("^", "spec", "strategy"), to({"type": "Rolling"}), kinds="Deployment"),
    M("M172", ("^", "spec", "strategy"), to({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}), kinds="Deployment"),
    M("M173", ("^", "spec", "+updateStrategy"), to({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}), kinds="DaemonSet"),
    M("M173", ("^", "spec", "updateStrategy"), to({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}), kinds="DaemonSet"),
    M("M175", ("^", "spec", "replicas"), to(-1), kinds="Deployment StatefulSet"),
    M("M176", (*POD, "+restartPolicy"), to("Never"), kinds="Deployment DaemonSet StatefulSet"),
    M("M176", (*POD, "restartPolicy"), to("Always"), kinds="Job"),
    M("M177", ("^", "spec", "backoffLimit"), to(-1), kinds="Job"),
    M("M178", ("^", "spec", "+selector"), to({"matchLabels": {"a": "b"}}), kinds="Job"),
    M("M410", ("^", "spec", "serviceName"), to("a.b"), kinds="StatefulSet"),
    # others
    M("M180", ("^", "spec", "ports"), to([]), kinds="Service", seen_at=1),
    M("M181", ("^", "spec", "ports", "*", "port"), to(0), kinds="Service"),
    M("M182", ("^", "spec", "ports"), again, kinds="Service"),
    M("M183", ("^", "spec", "ports", "*", "+nodePort"), to(30_000), kinds="Service"),
    M("M184", ("^", "spec", "selector", "*"), to("a b"), kinds="Service"),
    M("M413", ("^", "spec", "+externalIPs"), to(["a"]), kinds="Service"),
    M("M185", ("^", "spec", "ingress", "*", "ports", "*", "port"), to(70_000), kinds="NetworkPolicy"),
    M("M186", ("^", "spec", "ingress", "*", "from"), to([{"ipBlock": {"cidr": "10.0.0.0/33"}}]), kinds="NetworkPolicy"),
    M("M188", ("^", "spec", "spec", "devices", "requests", "*", "name"), to("A b"), kinds="ResourceClaimTemplate"),
    M("M190", ("^", "spec", "accessModes"), to([]), kinds="PersistentVolumeClaim"),
    M("M193", ("^", "spec"), more(minAvailable=1, maxUnavailable=1), kinds="PodDisruptionBudget"),
    M("M195", ("^", "rules", "*", "verbs"), to([]), kinds="ClusterRole Role", seen_at=1),
    M("M196", ("^", "subjects", "*", "kind"), to("Robot"), kinds="ClusterRoleBinding RoleBinding"),
    M("M197", ("^", "data"), more(**{"a/b": "c"}), kinds="ConfigMap"),
    M("M198", ("^", "data"), more(big="x" * 1_048_577), kinds="ConfigMap"),
    M("M407", ("^", "handler"), to("A b"), kinds="RuntimeClass"),
    M("M423", ("^", "spec", "selectors", "*", "cel", "expression"), to("device.driver =="), kinds="DeviceClass"),
    M("M419", ("^", "metadata", "labels"), more(**{"pod-security.kubernetes.io/enforce": "lax"}), kinds="Namespace"),
    # what is known of engines and devices
    M("D102", CONTAINER, engine(lambda old, _: {"image": old["image"].partition("@")[0].rpartition(":")[0] + ":latest"}), kinds=PODS),
    M("D140", CONTAINER, engine(lambda _, script: {"args": [script.replace("--served-model-name", "--no-such-flag --served-model-name")]}), kinds=PODS),
    M("D160", CONTAINER, engine(lambda old, _: {"volumeMounts": [m for m in old["volumeMounts"] if m["mountPath"] != SHARED]}), kinds="Deployment StatefulSet"),
    M("D152", CONTAINER, devices(4096), kinds="Deployment StatefulSet LeaderWorkerSet"),
    M("D103", CONTAINER, engine(lambda old, _: {"startupProbe": {**old["startupProbe"], "failureThreshold": 1, "periodSeconds": 1}}), kinds=PODS),
    # beside the other objects
    M("M202", (*POD, "volumes", "*", "configMap", "name"), to("nothing"), bundle=True),
    M("M203", (*POD, "volumes", "*", "persistentVolumeClaim", "claimName"), to("nothing"), bundle=True),
    M("M204", (*POD, "serviceAccountName"), to("nothing"), bundle=True),
    M("M206", (*POD, "volumes", "*", "configMap", "+items"), to([{"key": "nothing", "path": "a"}]), kinds="Job", bundle=True),
    M("M207", ("^", "spec", "selector", "*"), to("nothing"), kinds="Service", bundle=True, seen_at=1),
    M("M208", ("^", "spec", "selector", "matchLabels", "*"), to("nothing"), kinds="PodDisruptionBudget", bundle=True, seen_at=2),
    M("M209", ("^", "spec", "podSelector", "matchLabels", "*"), to("nothing"), kinds="NetworkPolicy", bundle=True, seen_at=2),
    M("M210", ("^", "spec", "ports", "*", "targetPort"), to("nothing"), kinds="Service", bundle=True),
    M("M211", (*CONTAINER, "readinessProbe", "httpGet", "port"), to("nothing"), kinds=PODS),
    M("M212", ("^", "roleRef"), more(kind="Role", name="nothing"), kinds="RoleBinding", bundle=True),
    M("M214", (*POD, "resourceClaims", "*", "resourceClaimTemplateName"), to("nothing"), bundle=True),
    # legal
    M(None, ("^", "metadata", "name"), to("another-name")),
    M(None, ("^", "metadata", "labels"), more(**{"example.com/a": ""})),
    M(None, ("^", "metadata", "annotations"), more(**{"Example.COM/a": "any\ntext: {}"})),
    M(None, ("^", "metadata", "+generateName"), to("a-")),
    M(None, (*POD, "+tolerations"), to([{"operator": "Exists"}])),
    M(None, (*POD, "+terminationGracePeriodSeconds"), to(0), kinds="Job"),
    M(None, (*POD, "+priorityClassName"), to("urgent")),
    M(None, (*POD, "+hostAliases"), to([{"ip": "fd00::1", "hostnames": ["a.b"]}])),
    M(None, (*POD, "+dnsConfig"), to({"options": [{"name": "ndots", "value": "2"}]})),
    M(None, (*CONTAINER, "imagePullPolicy"), to("Always")),
    M(None, (*CONTAINER, "env"), lambda old: [*old, {"name": "a.b c-1", "value": ""}]),
    M(None, (*CONTAINER, "ports", "*", "+hostPort"), to(0)),
    M(None, (*CONTAINER, "volumeMounts", "*", "+readOnly"), to(True)),
    M(None, (*CONTAINER, "readinessProbe", "+timeoutSeconds"), to(1)),
    M(None, ("^", "spec", "replicas"), to(0), kinds="Deployment StatefulSet"),
    M(None, ("^", "spec", "+revisionHistoryLimit"), to(0), kinds="Deployment StatefulSet DaemonSet"),
    M(None, ("^", "spec", "backoffLimit"), to(0), kinds="Job"),
    M(None, ("^", "spec", "+publishNotReadyAddresses"), to(False), kinds="Service"),
    M(None, ("^", "spec", "ports", "*", "port"), to(65_535), kinds="Service"),
    M(None, ("^", "data"), more(**{"a.b_c-D": ""}), kinds="ConfigMap"),
    M(None, ("^", "+immutable"), to(True), kinds="ConfigMap"),
)  # fmt: skip
