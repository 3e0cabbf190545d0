"""Volumes of pods: their names, what they hold, and what their sources need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, pod_check
from stowplan.check.admission._syntax import (
    dns_label,
    integer,
    local_path,
    quantity,
    repeats,
    short,
    text,
    walk,
)
from stowplan.check.admission._volume_sources import source_problems
from stowplan.check.admission.environment import field_path_problem, resource_field_problem
from stowplan.check.objects import Path, Pod, mapping, sequence

_SOURCE = f"{CORE}: ValidateVolumes and validateVolumeSource."
_MAX_MODE = 0o777
_BEHIND_GATES = {"clusterTrustBundle", "podCertificate"}  # dropped where they are off
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 2**32


def volumes(pod: Pod) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """The volumes of a pod and their places."""
    for index, volume in enumerate(sequence(pod.spec.get("volumes"))):
        if isinstance(volume, Mapping):
            yield volume, (*pod.spec_path, "volumes", index)


@pod_check(
    "M140",
    reason="The API server refuses volumes whose names are no DNS labels or occur twice.",
    source=_SOURCE,
    bad=pod(spec="volumes:\n  - {name: shm, emptyDir: {}}\n  - {name: shm, emptyDir: {}}"),
    good=pod(spec="volumes:\n  - {name: shm, emptyDir: {}}\n  - {name: tmp, emptyDir: {}}"),
)
def volume_names(pod: Pod, context: Context) -> Iterator[Problem]:
    """Names of volumes are DNS labels and differ."""
    seen: set[str] = set()
    for value, path in walk(context.item.data, ("spec", "volumeClaimTemplates", "*", "metadata", "name")):
        if context.item.kind == "StatefulSet" and (wrong := dns_label(text(value))):
            yield Problem(path, f"the volume name {short(text(value))} {wrong}")
    for volume, path in volumes(pod):
        name = volume.get("name")
        if not isinstance(name, str):
            continue
        if name == "" or (wrong := dns_label(name)):
            wrong = "is empty" if name == "" else wrong
            yield Problem((*path, "name"), f"the volume name {short(name)} {wrong}")
        elif name in seen:
            yield Problem((*path, "name"), f"two volumes of the pod are named {short(name)}")
        seen.add(name)


@pod_check(
    "M141",
    reason="The API server refuses a volume with two sources.",
    source=_SOURCE,
    bad=pod(spec="volumes:\n  - {name: shm, emptyDir: {}, hostPath: {path: /dev/shm}}"),
    good=pod(spec="volumes:\n  - {name: shm, emptyDir: {medium: Memory}}"),
)
def one_source(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A volume has one source."""
    for volume, path in volumes(pod):
        given = [key for key, value in volume.items() if key != "name" and isinstance(value, Mapping)]
        if len(given) > 1:
            yield Problem(
                (*path, given[-1]),
                f"the volume has {len(given)} sources, one is allowed: {', '.join(given)}",
                key=True,
            )


@pod_check(
    "M142",
    reason="The API server refuses a volume source that does not say which object or path it means, or goes up with '..'.",
    source=_SOURCE,
    bad=pod(spec="volumes:\n  - {name: config, configMap: {defaultMode: 420}}"),
    good=pod(spec="volumes:\n  - {name: config, configMap: {name: engine}}"),
)
def source_needs(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A volume source names its object or a possible path."""
    for volume, path in volumes(pod):
        yield from source_problems(volume, path)
        for name, inner in repeats(_projected_paths(volume)):
            yield Problem((*path, *inner), f"two files of the volume have the path {short(text(name))}")
        for token, inner in walk(volume, ("projected", "sources", "*", "serviceAccountToken")):
            if isinstance(token, Mapping):
                yield from _token(token, (*path, *inner))
        for source, inner in walk(volume, ("projected", "sources", "*")):
            given = [k for k, value in mapping(source).items() if value is not None and k not in _BEHIND_GATES]
            if len(given) > 1:
                yield Problem(
                    (*path, *inner), f"the entry has {len(given)} sources, one is allowed: {', '.join(given)}"
                )
            for kind in ("configMap", "secret"):
                if isinstance(mapping(source).get(kind), Mapping) and source[kind].get("name") in (
                    None,
                    "",
                ):
                    yield Problem((*path, *inner, kind), f"the projected {kind} has no name")


def _projected_paths(volume: Mapping[str, Any]) -> Iterator[tuple[Any, Path]]:
    yield from walk(volume, ("projected", "sources", "*", "serviceAccountToken", "path"))
    for kind in ("configMap", "secret", "downwardAPI"):
        yield from walk(volume, ("projected", "sources", "*", kind, "items", "*", "path"))


def _token(token: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    if wrong := "is empty" if not token.get("path") else local_path(text(token["path"])):
        yield Problem((*path, "path"), f"the path of the token {wrong}")
    seconds = integer(token.get("expirationSeconds"))
    if seconds is not None and not _SHORTEST_TOKEN <= seconds <= _LONGEST_TOKEN:
        message = f"expirationSeconds {seconds} is not in the range {_SHORTEST_TOKEN} to {_LONGEST_TOKEN}"
        yield Problem((*path, "expirationSeconds"), message)


@pod_check(
    "M144",
    reason="The API server refuses a negative size limit of an emptyDir.",
    source=f"{CORE}: validateEmptyDirVolumeSource.",
    bad=pod(spec="volumes:\n  - {name: shm, emptyDir: {sizeLimit: -1Gi}}"),
    good=pod(spec="volumes:\n  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 64Gi}}"),
)
def empty_dir(pod: Pod, _context: Context) -> Iterator[Problem]:
    """The size limit of an emptyDir is not negative."""
    for volume, path in volumes(pod):
        limit = mapping(volume.get("emptyDir")).get("sizeLimit")
        if (number := quantity(limit)) is not None and number < 0:
            yield Problem((*path, "emptyDir", "sizeLimit"), f"the size limit {limit} is negative")


_ITEMS: tuple[Path, ...] = (
    ("configMap", "items", "*"),
    ("secret", "items", "*"),
    ("downwardAPI", "items", "*"),
    ("projected", "sources", "*", "configMap", "items", "*"),
    ("projected", "sources", "*", "secret", "items", "*"),
    ("projected", "sources", "*", "downwardAPI", "items", "*"),
)


@pod_check(
    "M145",
    reason="The API server refuses file modes outside 0 to 0777, and files of a volume that would lie outside of it.",
    source=f"{CORE}: validateKeyToPath and validateDownwardAPIVolumeFile.",
    bad=pod(spec="volumes:\n  - {name: config, configMap: {name: engine, defaultMode: 755}}"),
    good=pod(spec="volumes:\n  - {name: config, configMap: {name: engine, defaultMode: 0755}}"),
)
def files_of_volume(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Files of a volume have a mode of at most 0777 and a path inside it."""
    for volume, path in volumes(pod):
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind not in volume:
                continue
            mode = integer(mapping(volume[kind]).get("defaultMode"))
            if mode is not None and not 0 <= mode <= _MAX_MODE:
                yield _mode_problem(mode, (*path, kind, "defaultMode"))
        for steps in _ITEMS:
            for item, inner in walk(volume, steps):
                yield from _file(mapping(item), (*path, *inner), downward="downwardAPI" in steps)


def _mode_problem(mode: int, path: Path) -> Problem:
    message = f"the file mode {mode} is outside 0 to 511 (octal 0777)"
    return Problem(path, message, "write it in octal with a leading 0, or in decimal: 0644 is 420, 0755 is 493")


def _file(item: Mapping[str, Any], path: Path, *, downward: bool) -> Iterator[Problem]:
    mode, name = integer(item.get("mode")), item.get("path")
    if mode is not None and not 0 <= mode <= _MAX_MODE:
        yield _mode_problem(mode, (*path, "mode"))
    if isinstance(name, str):
        wrong = (
            "is empty"
            if name == ""
            else local_path(name) or ("may not begin with '..'" if name.startswith("..") else "")
        )
        if wrong:
            yield Problem((*path, "path"), f"the path {short(name)} of a file in a volume {wrong}")
    if item.get("key") == "":
        yield Problem((*path, "key"), "the key is empty")
    if not downward or not item:
        return
    given = [field for field in ("fieldRef", "resourceFieldRef") if item.get(field) is not None]
    if len(given) != 1:
        yield Problem(
            path,
            f"the file has {len(given)} sources, exactly one of fieldRef and resourceFieldRef is allowed",
        )
    wrong = field_path_problem(item.get("fieldRef"), volume=True) or resource_field_problem(
        item.get("resourceFieldRef")
    )
    if wrong:
        yield Problem((*path, *given[:1]), wrong)
