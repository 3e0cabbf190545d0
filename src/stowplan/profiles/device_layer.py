"""Device layers: what a cluster needs before a pod can ask for a card."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from stowplan.profiles.fact import Items, Model, Name, Settings, Sourced, Text

PodSecurity = Literal["restricted", "baseline", "privileged"]
PathType = Literal["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice"]


class HostPath(Model):
    """A path of the host in a container; `{kubelet}` stands for the site's kubelet root."""

    name: Name
    path: Text
    mount: str = ""
    """Where in the container, with the same `{kubelet}`; empty: the same path."""
    type: PathType = ""
    read_only: bool = False
    propagation: Literal["", "HostToContainer", "Bidirectional"] = ""
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
    own_rbac: Items[PolicyRule] = ()
    """Rules that hold in the component's own namespace only."""
    values: Settings = {}
    """Further values that the layer's templates name."""
    reasons: dict[str, Text] = {}
    """Each privilege with its reason."""
    tag_pattern: str = ""
    """Regular expression of the tags that are published; empty: any."""
    optional: str = ""
    """What it is for, where it is left out as long as there is no image of it."""


class PreflightCheck(Model):
    """One line of a preflight: shell commands that fail where the host is not as it must be."""

    name: Text
    expect: Text
    """What holds where it passes; `{devices}`, `{driver}` and `{drivers}` stand for the server's values."""
    run: Text
    hint: str = ""
    """Where to look when it fails."""
    for_path: str = ""
    """Only for servers whose pods mount this path of the host."""
    for_env: str = ""
    """Only under layers whose scheduler tells a pod its devices in this variable."""
    host_paths: Items[HostPath] = ()
    """What it needs of the host beside what the workload mounts."""
    needs: Literal["", "driver", "drivers"] = ""
    """Value without which nothing can be expected: what is found is printed, and nothing is judged."""


class Collective(Model):
    """How torch.distributed of the engine's image names the devices and the library that joins them."""

    device: Name
    backend: Name
    modules: Items[Text] = ()
    """Python modules beside torch that bring the two."""


class Preflight(Sourced):
    """What is tested on a host, with the engine's image, before anything is served there."""

    setup: Items[Text] = ()
    """Shell files of the image that are sourced where they are."""
    checks: Items[PreflightCheck]
    versions: dict[Text, Text] = {}
    """Library, as the engine's profile names it, to the Python expression that gives its version."""
    collective: Collective


class Drivers(Sourced):
    """Versions of the host's driver that the layer's release is made for."""

    releases: Items[Text]
    """Each with all that begin so."""


class PciDevice(Sourced):
    """By which a server's devices are found on the PCI bus."""

    vendor: Text
    devices: Items[Text]


class PodCounts(Sourced):
    """Devices that one pod may ask for."""

    single: Items[int]
    distributed: Items[int] = ()
    """For a pod that is one of several of a group; empty: as `single`."""


class Group(Sourced):
    """What the pods of a group claim together where a group spans hosts; the layer's `group/` templates make it."""

    name: Name
    """Of the claim in each pod."""
    device_class: Text
    topology_key: Text
    """Node label whose value is the same on all hosts that one group may span."""


class ServerLayer(Model):
    """What this layer says of one kind of server."""

    resource: Text
    """What a pod asks for devices by: an extended resource, or a device class where the workload has `claims`."""
    pod_counts: PodCounts
    priority: int | None = None
    """In place of the layer's own, for this server."""
    group: Group | None = None
    one_host: str = ""
    """Why a group cannot span hosts under this layer; empty: it can."""
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
    drivers: Drivers | None = None
    """None: no source states them."""
    pci: PciDevice | None = None
    """None: no source tells this server from others by its PCI devices."""
    super_pod: bool = False
    """Its pods are placed by super-pod, whose size the scheduler must know."""
    notes: Items[str] = ()


KubernetesMinor = Annotated[str, Field(pattern=r"^1\.[0-9]{2}$")]


class Claims(Model):
    """Devices are asked for by claims (Dynamic Resource Allocation) and not by an extended resource."""

    name: Name
    """Of the claim in each pod, and of the one request in it."""
    api_versions: dict[KubernetesMinor, Text]
    """API of the claims from each Kubernetes minor on; before the first one the layer does not run."""


class Workload(Model):
    """What each pod that asks for devices carries."""

    claims: Claims | None = None

    scheduler_name: str = ""
    runtime_class: str = ""
    completes_pods: bool = False
    """Its admission webhook names the scheduler, and where so configured the runtime class, in pods that name none."""
    tolerations: Items[dict[str, str]] = ()
    hide_devices: dict[str, str] = {}
    """Variables that keep devices out of a container of the same image that asks for none."""
    env_from_annotation: dict[str, str] = {}
    """Variable to the pod annotation it is read from; `{resource}` is the resource name."""
    required_annotations: dict[str, Items[Text]] = {}
    """Resource to the annotations without which the layer's scheduler does not place a pod."""
    block_annotation: str = ""
    """Annotation with the devices of one block of a group."""
    seccomp: Literal["", "RuntimeDefault"] = "RuntimeDefault"
    """Empty: left to kubelet, with the reason under `seccomp`."""
    capabilities: dict[Literal["drop", "add"], Items[Text]] = {}
    reasons: dict[str, Text] = {}
    """Privilege to its reason: root, seccomp, host-path ...; they decide user and pod-security level."""


class Owner(Sourced):
    """A program that hands devices of this layer to kubelet, however it was deployed: two on one host are one too many."""

    title: Text
    kind: Text = "DaemonSet"
    """Kind of the object that starts it."""
    image: str = ""
    """Last two parts of its image's name, without tag; empty: the kind alone tells."""
    program: str = ""
    """Word of the command line by which one container of several is told apart."""
    devices: Items[Text]
    """What it hands out: extended resources or drivers."""
    enabled: Items[str] = ()
    """Path of the field that turns it off by `false`."""
    selector: Items[str] = ()
    """Path of the labels of its hosts, where it is no DaemonSet."""


class Mode(Sourced):
    """Another way to run a layer: all that differs from the profile as it is written."""

    title: Text
    without_components: Items[Name] = ()
    without_args: dict[Name, Items[Text]] = {}
    without_host_paths: dict[Name, Items[Name]] = {}
    without_servers: dict[Name, Text] = {}
    """Servers that this mode cannot serve, each with the reason."""
    without_pod_labels: Items[Text] = ()
    without_pod_annotations: Items[Text] = ()
    without_namespaces: Items[Text] = ()
    scheduler_name: str = ""
    env_from_annotation: dict[str, str] = {}
    prerequisites: Items[Text]


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
    every_host: bool = False
    """It serves every host that has its devices, whatever labels the host carries."""
    owners: Items[Owner] = ()
    """By what `check` finds two owners of one device in files of anyone."""
    components: dict[Name, Component]
    servers: dict[Name, ServerLayer]
    preflights: dict[Name, Preflight] = {}
    preflights_of: Name | None = None
    """The layer whose preflights test the same hosts; its files are not repeated."""
    modes: dict[Name, Mode] = {}
    """Other ways to run the layer; a site chooses one by `deviceLayerModes`."""
    workload: Workload
    prerequisites: Items[Text] = ()
    """What must be true of hosts and cluster before; nothing here can install it."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Values that several templates of the layer share."""

    def priority_for(self, server: str) -> int:
        """How far it goes before other layers of that server."""
        own = self.servers[server].priority
        return self.priority if own is None else own
