"""Mounts of volumes in containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check
from stowplan.check.admission._syntax import local_path, repeats, short, text, walk
from stowplan.check.objects import Container, Pod, dig, mapping, sequence
from stowplan.diagnostics import did_you_mean

_SOURCE = f"{CORE}: ValidateVolumeMounts."
_SHM = "volumes:\n  - {name: shm, emptyDir: {}}"
_TEMPLATES = (
    ("spec", "volumeClaimTemplates"),
    ("spec", "leaderWorkerTemplate", "volumeClaimTemplates"),
)


def _declared(pod: Pod, context: Context) -> dict[str, Mapping[str, Any]]:
    names = {text(mapping(v).get("name")): mapping(v) for v in sequence(pod.spec.get("volumes"))}
    for path in _TEMPLATES:
        for template in sequence(dig(context.item.data, path)):
            name = text(mapping(mapping(template).get("metadata")).get("name"))
            names[name] = {"persistentVolumeClaim": {}}
    return names


@container_check(
    "M146",
    reason="The API server refuses a container that mounts a volume which its pod does not declare.",
    source=_SOURCE,
    bad=pod("volumeMounts:\n  - {name: shm, mountPath: /dev/shm}"),
    good=pod("volumeMounts:\n  - {name: shm, mountPath: /dev/shm}", _SHM),
)
def mounted_volumes(container: Container, pod: Pod, context: Context) -> Iterator[Problem]:
    """A container mounts volumes that its pod declares."""
    mounts = [
        *walk(container.data, ("volumeMounts", "*", "name")),
        *walk(container.data, ("volumeDevices", "*", "name")),
    ]
    if not mounts:
        return
    declared = _declared(pod, context)
    for name, path in walk(container.data, ("volumeDevices", "*", "name")):
        source = declared.get(text(name), {})
        if text(name) in declared and not {"persistentVolumeClaim", "ephemeral"} & set(source):
            yield Problem(path, f"the volume {short(text(name))} is no claim, so it is no block device")
    for name, path in mounts:
        if isinstance(name, str) and name not in declared:
            hint = did_you_mean(name, [known for known in declared if known]) if name else ""
            yield Problem(path, f"the pod has no volume {short(name)}", hint)


@container_check(
    "M147",
    reason="The API server refuses a mount without a path, and two mounts at one path.",
    source=_SOURCE,
    bad=pod(
        "volumeMounts:\n  - {name: shm, mountPath: /dev/shm}\n  - {name: shm, mountPath: /dev/shm}",
        _SHM,
    ),
    good=pod(
        "volumeMounts:\n  - {name: shm, mountPath: /dev/shm}\n  - {name: shm, mountPath: /tmp}",
        _SHM,
    ),
)
def mount_paths(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Mounts have paths, which differ."""
    for field, key in (("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")):
        for value, path in walk(container.data, (field, "*", key)):
            if value == "":
                yield Problem(path, f"{key} is empty")
        if field == "volumeDevices":
            for name, path in repeats(walk(container.data, (field, "*", "name"))):
                yield Problem(path, f"the device {short(text(name))} is used twice")
        for value, path in repeats(walk(container.data, (field, "*", key))):
            if isinstance(value, str) and value:
                yield Problem(path, f"two entries of {field} have the path {short(value)}")


@container_check(
    "M148",
    reason="The API server refuses a subPath that is absolute or leaves its volume.",
    source=_SOURCE,
    bad=pod("volumeMounts:\n  - {name: shm, mountPath: /dev/shm, subPath: ../etc}", _SHM),
    good=pod("volumeMounts:\n  - {name: shm, mountPath: /dev/shm, subPath: engine}", _SHM),
)
def sub_paths(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A subPath stays inside its volume."""
    for index, mount in enumerate(sequence(container.data.get("volumeMounts"))):
        given = [field for field in ("subPath", "subPathExpr") if text(mapping(mount).get(field))]
        for field in given:
            if wrong := local_path(mount[field]):
                yield Problem(("volumeMounts", index, field), f"{field} {short(mount[field])} {wrong}")
        if len(given) == 2:  # noqa: PLR2004 - both of the two
            yield Problem(("volumeMounts", index, "subPathExpr"), "subPath and subPathExpr exclude each other")


@container_check(
    "M149",
    reason="The API server refuses mounts that propagate to the host from a container that is not privileged, and contradictory read-only mounts.",
    source=f"{CORE}: validateMountPropagation and validateMountRecursiveReadOnly.",
    bad=pod("volumeMounts:\n  - {name: shm, mountPath: /dev/shm, mountPropagation: Bidirectional}", _SHM),
    good=pod(
        "securityContext: {privileged: true}\nvolumeMounts:\n  - {name: shm, mountPath: /dev/shm, mountPropagation: Bidirectional}",
        _SHM,
    ),
)
def mount_propagation(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Only privileged containers propagate mounts to the host."""
    privileged = mapping(container.data.get("securityContext")).get("privileged") is True
    for index, item in enumerate(sequence(container.data.get("volumeMounts"))):
        mount = mapping(item)
        way, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
        if way == "Bidirectional" and not privileged:
            path = ("volumeMounts", index, "mountPropagation")
            yield Problem(
                path,
                "Bidirectional mount propagation needs a privileged container",
                "set securityContext.privileged: true, or use HostToContainer",
            )
        if recursive in ("Enabled", "IfPossible") and mount.get("readOnly") is not True:
            yield Problem(
                ("volumeMounts", index, "recursiveReadOnly"),
                "recursiveReadOnly needs readOnly: true",
            )
        elif recursive in ("Enabled", "IfPossible") and way not in (None, "", "None"):
            yield Problem(
                ("volumeMounts", index, "recursiveReadOnly"),
                "recursiveReadOnly needs mountPropagation: None",
            )
