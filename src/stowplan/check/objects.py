"""What checks look at: Kubernetes objects with their places, pods wherever a kind nests them, bundles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from stowplan.catalog import Catalog
from stowplan.diagnostics import Location
from stowplan.located_yaml import Document

Path = tuple[str | int, ...]
MAPPINGS = (dict, Mapping)
"""To ask whether something is a mapping: what YAML gives is a dict, and that is told at once."""

_POD_TEMPLATES: dict[str, tuple[Path, ...]] = {
    "CronJob": (("spec", "jobTemplate", "spec", "template"),),
    "DaemonSet": (("spec", "template"),),
    "Deployment": (("spec", "template"),),
    "Job": (("spec", "template"),),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
    "ReplicaSet": (("spec", "template"),),
    "StatefulSet": (("spec", "template"),),
}
_NEEDS_PODS = {"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"}
"""Kinds whose template the API server fills in where it is missing, and then refuses for what it lacks."""


class Pod(NamedTuple):
    """A pod's metadata and spec inside an object, with the path of each."""

    metadata: Mapping[str, Any]
    metadata_path: Path
    spec: Mapping[str, Any]
    spec_path: Path


class Container(NamedTuple):
    """A container and where it stands in the object."""

    data: Mapping[str, Any]
    path: Path
    init: bool


@dataclass(frozen=True, eq=False)
class Object:
    """One Kubernetes object of a document (or of a List in it)."""

    data: Mapping[str, Any]
    document: Document
    base: Path = ()
    """Where the object stands in its document; empty unless it is an item of a List."""

    @cached_property
    def api_version(self) -> str:
        """`apps/v1`, or an empty text."""
        value = self.data.get("apiVersion")
        return value if isinstance(value, str) else ""

    @cached_property
    def kind(self) -> str:
        """`Deployment`, or an empty text."""
        value = self.data.get("kind")
        return value if isinstance(value, str) else ""

    @cached_property
    def group(self) -> str:
        """API group; empty for the core group."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata, empty where it is missing or not a mapping."""
        return mapping(self.data.get("metadata"))

    @cached_property
    def name(self) -> str:
        """Its name, or an empty text."""
        value = self.metadata.get("name")
        return value if isinstance(value, str) else ""

    @cached_property
    def namespace(self) -> str:
        """Its namespace, or an empty text."""
        value = self.metadata.get("namespace")
        return value if isinstance(value, str) else ""

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """Its spec, empty where it is missing or not a mapping."""
        return mapping(self.data.get("spec"))

    def __str__(self) -> str:
        """`Deployment serving/v4-flash`."""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"

    def at(self, *path: Path, key: bool = False) -> Location:
        """The place of a path inside the object (parts are joined); a Secret's line is not shown."""
        whole = tuple(step for part in path for step in part)
        place = self.document.locate((*self.base, *whole), key=key)
        return replace(place, text="") if self.kind == "Secret" else place

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """The pod or pod templates that the object holds."""
        return tuple(self._pods())

    @cached_property
    def containers(self) -> Mapping[Path, tuple[Container, ...]]:
        """Containers of its pods, by the path of the pod's spec: many checks ask for them."""
        return {pod.spec_path: tuple(containers(pod)) for pod in self.pods}

    def _pods(self) -> Iterator[Pod]:
        if self.kind == "Pod":
            yield Pod(self.metadata, ("metadata",), self.spec, ("spec",))
        for path in _POD_TEMPLATES.get(self.kind, ()):
            template = dig(self.data, path)
            if isinstance(template, Mapping) or (template is None and self.kind in _NEEDS_PODS):
                data = mapping(template)
                metadata, spec = mapping(data.get("metadata")), mapping(data.get("spec"))
                yield Pod(metadata, (*path, "metadata"), spec, (*path, "spec"))


def containers(pod: Pod) -> Iterator[Container]:
    """Every container of a pod, init containers included, whatever else is wrong with the pod."""
    for field in ("initContainers", "containers"):
        for index, item in enumerate(sequence(pod.spec.get(field))):
            if isinstance(item, MAPPINGS):
                yield Container(item, (*pod.spec_path, field, index), field == "initContainers")


def mapping(value: object) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one: checks must not fall over a schema error."""
    return value if type(value) is dict or isinstance(value, Mapping) else {}  # the short way first: asked most often


def sequence(value: object) -> Sequence[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def dig(data: object, path: Path) -> Any:
    """The value at a path, or None."""
    for step in path:
        if type(data) is dict or isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


class Advertised(NamedTuple):
    """What a device layer advertises on the hosts of one server, and how many a pod may ask for."""

    server: str
    layer: str
    resource: str
    single: tuple[int, ...]
    distributed: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Bundle:
    """The objects that are applied together, and what the files beside them say."""

    objects: tuple[Object, ...]
    minor: str
    """Kubernetes minor that they are for."""
    plan: Mapping[str, Any] | None = None
    """The `plan.yaml` beside them."""
    catalog: Catalog | None = None
    """Facts that domain checks ask."""
    advertised: tuple[Advertised, ...] = ()
    """What the device layers of the tree around it say that they advertise."""
    beside: tuple[Document, ...] = ()
    """Documents beside the objects that some other program reads."""

    @cached_property
    def by_kind(self) -> Mapping[str, tuple[Object, ...]]:
        """Objects by kind."""
        found: dict[str, list[Object]] = {}
        for item in self.objects:
            found.setdefault(item.kind, []).append(item)
        return {kind: tuple(items) for kind, items in found.items()}

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Mapping[str, list[Object]]]:
        """Objects by kind and name, then by namespace."""
        found: dict[tuple[str, str], dict[str, list[Object]]] = {}
        for item in self.objects:
            found.setdefault((item.kind, item.name), {}).setdefault(item.namespace, []).append(item)
        return found

    def named(self, kind: str, name: str) -> Iterator[Object]:
        """Objects of a kind and name, in whatever namespace."""
        return (item for items in self.by_name.get((kind, name), {}).values() for item in items)

    @cached_property
    def worked_out(self) -> dict[tuple[str, int], Any]:
        """What several checks ask of an object (or of all: 0), under a name and the object's identity: it lives as long as the bundle."""
        return {}

    def of(self, kind: str) -> tuple[Object, ...]:
        """Objects of a kind."""
        return self.by_kind.get(kind, ())
