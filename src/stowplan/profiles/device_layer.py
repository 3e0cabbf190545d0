"""Device layers: what a cluster needs before a pod can ask for a card."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from stowplan.profiles.fact import Items, Model, Name, Settings, Sourced, Text

PodSecurity = Literal["restricted", "baseline", "privileged"]
PathType = Literal["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice"]


class HostPath(Model):
    """A path of the host in a container; `{kubelet}` stands for the site's kubelet root."""

    name: Name
    path: Text
    mount: str = ""
    """Where in the container; empty: the same path."""
    type: PathType = ""
    read_only: bool = False
    sub_path: str = ""
    reason: Text


class PolicyRule(Model):
    """One RBAC rule."""

    api_groups: Items[str]
    resources: Items[str]
    verbs: Items[str]


class Component(Sourced):
    """One thing that the layer deploys, or that must be on the host before it."""

    kind: Literal["DaemonSet", "Deployment", "Job", "Config", "host"]
    namespace: str = ""
    image: str | None = None
    """Null: there is no public image and the site must name one (`images.<component>`)."""
    version: Text
    kubernetes_min: str = ""
    kubernetes_tested_max: str = ""
    args: Items[str] = ()
    env: dict[str, str] = {}
    host_paths: Items[HostPath] = ()
    rbac: Items[PolicyRule] = ()
    values: Settings = {}
    """Further values that the layer's templates name."""
    reasons: dict[str, Text] = {}
    """Each privilege with its reason."""


class PodCounts(Sourced):
    """Devices that one pod may ask for."""

    single: Items[int]
    distributed: Items[int] = ()
    """For a pod that is one of several of a group; empty: as `single`."""


class ServerLayer(Model):
    """What this layer says of one kind of server."""

    resource: Text
    """Extended resource that the layer advertises for its devices."""
    pod_counts: PodCounts
    node_labels: dict[str, str] = {}
    """Labels that an administrator sets, by `kubectl label node`."""
    node_selector: dict[str, str] = {}
    """Labels (written by the layer or by the administrator) that select these hosts."""
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}
    distributed_annotations: dict[str, str] = {}
    host_paths: Items[HostPath] = ()
    """What a workload's pod must mount itself."""
    preflight: Name | None = None
    """Which of the layer's preflights tests such a host."""
    notes: Items[str] = ()


class Workload(Model):
    """What each pod that asks for devices carries."""

    scheduler_name: str = ""
    runtime_class: str = ""
    tolerations: Items[dict[str, str]] = ()
    hide_devices: dict[str, str] = {}
    """Variables that keep devices out of a container of the same image that asks for none."""
    env_from_annotation: dict[str, str] = {}
    """Variable to the pod annotation it is read from; `{resource}` is the resource name."""
    seccomp: Literal["", "RuntimeDefault"] = "RuntimeDefault"
    """Empty: left to kubelet, with the reason under `seccomp`."""
    capabilities: dict[Literal["drop", "add"], Items[Text]] = {}
    reasons: dict[str, Text] = {}
    """Privilege to its reason: root, seccomp, host-path ...; they decide user and pod-security level."""


class DeviceLayerSpec(Model):
    """One device layer."""

    title: Text
    vendor: Name
    version: Text
    managed: bool = False
    """The platform brings it; nothing is deployed."""
    experimental: bool = False
    priority: int = 0
    owns: Items[Text]
    """Resource names or drivers; two layers that own one device exclude each other."""
    components: dict[Name, Component]
    servers: dict[Name, ServerLayer]
    preflights: dict[Name, Items[Text]] = {}
    """Shell lines of a preflight Job, each failing loudly."""
    workload: Workload
    prerequisites: Items[Text] = ()
    """What must be true of hosts and cluster before; nothing here can install it."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Values that several templates of the layer share."""
