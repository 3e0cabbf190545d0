"""An engine command of anyone in; which engine, version, checkpoint and chips it is about, as far as the file says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.admission._syntax import quantity
from stowplan.check.commands import Command, commands
from stowplan.check.objects import Bundle, Object, Path, dig, mapping, sequence
from stowplan.fit.weights import weights
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.rule import Context
from stowplan.profiles.variant import Checkpoint

_SERVER = "stowplan.dev/server"
_VERSION = re.compile(r"(?<![0-9.])v?(\d+\.\d+\.\d+(?:\.?(?:post|rc|dev)\d+)?)(?P<rest>.*)$")
_BASE = re.compile(r"\d+\.\d+\.\d+")
_WORD = re.compile(r"[^a-z0-9]+")
_TERMS: Path = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")


@dataclass(frozen=True, slots=True)
class Served:
    """A checkpoint that the catalogue knows."""

    variant: str
    checkpoint: Checkpoint
    bytes: int


@dataclass(frozen=True, eq=False)
class Running:
    """What one command runs, and where."""

    item: Object
    command: Command
    name: str
    engine: EngineSpec
    version: str
    """Empty: the image does not say it."""
    upstream: str
    image_family: str
    """Chip family that the image is built for; empty: it does not say."""
    chips: tuple[str, ...]
    """Every chip that the pod may run on."""
    served: Served | None
    resource: str
    devices: int | None
    """Devices that the container asks for; None where it asks for none."""

    @property
    def title(self) -> str:
        """`vllm 0.26.0`."""
        return f"{self.name} {self.version}".rstrip()

    @property
    def speculates(self) -> bool:
        """Whether the command drafts tokens at all: a checkpoint's draft module may be left unused."""
        return any(flag.startswith("--speculative") for flag in self.command.flags)

    def size(self, field: str, default: int | None = 1) -> int | None:
        """A parallel size by the engine's own flag."""
        spelled = self.engine.fields.get(field)
        return self.command.integer(spelled.flag, *spelled.aliases, default=default) if spelled else default

    def contexts(self, catalog: Catalog) -> list[Context]:
        """What the engine's rules are asked of: the case once for each chip that it may be; none where too little is known."""
        sizes = {key: self.size(key) for key in ("tp", "dp", "pp")}
        if "devices" in self.engine.fields:
            sizes["tp"] = self.size("devices")
            if (
                mapping(self.command.flags).get(self.engine.fields["dpAttention"].flag) is True
                and sizes["tp"]
                and sizes["dp"]
            ):
                sizes["tp"] //= sizes["dp"]
        tp, dp = sizes["tp"], sizes["dp"]
        if self.served is None or not self.version or not self.chips or tp is None or dp is None:
            return []
        variant, checkpoint = catalog.variants[self.served.variant], self.served.checkpoint
        together = self.engine.fields.get("expertParallel")
        context = Context(
            chip="",
            chip_family=(),
            server="",
            variant=self.served.variant,
            variant_family=variant.family,
            checkpoint_format=checkpoint.format,
            draft=checkpoint.draft or "none",
            use_case="",
            mode="disaggregated" if "--kv-transfer-config" in self.command.flags else "aggregated",
            version=self.version,
            role="",
            tp=tp,
            dp=dp,
            ep=tp * dp if together is None or self.command.flags.get(together.flag) is True else 1,
            nodes=self.command.serving.hosts or 1,
        )
        return [replace(context, chip=chip, chip_family=catalog.chips[chip].families) for chip in self.chips]


def running(item: Object, bundle: Bundle) -> tuple[Running, ...]:
    """The commands of an object whose engine the catalogue knows."""
    key = ("running", id(item))
    if key not in bundle.worked_out:
        bundle.worked_out[key] = tuple(_known(item, bundle))
    known: tuple[Running, ...] = bundle.worked_out[key]
    return known


def _known(item: Object, bundle: Bundle) -> Iterator[Running]:
    if bundle.catalog is None:
        return
    for command in commands(item, bundle):
        name = _engine(command, bundle.catalog)
        if name is not None:
            yield _running(item, command, name, bundle.catalog)


def _running(item: Object, command: Command, name: str, catalog: Catalog) -> Running:
    engine = catalog.engines[name]
    version, upstream, family = _release(command, engine)
    resource, devices = _devices(command, catalog)
    chips = _chips(command, catalog, resource)
    fitting = tuple(chip for chip in chips if {family, *engine.chip_families} & {*catalog.chips[chip].families})
    narrowed = tuple(c for c in fitting if not family or family in catalog.chips[c].families) or fitting
    return Running(
        item, command, name, engine, version, upstream, family, narrowed, served(command, catalog), resource, devices
    )


def served(command: Command, catalog: Catalog) -> Served | None:
    """The known checkpoint that a command serves, by a part of its path."""
    names = [part.removeprefix("models--").rpartition("--")[2] for part in command.model.rstrip("/").split("/")]
    known = _checkpoints(catalog)
    return next((known[name.lower()] for name in reversed(names) if name.lower() in known), None)


@cache
def _checkpoints(catalog: Catalog) -> dict[str, Served]:
    """Repository name in lower case to the checkpoint and its bytes."""
    return {
        checkpoint.id.rpartition("/")[2].lower(): Served(
            name, checkpoint, weights(catalog.architecture(name), checkpoint, checkpoint.draft).total
        )
        for name, variant in catalog.variants.items()
        for checkpoint in variant.checkpoints
    }


def repository(image: str) -> tuple[str, str]:
    """Last two parts of an image's path (a mirror changes those before), and its tag."""
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return "/".join([*image.partition("@")[0].split("/")[-2:-1], name]), tag


@cache
def _repositories(catalog: Catalog) -> dict[str, str]:
    """Repository of an image to the engine whose releases it holds."""
    return {
        repository(image)[0]: name
        for name, engine in catalog.engines.items()
        for version in engine.versions
        for image in version.images.values()
        if image
    }


def _engine(command: Command, catalog: Catalog) -> str | None:
    """By the image, else by the program where one engine alone is started so."""
    by_image = _repositories(catalog).get(repository(str(command.container.data.get("image", "")))[0])
    if by_image is not None:
        return by_image
    named = [name for name, engine in catalog.engines.items() if command.program in programs(engine)]
    if not named:  # an engine inside a runtime that starts it
        named = [n for n, e in catalog.engines.items() if command.program.rpartition(".")[2] in programs(e)]
    if len(named) == 1:
        return named[0]
    resource, _ = _devices(command, catalog)
    families = {family for chip in _of_resource(catalog, resource) for family in catalog.chips[chip].families}
    fitting = [n for n in named if resource and {*catalog.engines[n].chip_families} & families]
    return fitting[0] if len(fitting) == 1 else None


def programs(engine: EngineSpec) -> list[str]:
    """Words by which a command is known for this engine's: its program, or the module that starts it."""
    words = [word.rpartition("/")[2] for word in engine.container.command if not word.startswith("-")]
    return [part for word in words for part in (word, word.partition(".")[0])]


def _release(command: Command, engine: EngineSpec) -> tuple[str, str, str]:
    """Version, version of what it extends, and chip family, by the image's tag."""
    image = str(command.container.data.get("image", ""))
    wanted = repository(image)
    suffixes: dict[str, str] = {}
    for version in engine.versions:
        for family, known in version.images.items():
            if known and repository(known) == wanted:
                return version.version, version.upstream or version.version, family
            found = _VERSION.search(repository(known)[1]) if known else None
            if found and repository(str(known))[0] == wanted[0]:
                suffixes[found["rest"]] = family
    found = _VERSION.search(wanted[1])
    if found is None or not any(
        known and repository(known)[0] == wanted[0] for v in engine.versions for known in v.images.values()
    ):
        return "", "", ""
    base = _BASE.match(found[1])
    same = next((v.upstream for v in engine.versions if base and v.version == base[0]), "")
    upstream = same or ("" if engine.extends and engine.flags else found[1])
    return found[1], upstream, suffixes.get(found["rest"], "") if len(suffixes) > 1 else ""


def _devices(command: Command, catalog: Catalog) -> tuple[str, int | None]:
    """The device resource that the container asks for, and how many of it."""
    resources = mapping(command.container.data.get("resources"))
    asked = {**mapping(resources.get("requests")), **mapping(resources.get("limits"))}
    for name, value in asked.items():
        if _of_resource(catalog, str(name)):
            amount = quantity(value)
            return str(name), int(amount) if amount is not None and amount.denominator == 1 else None
    return "", None


@cache
def _resources(catalog: Catalog) -> dict[str, frozenset[str]]:
    """Resource name to the servers whose devices have it."""
    found: dict[str, set[str]] = {}
    for layer in catalog.device_layers.values():
        for server, entry in layer.servers.items():
            found.setdefault(entry.resource, set()).add(server)
    return {name: frozenset(servers) for name, servers in found.items()}


def servers_of(catalog: Catalog, resource: str) -> frozenset[str]:
    """Servers whose devices have this name under some layer."""
    return _resources(catalog).get(resource, frozenset())


def _of_resource(catalog: Catalog, resource: str) -> list[str]:
    return sorted({catalog.servers[server].chip for server in servers_of(catalog, resource)})


def _chips(command: Command, catalog: Catalog, resource: str) -> tuple[str, ...]:
    """Chips that the pod may run on: by the server that it selects, else by the resource and words of the node's labels."""
    selected = mapping(command.pod.spec.get("nodeSelector"))
    server = selected.get(_SERVER)
    if isinstance(server, str) and server in catalog.servers:
        return (catalog.servers[server].chip,)
    chips = _of_resource(catalog, resource)
    words = {word for value in _labels(command.pod.spec, selected) for word in _WORD.split(value.lower())}
    return tuple(chip for chip in chips if _WORD.split(chip)[0] in words) or tuple(chips)


def _labels(spec: Mapping[str, Any], selected: Mapping[str, Any]) -> list[str]:
    terms = sequence(dig(spec, _TERMS))
    wanted = [mapping(e) for term in terms for e in sequence(mapping(term).get("matchExpressions"))]
    single = [
        sequence(e.get("values")) for e in wanted if e.get("operator") == "In" and len(sequence(e.get("values"))) == 1
    ]
    return [str(value) for value in (*selected.values(), *(values[0] for values in single))]
