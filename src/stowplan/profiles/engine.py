"""Serving engines: versions and images, the flag table, rules, memory and capacity methods."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue

from stowplan.profiles.accuracy import Accuracy
from stowplan.profiles.fact import Date, Fact, Items, Model, Name, Settings, Sourced, Text, Versions, as_tuple
from stowplan.profiles.precision import Execution, Loader, RefusedFormat
from stowplan.profiles.rule import LayoutRule, Rule, When
from stowplan.profiles.variant import Storage, TensorClass

Effect = Literal["fails", "degrades"]
FlagName = Annotated[str, Field(pattern=r"^--[a-zA-Z0-9][-._a-zA-Z0-9]*$")]


class Build(Sourced):
    """What an image was built with, and the oldest driver of the host that runs it."""

    libraries: dict[Text, Text]
    """Name of a toolkit or library to its version."""
    driver: str = ""
    """Oldest driver of the host, as its vendor writes it; empty: no source names one."""


class Version(Sourced):
    """One release that may be pinned."""

    version: Text
    upstream: str = ""
    """Version of the engine that this one extends; capacity methods and flags follow it."""
    released: Date
    images: dict[Name, str | None]
    """By chip family; null: no public image, the site must name one."""
    stack: dict[Name, Build] = {}
    """By chip family, as the images."""


class Flag(Model):
    """One option of the engine's command."""

    type: Literal["switch", "int", "float", "text", "json"]
    versions: Versions | None = None
    """Engine versions that know it; null: all that the profile lists."""
    choices: Items[str] = ()


class ReadRelease(Model):
    """A release whose sources the flag table was read from (scripts/engine_flags.py)."""

    version: Text
    file: Text
    sha256: Text


class Variables(Model):
    """Variables of one prefix, which the engine reads itself."""

    prefix: Text
    known: dict[Text, Versions | None]
    """Null: every version that was read."""


class FieldFlag(Model):
    """How a field of the plan is spelled on the command line."""

    flag: FlagName
    aliases: Items[FlagName] = ()
    """Other spellings of the same option."""
    omit_when: JsonValue = None
    over_group: bool = False
    """The engine divides it by the data-parallel ranks; else it is what one rank takes."""


class Support(Sourced):
    """From which version on a variant family, with a draft method, runs on a chip family."""

    variant_family: Name
    chip_families: Items[Name]
    draft: Items[Literal["mtp", "dspark", "none"]]
    checkpoint_formats: Items[Name] | None = None
    """Formats that it was shown with; none: any that the chip has."""
    versions: Versions


class FlagRule(Sourced):
    """A limit on one setting: what it may be, or the only condition under which it may be given."""

    id: Name
    setting: Text
    """Path of the setting: `flags.--x`, `flags.--x.inner`, `env.NAME`."""
    when: When = When()
    values: Items[JsonValue] | None = None
    """The rule is about these values only; none: about any."""
    allowed: Items[JsonValue] | None = None
    at_most: float | None = None
    only: When | None = None
    reason: Text


class KnownBad(Sourced):
    """A combination that is known to fail, or of which a source says that it does not run."""

    id: Name
    versions: Versions
    when: When = When()
    effect: Effect = "fails"
    """`fails`: nothing is planned with it; `degrades`: it runs, and the plan says what to expect."""
    reason: Text


class CapacityMethod(Sourced):
    """How the engine turns free bytes into tokens, for a range of its versions."""

    versions: Versions
    when: When = When()
    method: Name
    numbers: dict[str, JsonValue] = {}
    reason: Text


class KvFormat(Sourced):
    """The cache formats that this engine keeps under a condition."""

    when: When = When()
    only_flags: Items[Settings] = ()
    """Settings of which one must be given; none: it holds without."""
    main: Text
    index: Text
    dtypes: Items[Text] = ()
    """Values of the cache's flag that keep it; none: no source says which, so the flag is left out."""
    reason: Text
    accuracy: Items[Accuracy] = ()


class Communication(Sourced):
    """Bytes of collective buffers for each device."""

    when: When = When()
    method: Name
    env: str = ""
    """Variable that gives the size of one buffer, MiB (method `env-buffer`)."""
    numbers: dict[str, float] = {}


class HostClasses(Sourced):
    """Tensor classes that the engine keeps in pinned memory of the host, once for each host."""

    when: When = When()
    classes: Items[TensorClass]
    unless: Settings = {}
    """Flags that leave them on the devices when all of them are set so."""
    only_env: dict[str, str] = {}
    """Variables without which they are left on the devices."""


class GroupClasses(Sourced):
    """Tensor classes that the engine splits over tensor x data parallel, where it would replicate them by rank."""

    when: When = When()
    classes: Items[TensorClass]
    unless: Settings = {}
    """Flags that leave them whole on each data-parallel rank when all of them are set so."""


class ActivationBase(Sourced):
    """GiB of activations that do not grow with the tokens of a batch."""

    when: When = When()
    gib: float


class LoadedAs(Sourced):
    """Block-scaled tensors that the engine expands when it loads them."""

    versions: Versions
    when: When = When()
    tensors: dict[str, Storage]
    """Tensor class and part (`attention.o_a`) to the storage on the device."""
    accuracy: Items[Accuracy] = ()
    """Against the same tensors as they are stored."""


class LogPatterns(Sourced):
    """Regular expressions over the engine's start-up log; numbers are their first group that is not empty."""

    mark: Text
    """What only logs of this engine hold."""
    start: Text
    """Where a start begins; of several the last one counts."""
    version: str = ""
    """The engine's version, near the beginning of a start."""
    rank: str = ""
    """Which rank printed a line: what stands before its message."""
    weights_gib: Text
    """GiB of weights on one device."""
    weights_add_up: bool = False
    """The engine prints one such line for each part that it loads (model, draft)."""
    cache_gib: str = ""
    """GiB that are free for the cache on one device."""
    tokens: Text
    """The token number of the cache line."""
    concurrency: str = ""
    """Requests of the maximum length."""
    arguments: str = ""
    """Where the engine's own list of settings opens: up to its bracket."""
    lists_defaults: bool = False
    """That list has every setting, not only what differs from the defaults."""
    ignores: Items[FlagName] = ()
    """Flags of that list that no plan sets: addresses, names, keys."""
    refusals: Items[Text] = ()
    """Sentences with which the engine refuses to start; groups `needed`, `available` (GiB) and `longest` (tokens)."""


class Overhead(Sourced):
    """Bytes that the runtime keeps on each device, GiB."""

    versions: Versions
    when: When = When()
    gib: float


Level = Annotated[float, Field(gt=0)]
Levels = Annotated[tuple[Level, Level, Level], BeforeValidator(as_tuple)]
"""Low, middle, high."""


class Efficiency(Sourced):
    """Share of the peak that the engine reaches on a chip family, and floors: low, middle, high (scripts/calibration.py)."""

    when: When = When()
    compute: Levels
    bandwidth: Levels
    link: Levels
    layer_floor_us: Levels
    """Time of one layer in a decode step that no roofline explains (launches, latency of collectives, scheduling)."""
    chunk_floor_ms: Levels
    """Time of one prefill chunk that no roofline explains."""
    stall: Annotated[float, Field(ge=0, le=1)]
    """Share of a prefill for which the other data-parallel ranks of a replica wait."""


class Memory(Model):
    """How the engine divides a device's memory."""

    utilization_flag: FlagName
    reserve_holds_runtime: bool = False
    """Activations and graphs live in what the utilization leaves, of what was free before loading: the cache takes all the rest."""
    reserve_holds_graphs: bool = False
    """Graphs live in what the utilization leaves: they are captured after the cache has been sized."""
    activation_factor: Fact[float]
    """Peak activation bytes = base + factor x hidden size x tokens of a batch x 2."""
    activation_bases: Items[ActivationBase] = ()
    """None: the base is 0."""
    graphs: Fact[float]
    """GiB of captured graphs on each device."""
    overheads: Items[Overhead]
    communication: Items[Communication]
    host_classes: Items[HostClasses] = ()
    loaded_as: Items[LoadedAs] = ()
    group_classes: Items[GroupClasses] = ()
    kv_formats: Items[KvFormat]
    kv_cache_flag: FlagName | None = None
    """Flag with the number format of the cache, which must be one of those that keep the format counted."""
    capacity: Items[CapacityMethod]
    shared_memory: Fact[float]
    """GiB of /dev/shm for each device."""
    experts_over_group: bool = False
    """Without expert parallel, experts are split over tensor x data parallel: attention's data parallel lies inside."""
    load_rate: Fact[float]
    """GB/s at which one host reads weights from its volume; sizes the startup probe."""
    warmup_seconds: Fact[float]
    """Seconds from loaded weights to the first answer (kernel builds, graph capture)."""
    startup_margin: Fact[float] | None = None
    """Factor on load and warm-up for the startup probe; none: 1."""


class Endpoint(Model):
    """Where the engine answers, and how it is asked to stop."""

    port: int
    health: Text
    models: Text
    metrics: Text
    shutdown_seconds: int
    api_key_env: str = ""
    """Variable with the key; empty: the engine asks for none."""
    api_key_flag: str = ""
    """Flag that takes the key from that variable; empty: the engine reads the variable itself."""
    ready_timeout_env: str = ""
    """Variable with the seconds that front ends wait for the engine to start; the plan gives the startup budget."""
    waiting_metric: Text
    running_metric: Text
    kv_usage_metric: Text
    ttft_metric: Text


class MultiNode(Model):
    """What the engine needs to span hosts."""

    method: Literal["data-parallel-address", "node-rank"]
    """How a pod is told its place: its first data-parallel rank, or its host's number."""
    rpc_port: int
    flags: dict[str, FlagName]
    every_host_flag: FlagName | None = None
    """With it each host has a front end for its own ranks; else the leader's is the only one."""
    rdma_flags: dict[str, Items[str]] = {}
    """Flag to the values of it that exchange between hosts by RDMA alone."""
    interface_env: Items[str] = ()
    """Variables that name the host's network interface (a site value)."""
    address_env: Items[str] = ()
    """Variables that hold the pod's own address."""


class PeerSizes(Model):
    """Where a role's setting names the sizes of both roles: below `path`, the role, then these two keys."""

    path: Text
    """`flags.--x.inner`."""
    tp: Text
    dp: Text


class PortRange(Sourced):
    """Ports that a transport takes on a host for itself: so many for each device, from the first on."""

    first: int
    per_device: int


class RankProcesses(Model):
    """One process for each data-parallel rank, each with a port of its own; the pod's shell starts them."""

    flags: dict[Literal["rank", "address", "rpcPort"], FlagName]
    devices_env: Text
    """Variable with the devices of one process, counted in its container."""


class RouterFlags(Model):
    """How the router spells what the plan tells it."""

    port: FlagName
    peers: dict[Literal["prefill", "decode"], Items[FlagName]]
    """Flags of a role's addresses, in the order that the method gives them."""
    ranks: FlagName | None = None
    """Ranks behind one address, where both roles have as many."""
    bootstrap_env: Text | None = None
    """Variable of prefill with the port that follows its address."""
    startup: FlagName | None = None
    """Seconds that it waits for the engines."""


class Router(Sourced):
    """What stands before prefill and decode, and sends a request through both."""

    name: Name
    image: str | None
    """Null: the engine's image holds it."""
    command: Items[Text]
    set: Settings = {}
    """Flags that every deployment has."""
    method: Literal["urls", "hosts-and-ports"]
    """Each address by its own flag, or one list of hosts and one of ports."""
    flags: RouterFlags
    port: int
    health: Text
    key_env: Text
    """Variable with the key that it shows to the engines; it asks its own callers for none."""
    run_as: int | None
    """User id; null: root, as the image needs it."""


class Transfer(Sourced):
    """How caches go from prefill to decode on a chip family, where that is documented."""

    chip_families: Items[Name]
    versions: Versions | None = None
    sizes: PeerSizes | None = None
    """None: the roles find each other's sizes by themselves."""
    reserved_ports: PortRange | None = None
    """Nothing else of the engine may listen on them."""
    handshake: Text | None = None
    """Setting with the first port on which a role's ranks offer their caches, one for each, above the reserved ones."""
    drawn: Items[Text] = ()
    """Settings of documented commands that no two instances may share; left out, the engine draws them."""
    processes: RankProcesses | None = None
    """None: one process for each pod, whatever its ranks."""
    rdma: bool = False
    """Caches cross the hosts' own network by RDMA: the site names the resource."""
    interface_env: Items[str] = ()
    address_env: Items[str] = ()
    """As for groups of hosts."""
    router: Router | None = None
    """None: the engine's own operator brings one."""


class Container(Model):
    """How the engine's container is run, with the reason for each privilege."""

    command: Items[str]
    home: Text
    setup: Items[Text] = ()
    """Shell files of the image that its entry point would source, in order; one that is absent is passed over."""
    python: Text = "python3"
    """Interpreter that has the engine's packages: probes and jobs use it."""
    cache_paths: Items[str] = ()
    cpu_per_device: Fact[float]
    memory_per_device: Fact[float]
    """GiB of host memory for each device, without shared memory and pinned tables."""
    run_as: int | None
    """User id; null: root."""
    reasons: dict[str, Text] = {}
    """Privilege to its reason: root, host-network, ipc-lock ..."""


class EngineSpec(Model):
    """One engine (or plug-in build of one)."""

    title: Text
    extends: Name | None = None
    """Engine whose flag table (at `upstream` of the version) this one's is added to."""
    platform: Name | None = None
    """The platform whose operator starts it; planned where the pairing runs on that one, and nowhere else."""
    chip_families: Items[Name]
    priority: int = 0
    """Higher is taken first where several engines serve a chip."""
    default_version: Text
    default_because: Text
    versions: Items[Version]
    flags: dict[FlagName, Flag]
    flags_read: Items[ReadRelease] = ()
    keys: dict[FlagName, dict[Text, Versions | None]] = {}
    """Flag with a mapping to the keys that the engine looks up in it, and the versions that do (scripts/engine_settings.py)."""
    variables: Variables | None = None
    settings_read: Items[ReadRelease] = ()
    """Releases whose sources these keys and variables were read from."""
    fields: dict[str, FieldFlag]
    env: Items[str] = ()
    """Variables that the engine or its runtime reads."""
    rules: Items[Rule]
    layout_rules: Items[LayoutRule]
    supports: Items[Support]
    known_bad: Items[KnownBad] = ()
    flag_rules: Items[FlagRule] = ()
    loaders: dict[Text, Loader] = {}
    """By the engine's own name of the method."""
    executions: Items[Execution] = ()
    refused_formats: Items[RefusedFormat] = ()
    quantization_flag: FlagName | None = None
    """Flag that names the loader, where it is given at all."""
    precision_flags: Items[FlagName] = ()
    """Flags that say in which format weights and caches are read and computed."""
    memory: Memory
    efficiency: Items[Efficiency]
    draft_tokens: dict[Literal["mtp", "dspark"], Text] = {}
    """Path of the setting with the tokens that a draft proposes in each step: `flags.--x`, `flags.--x.inner`."""
    acceptance: dict[Literal["mtp", "dspark"], dict[str, Fact[float]]] = {}
    """Tokens accepted for each step, by draft method and number of speculative tokens."""
    log: LogPatterns | None = None
    endpoint: Endpoint
    multi_node: MultiNode | None = None
    transfers: Items[Transfer] = ()
    """Ways to serve with prefill and decode apart."""
    container: Container
