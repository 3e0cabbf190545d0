"""Sites: what only the people who run the cluster know."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stowplan.profiles.fact import Items, Model, Name, Text

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Amount = Annotated[float, Field(gt=0)]
KubernetesMinor = Annotated[str, Field(pattern=r"^1\.[0-9]{2}$")]


class Weights(Model):
    """The volume that holds checkpoints, and where they come from."""

    storage_class: str = ""
    """Empty: the cluster's default class; it must offer ReadWriteMany."""
    access_mode: Literal["ReadWriteMany", "ReadOnlyMany"] = "ReadWriteMany"
    headroom_percent: int = 10
    """Room beyond the checkpoint's bytes."""
    endpoints: dict[Literal["huggingface", "modelscope"], str] = {}
    """Hub to the address of its mirror, `https://HOST`; none: the hub itself."""
    download_rate: Annotated[float, Field(gt=0)] = 0.05
    """GB/s at which a checkpoint arrives; the deadlines of what waits for it follow."""
    host_path: Annotated[str, Field(pattern=r"^(/[^/]+)*$")] = ""
    """Folder of the hosts that already holds the checkpoints, each below `ORGANISATION/NAME`; empty: a claim."""
    images: dict[str, str] = {}
    """Checkpoint id to the OCI image that holds its files at the root; others come by claim or host path."""
    token_secret: str = ""
    """Secret with key `token`; empty: anonymous download."""
    revisions: dict[str, str] = {}
    """Checkpoint id to the commit to download."""
    download_image: str | None = None
    """Image with Python and the hub's client; null: the engine's own image."""


class Network(Model):
    """How pods of one group reach each other."""

    interface: str = ""
    """Network interface of the host for collectives; needed where a group spans hosts."""
    rdma_resource: str = ""
    """Extended resource of the RDMA device plugin; site-chosen everywhere."""


class Gateway(Model):
    """The Gateway through which callers come."""

    name: Label
    namespace: Label
    section: str = ""
    """Its listener; empty: every one."""
    hostnames: Items[str] = ()
    """Of the routes; none: whatever the listener takes."""


class Picker(Model):
    """The Service that picks an endpoint for each request, in the pairing's namespace."""

    service: Label
    port: Annotated[int, Field(ge=1, le=65535)] = 9002
    failure_mode: Literal["FailClose", "FailOpen"] = "FailClose"
    """What becomes of requests while it does not answer: refused, or sent to any endpoint."""


class SiteServer(Model):
    """Hosts of one kind in the cluster."""

    device_layer: Name | None = None
    """For pairings too that name none; None: the layer that a pairing would take."""
    group: Annotated[int, Field(ge=2)] | None = None
    """Hosts that a preflight tests together; none: each by itself."""


class SitePairing(Model):
    """What differs for a pairing on this cluster."""

    replicas: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """None: as the pairing has it."""


class GitOps(Model):
    """What applies the rendered tree from Git; its objects are rendered to `gitops/SITE`."""

    tool: Literal["argocd", "argocd-applicationset", "flux"]
    """Applications with sync waves; one ApplicationSet with progressive syncs; Kustomizations that depend on each other."""
    repository: Annotated[str, Field(pattern=r"^(https|ssh)://\S+$|^git@\S+$")]
    """Address of the repository that holds the tree."""
    revision: Text = "main"
    """Branch."""
    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_./]*$")] = "manifests"
    """Folder of the tree in the repository."""
    namespace: Label | None = None
    """Where the tool reads its objects; none: the tool's own default."""


class SiteSpec(Model):
    """One cluster, or one kind of cluster."""

    title: Text
    kubernetes: KubernetesMinor
    kubelet_root: Text = "/var/lib/kubelet"
    namespace: Label = "deepseek-v4"
    registry_mirrors: dict[str, str] = {}
    """Registry host to the mirror that stands for it in image names."""
    pull_secrets: Items[str] = ()
    images: dict[str, str] = {}
    """Component, engine (`NAME`, or `NAME@VERSION`), router or quantizer to the site's own image."""
    device_memory: dict[Name, int] = Field(default_factory=dict, alias="deviceMemoryMib")
    """Chip to MiB that its driver reports here, where the catalogue does not know or the site measured."""
    host_memory: dict[Name, float] = Field(default_factory=dict, alias="hostMemoryGib")
    """Server to GiB."""
    max_nodes: Annotated[int, Field(ge=1)] = 8
    """Hosts that one replica may span."""
    servers: dict[Name, SiteServer] = {}
    """Servers of the cluster: their device layers are rendered, whether or not a pairing uses them."""
    pairings: dict[Name, SitePairing] = {}
    """Pairings of other sites that this cluster runs too: `render --site` renders them with this site's facts."""
    gitops: GitOps | None = None
    """None: only manifests are rendered."""
    device_layer_modes: dict[Name, Name] = {}
    """Device layer to the mode of its profile in which this cluster runs it."""
    super_pod_hosts: Annotated[int, Field(ge=1)] | None = None
    """Hosts of one physical super-pod; needed where servers of one are used."""
    scheduler_architecture: Literal["amd64", "arm64"] | None = None
    """Architecture of the hosts on which a device layer's own scheduler runs; none: as the layer's profile has it."""
    weights: Weights = Weights()
    network: Network = Network()
    platform: Name = "kubernetes"
    """What runs and routes the pods; a pairing may name another."""
    operator_version: str = ""
    """Version of that platform's operator; the version of its objects follows."""
    gateway: Gateway | None = None
    """None: the platform needs none, or callers reach the Service."""
    picker: Picker | None = None
    """None: the route goes to the Service, which spreads requests evenly."""
    priority_class: str = ""
    """Of the engine's pods; empty: the cluster's default."""
    prometheus: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Address that an autoscaler asks for the engine's metrics; needed where a pairing gives `maxReplicas`."""
    monitoring: bool = True
    """Render PodMonitor and PrometheusRule (needs the Prometheus operator's kinds)."""
    monitoring_labels: dict[str, str] = {}
    """Labels by which the site's Prometheus selects monitors and rules, for example `release`."""
    allow_from: Items[str] = ()
    """Namespaces whose pods may call the endpoint, beside the own one."""
    node_selector: dict[str, str] = {}
    tolerations: Items[dict[str, str]] = ()
    currency: str = ""
    """Of all prices, for example `EUR`."""
    prices: dict[Name, Amount] = {}
    """Server to price of one device-hour; none is assumed."""
    server_prices: dict[Name, Amount] = {}
    """Server to price of one hour of the whole server, where that is what the site pays."""
    power: dict[Name, Amount] = {}
    """Server to watt of one device."""
    server_power: dict[Name, Amount] = {}
    """Server to watt of the whole server, fans and host included."""

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        twice = ({*self.prices} & {*self.server_prices}) | ({*self.power} & {*self.server_power})
        if twice:
            raise ValueError(f"{min(twice)} is given by device and by server: give one of them")
        return self
