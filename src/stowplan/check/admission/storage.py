"""Claims, volumes and storage classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import CORE, Context, Problem, object_check
from stowplan.check.admission._syntax import (
    dns_subdomain,
    qualified_name,
    quantity,
    short,
    text,
)
from stowplan.check.admission._volume_sources import source_problems
from stowplan.check.admission.scheduling import node_term
from stowplan.check.objects import Object, Path, dig, mapping, sequence

_CLAIM = f"{CORE}: ValidatePersistentVolumeClaimSpec."
_SINGLE = "ReadWriteOncePod"
_COPIED = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def _claims(item: Object) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Every claim that an object is or makes."""
    if item.kind == "PersistentVolumeClaim":
        yield item.spec, ("spec",)
    elif item.kind == "StatefulSet":
        for index, template in enumerate(sequence(item.spec.get("volumeClaimTemplates"))):
            yield (
                mapping(mapping(template).get("spec")),
                ("spec", "volumeClaimTemplates", index, "spec"),
            )
    for pod in item.pods:
        for index, volume in enumerate(sequence(pod.spec.get("volumes"))):
            spec = dig(volume, ("ephemeral", "volumeClaimTemplate", "spec"))
            if isinstance(spec, Mapping):
                yield (
                    spec,
                    (*pod.spec_path, "volumes", index, "ephemeral", "volumeClaimTemplate", "spec"),
                )


_CLAIM_KINDS = "PersistentVolumeClaim StatefulSet Deployment DaemonSet Pod Job CronJob ReplicaSet"


def _access_modes(spec: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    modes = sequence(spec.get("accessModes"))
    if not modes:
        yield Problem(path, "no access mode is given", "give accessModes, for example [ReadWriteMany]")
    elif _SINGLE in modes and len(modes) > 1:
        yield Problem((*path, "accessModes"), f"{_SINGLE} allows no other access mode beside it")


@object_check(
    "M190",
    _CLAIM_KINDS,
    reason="The API server refuses a claim without access modes or without a size.",
    source=_CLAIM,
    bad=thing("v1", "PersistentVolumeClaim", "spec:\n  accessModes: [ReadWriteMany]"),
    good=thing(
        "v1",
        "PersistentVolumeClaim",
        "spec:\n  accessModes: [ReadWriteMany]\n  resources:\n    requests: {storage: 1Ti}",
    ),
)
def claim(item: Object, _context: Context) -> Iterator[Problem]:
    """A claim has access modes and a positive size."""
    for spec, path in _claims(item):
        yield from _access_modes(spec, path)
        requests = mapping(mapping(spec.get("resources")).get("requests"))
        place = (*path, "resources", "requests", "storage")
        size = quantity(requests.get("storage", 1) or 0)
        if "storage" not in requests:
            yield Problem(
                (*path, "resources", "requests"),
                "the claim asks for no storage",
                "give resources.requests.storage",
            )
        elif size is not None and size <= 0:
            yield Problem(place, f"the size {requests['storage']} is not greater than 0")
        for field in ("storageClassName", "volumeAttributesClassName"):
            name = text(spec.get(field))
            if name and (wrong := dns_subdomain(name)):
                yield Problem((*path, field), f"{field} {short(name)} {wrong}")
        yield from _data_sources(spec, path, dropped=item.kind == "PersistentVolumeClaim")


def _data_sources(spec: Mapping[str, Any], path: Path, *, dropped: bool) -> Iterator[Problem]:
    """What a new volume is filled from; of a claim itself the API server drops what it does not know."""
    old, new = mapping(spec.get("dataSource")), mapping(spec.get("dataSourceRef"))
    if dropped and (old.get("apiGroup") or "", old.get("kind")) not in _COPIED:
        old = {}
    if dropped and new.get("namespace"):
        new = {}
    for field, source in (("dataSource", old), ("dataSourceRef", new)):
        if not source:
            continue
        for inner in ("kind", "name"):
            if not source.get(inner):
                yield Problem((*path, field, inner), f"{field} has no {inner}")
        group = text(source.get("apiGroup"))
        if not group and source.get("kind") not in (None, "", "PersistentVolumeClaim"):
            yield Problem(
                (*path, field), "without apiGroup only a PersistentVolumeClaim can be copied", "give apiGroup"
            )
        elif group and (wrong := dns_subdomain(group)):
            yield Problem((*path, field, "apiGroup"), f"the group {short(group)} {wrong}")
    same = all(old.get(inner) == new.get(inner) for inner in ("apiGroup", "kind", "name"))
    if old and new and not same:
        yield Problem((*path, "dataSource"), "dataSource and dataSourceRef contradict each other", "remove dataSource")


_NOT_SOURCES = {
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
}


@object_check(
    "M191",
    "PersistentVolume",
    reason="The API server refuses a volume without a size, access modes or exactly one source.",
    source=f"{CORE}: ValidatePersistentVolumeSpec.",
    bad=thing("v1", "PersistentVolume", "spec:\n  accessModes: [ReadOnlyMany]\n  capacity: {storage: 1Ti}"),
    good=thing(
        "v1",
        "PersistentVolume",
        "spec:\n  accessModes: [ReadOnlyMany]\n  capacity: {storage: 1Ti}\n  nfs: {server: nas, path: /models}",
    ),
)
def volume(item: Object, _context: Context) -> Iterator[Problem]:
    """A volume has a size, access modes and one source."""
    spec = item.spec
    yield from _access_modes(spec, ("spec",))
    capacity = mapping(spec.get("capacity"))
    size = quantity(capacity.get("storage", 1) or 0)
    if set(capacity) != {"storage"}:
        yield Problem(
            ("spec", "capacity"),
            "the capacity of a volume is exactly one amount of storage",
            "give capacity: {storage: 1Ti}",
        )
    elif size is not None and size <= 0:
        yield Problem(
            ("spec", "capacity", "storage"),
            f"the size {capacity['storage']} is not greater than 0",
        )
    given = [key for key, value in spec.items() if key not in _NOT_SOURCES and isinstance(value, Mapping)]
    if len(given) != 1:
        yield Problem(
            ("spec",),
            f"the volume has {len(given)} sources, exactly one is allowed{': ' if given else ''}{', '.join(given)}",
        )
    yield from source_problems(spec, ("spec",), persistent=True)
    yield from _nodes(spec)
    for field in ("storageClassName", "volumeAttributesClassName"):
        name = text(spec.get(field))
        if (name or (field[0] == "v" and spec.get(field) == "")) and (wrong := dns_subdomain(name)):
            yield Problem(("spec", field), f"{field} {short(name)} {wrong}")


def _nodes(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """The nodes that a volume can be used on."""
    affinity, path = spec.get("nodeAffinity"), ("spec", "nodeAffinity")
    required = mapping(affinity).get("required")
    if affinity is None and isinstance(spec.get("local"), Mapping):
        yield Problem(("spec", "local"), "a local volume needs nodeAffinity", key=True)
    elif affinity is not None and required is None:
        yield Problem(path, "the node affinity of a volume needs the field required")
    elif isinstance(required, Mapping) and not required.get("nodeSelectorTerms"):
        yield Problem((*path, "required"), "the node affinity has no nodeSelectorTerms")
    for index, term in enumerate(sequence(mapping(required).get("nodeSelectorTerms"))):
        yield from node_term(term, (*path, "required", "nodeSelectorTerms", index), required=True)


@object_check(
    "M192",
    "StorageClass",
    reason="The API server refuses a storage class without a provisioner, or that recycles volumes.",
    source="Kubernetes API validation, pkg/apis/storage/validation: ValidateStorageClass.",
    bad=thing("storage.k8s.io/v1", "StorageClass", "provisioner: ''"),
    good=thing("storage.k8s.io/v1", "StorageClass", "provisioner: nfs.csi.k8s.io"),
)
def storage_class(item: Object, _context: Context) -> Iterator[Problem]:
    """A storage class names its provisioner."""
    name = item.data.get("provisioner")
    if name == "":
        yield Problem(("provisioner",), "the provisioner is empty")
    elif isinstance(name, str) and (wrong := qualified_name(name.lower())):
        yield Problem(("provisioner",), f"the provisioner {short(name)} {wrong}")
    seen: list[object] = [{}]
    for index, term in enumerate(sequence(item.data.get("allowedTopologies"))):
        path = ("allowedTopologies", index)
        places: dict[str, object] = {}
        for number, entry in enumerate(sequence(mapping(term).get("matchLabelExpressions"))):
            key, values = text(mapping(entry).get("key")), sequence(mapping(entry).get("values"))
            inner = (*path, "matchLabelExpressions", number)
            if wrong := qualified_name(key):
                yield Problem((*inner, "key"), f"the label key {short(key)} {wrong}")
            if not values or len({text(value) for value in values}) < len(values):
                yield Problem((*inner, "values"), "the expression has no values, or one of them twice")
            if key in places:
                yield Problem((*inner, "key"), f"two expressions have the key {short(key)}")
            places[key] = {text(value) for value in values}
        if places in seen:
            yield Problem(path, "the topology is empty or given twice")
        seen.append(places)
