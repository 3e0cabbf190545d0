"""What the objects of a bundle refer to, and which pods it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from stowplan.check.admission._register import is_own
from stowplan.check.admission._syntax import text, walk
from stowplan.check.admission.workloads import selects
from stowplan.check.claims import pod_claims
from stowplan.check.kubernetes_schema import schemas
from stowplan.check.objects import Bundle, Container, Object, Path, Pod, containers, mapping, sequence

_SET_BY_CONTROLLERS = (
    "apps.kubernetes.io/",
    "batch.kubernetes.io/",
    "controller-",
    "job-name",
    "leaderworkerset.sigs.k8s.io/",
    "pod-template-hash",
    "statefulset.kubernetes.io/",
)
_GROUPS_WITHOUT_PODS = {
    "cert-manager.io",
    "gateway.networking.k8s.io",
    "inference.networking.k8s.io",
    "k8s.cni.cncf.io",
    "kueue.x-k8s.io",
    "kustomize.config.k8s.io",
    "leaderworkerset.x-k8s.io",
    "monitoring.coreos.com",
    "resource.nvidia.com",
    "scheduling.volcano.sh",
    "snapshot.storage.k8s.io",
    "topology.volcano.sh",
}
_OTHER_POD_MAKERS = {"PodTemplate", "ReplicationController"}


_ANY = ""
"""No label has this key: every pod is listed under it."""


class PodOf(NamedTuple):
    """A pod and the object that holds it."""

    item: Object
    pod: Pod


class Reference(NamedTuple):
    """One object's mention of another by name, in its own namespace."""

    item: Object
    kind: str
    name: str
    path: Path
    keys: tuple[tuple[str, Path], ...] = ()


def pods_of(bundle: Bundle) -> tuple[PodOf, ...]:
    """Every pod and pod template of the bundle."""
    key = ("pods", 0)
    if key not in bundle.worked_out:
        makers = (item for item in bundle.objects if item.pods and is_own(item))
        bundle.worked_out[key] = tuple(PodOf(item, pod) for item in makers for pod in item.pods)
    known: tuple[PodOf, ...] = bundle.worked_out[key]
    return known


def pods_near(bundle: Bundle, item: Object, selector: Mapping[str, Any]) -> Iterator[PodOf]:
    """The pods that an object's selector may match: of its namespace, with the label of the selector that fewest have."""
    key = ("labelled pods", 0)
    if key not in bundle.worked_out:
        bundle.worked_out[key] = _labelled(pods_of(bundle))
    labelled: Mapping[tuple[str, object, object], list[PodOf]] = bundle.worked_out[key]
    wanted = _wanted(selector)
    spaces = (item.namespace, "") if item.namespace else dict.fromkeys(p.item.namespace for p in pods_of(bundle))
    for space in spaces:
        pools = [
            labelled.get((space, *label), []) for label in (wanted or {_ANY: None}).items() if _is_scalar(label[1])
        ]
        yield from (f for f in min(pools, key=len, default=pods_of(bundle)) if same_namespace(item, f.item))


def _labelled(pods: Iterable[PodOf]) -> dict[tuple[str, object, object], list[PodOf]]:
    found: dict[tuple[str, object, object], list[PodOf]] = {}
    for one in pods:
        labels = mapping(one.pod.metadata.get("labels"))
        for key, value in [(_ANY, None), *((k, v) for k, v in labels.items() if _is_scalar(v))]:
            found.setdefault((one.item.namespace, key, value), []).append(one)
    return found


def _is_scalar(value: object) -> bool:
    return not isinstance(value, dict | list)


def _wanted(selector: Mapping[str, Any]) -> dict[str, Any]:
    """Labels that a selector asks for, without those that controllers set."""
    given = mapping(selector.get("matchLabels"))
    return {key: value for key, value in given.items() if not key.startswith(_SET_BY_CONTROLLERS)}


def all_pods_known(bundle: Bundle) -> bool:
    """Whether no object of the bundle may make pods that cannot be seen in it."""
    known = schemas(bundle.minor)
    for item in bundle.objects:
        if item.kind in _OTHER_POD_MAKERS:
            return False
        if not known.is_impossible(item.api_version) and item.group not in _GROUPS_WITHOUT_PODS:
            return False
    return True


def same_namespace(one: Object, other: Object) -> bool:
    """Whether two objects are, or may be, in one namespace."""
    return not one.namespace or not other.namespace or one.namespace == other.namespace


def matches(selector: Mapping[str, Any], found: PodOf) -> bool:
    """Whether a label selector may match a pod, with labels that controllers set taken as met."""
    wanted = _wanted(selector)
    others = [
        e
        for e in sequence(selector.get("matchExpressions"))
        if not text(mapping(e).get("key")).startswith(_SET_BY_CONTROLLERS)
    ]
    labels = mapping(found.pod.metadata.get("labels"))
    return selects({"matchLabels": wanted, "matchExpressions": others}, labels) is not False


_VOLUMES: tuple[tuple[str, Path, str, str], ...] = (
    ("ConfigMap", ("volumes", "*", "configMap"), "name", "optional"),
    ("PersistentVolumeClaim", ("volumes", "*", "persistentVolumeClaim"), "claimName", ""),
    ("Secret", ("volumes", "*", "secret"), "secretName", "optional"),
    ("ConfigMap", ("volumes", "*", "projected", "sources", "*", "configMap"), "name", "optional"),
    ("Secret", ("volumes", "*", "projected", "sources", "*", "secret"), "name", "optional"),
)
_VARIABLES: tuple[tuple[str, Path], ...] = (
    ("ConfigMap", ("env", "*", "valueFrom", "configMapKeyRef")),
    ("Secret", ("env", "*", "valueFrom", "secretKeyRef")),
    ("ConfigMap", ("envFrom", "*", "configMapRef")),
    ("Secret", ("envFrom", "*", "secretRef")),
)


def references(bundle: Bundle) -> tuple[Reference, ...]:
    """What pods of the bundle need by name; what is optional is left out."""
    key = ("references", 0)
    if key not in bundle.worked_out:
        bundle.worked_out[key] = tuple(_references(bundle))
    known: tuple[Reference, ...] = bundle.worked_out[key]
    return known


def _references(bundle: Bundle) -> Iterator[Reference]:
    for item, pod in pods_of(bundle):
        for kind, steps, field, optional in _VOLUMES:
            for data, path in walk(pod.spec, steps):
                name = mapping(data).get(field)
                if isinstance(name, str) and name and data.get(optional) is not True:
                    where = (*pod.spec_path, *path)
                    entries = enumerate(sequence(data.get("items")))
                    keys = tuple(
                        (text(mapping(entry).get("key")), (*where, "items", index, "key")) for index, entry in entries
                    )
                    yield Reference(item, kind, name, (*where, field), keys)
        for container in containers(pod):
            yield from _variables(item, container)
        for claim in pod_claims(pod):
            yield Reference(item, claim.kind, claim.target, claim.path)
        account = pod.spec.get("serviceAccountName")
        if isinstance(account, str) and account:
            yield Reference(item, "ServiceAccount", account, (*pod.spec_path, "serviceAccountName"))


def _variables(item: Object, container: Container) -> Iterator[Reference]:
    for kind, steps in _VARIABLES:
        for data, path in walk(container.data, steps):
            name = mapping(data).get("name")
            if isinstance(name, str) and name and data.get("optional") is not True:
                where = (*container.path, *path)
                key = text(data.get("key"))
                keys = ((key, (*where, "key")),) if key else ()
                yield Reference(item, kind, name, (*where, "name"), keys)


def holder(bundle: Bundle, kind: str, name: str) -> Object | None:
    """The first object of the bundle of that kind and name, in whatever namespace."""
    return next((item for item in bundle.named(kind, name) if is_own(item)), None)


def holders_near(bundle: Bundle, near: Object, kind: str, name: str) -> list[Object]:
    """Objects of that kind and name that are, or may be, in the namespace of another."""
    spaces = bundle.by_name.get((kind, name), {})
    held = (spaces.get(space, ()) for space in (near.namespace, "")) if near.namespace else spaces.values()
    return [item for items in held for item in items if is_own(item)]
