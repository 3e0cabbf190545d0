"""What an object's metadata says of its owners and of who must be done before it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import CORE, POD_KINDS, Context, Problem, is_own, object_check
from stowplan.check.admission._syntax import integer, qualified_name, short, text, walk
from stowplan.check.objects import Object, Path, dig, mapping, sequence

_STANDARD = {"foregroundDeletion", "kubernetes", "orphan"}
_UNQUALIFIED = {"CustomResourceDefinition", "LeaderWorkerSet", "PodDisruptionBudget", "RuntimeClass"}
"""Kinds whose validation takes any qualified name for a finalizer, with or without a prefix."""
_COUNTED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "HorizontalPodAutoscaler",
    "Namespace",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ResourceClaim",
    "ResourceClaimTemplate",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "Secret",
    "Service",
    "ServiceAccount",
    "StorageClass",
}
"""Kinds whose generation a client may set; of the others the API server sets it."""


@object_check(
    "M400",
    "",
    reason="The API server refuses a finalizer that names nobody: without a prefix only its own few are known.",
    source=f"{CORE}: ValidateFinalizerName; apimachinery pkg/api/validation: ValidateFinalizers.",
    bad=thing("v1", "ConfigMap", metadata="finalizers: [protect]"),
    good=thing("v1", "ConfigMap", metadata="finalizers: [example.com/protect]"),
)
def finalizers(item: Object, _context: Context) -> Iterator[Problem]:
    """Finalizers are qualified names."""
    bare = item.kind in _UNQUALIFIED or not is_own(item)
    yield from _finalizers(item.metadata, ("metadata", "finalizers"), bare=bare)
    if item.kind == "Namespace" and is_own(item):
        yield from _finalizers(item.spec, ("spec", "finalizers"), bare=False)


def _finalizers(data: Mapping[str, Any], path: Path, *, bare: bool) -> Iterator[Problem]:
    names = sequence(data.get("finalizers"))
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue
        if wrong := qualified_name(name):
            yield Problem((*path, index), f"the finalizer {short(name)} {wrong}")
        elif "/" not in name and name not in _STANDARD and not bare:
            message = f"the finalizer {short(name)} has no prefix and is none of Kubernetes' own"
            yield Problem((*path, index), message, f"write example.com/{name}, or use {', '.join(sorted(_STANDARD))}")
    if {"orphan", "foregroundDeletion"} <= {text(name) for name in names}:
        yield Problem(path, "the finalizers orphan and foregroundDeletion exclude each other")


@object_check(
    "M401",
    "",
    reason="The API server refuses an owner that is not named in full, a second controller, and a negative generation.",
    source="Kubernetes API validation, apimachinery pkg/api/validation: ValidateOwnerReferences and ValidateObjectMeta.",
    bad=thing("v1", "ConfigMap", metadata="ownerReferences:\n  - {apiVersion: v1, kind: Pod, name: engine, uid: ''}"),
    good=thing(
        "v1", "ConfigMap", metadata="ownerReferences:\n  - {apiVersion: v1, kind: Pod, name: engine, uid: 1a2b}"
    ),
)
def owners(item: Object, _context: Context) -> Iterator[Problem]:
    """Owners are named in full, and one of them at most is the controller."""
    controllers = 0
    for index, entry in enumerate(sequence(item.metadata.get("ownerReferences"))):
        owner, path = mapping(entry), ("metadata", "ownerReferences", index)
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield Problem((*path, field), f"the {field} of an owner is empty")
        group, slash, version = text(owner.get("apiVersion")).partition("/")
        if "/" in version or (slash and not version):
            yield Problem((*path, "apiVersion"), f"{short(text(owner['apiVersion']))} is no API version")
        if (group, version, owner.get("kind")) == ("v1", "", "Event"):
            yield Problem((*path, "kind"), "an Event owns nothing")
        controllers += owner.get("controller") is True
    if controllers > 1:
        yield Problem(("metadata", "ownerReferences"), f"{controllers} owners are controllers, one is allowed")
    generation = integer(item.metadata.get("generation"))
    if generation is not None and generation < 0 and item.kind in _COUNTED:
        yield Problem(("metadata", "generation"), f"generation {generation} is negative", "remove it")


_TEMPLATES: dict[str, tuple[Path, ...]] = {"ResourceClaimTemplate": (("spec", "metadata"),)}
_EPHEMERAL: Path = ("volumes", "*", "ephemeral", "volumeClaimTemplate", "metadata")


@object_check(
    "M418",
    f"ResourceClaimTemplate {POD_KINDS}",
    reason="A claim that is made for a pod gets labels and annotations from its template; the API server refuses other metadata.",
    source=f"{CORE}: ValidateTemplateObjectMeta.",
    bad=thing("resource.k8s.io/v1", "ResourceClaimTemplate", "spec:\n  metadata: {name: gpus}\n  spec: {}"),
    good=thing("resource.k8s.io/v1", "ResourceClaimTemplate", "spec:\n  metadata: {labels: {app: engine}}\n  spec: {}"),
)
def metadata_of_template(item: Object, _context: Context) -> Iterator[Problem]:
    """The template of a claim has only labels and annotations."""
    found = [(dig(item.data, path), path) for path in _TEMPLATES.get(item.kind, ())]
    for pod in item.pods:
        found += [(data, (*pod.spec_path, *path)) for data, path in walk(pod.spec, _EPHEMERAL)]
    for data, path in found:
        for field, value in mapping(data).items():
            if field not in ("labels", "annotations") and value not in (None, "", 0):
                yield Problem((*path, field), f"the metadata of this template takes no {field}", "remove it", key=True)
