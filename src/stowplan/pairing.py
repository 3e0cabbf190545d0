"""A pairing file (or options), a site and the catalogue in; one resolved pairing out, or a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stowplan.catalog import Catalog, Shelf
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.located_yaml import Document, read_file
from stowplan.profiles.hardware import ChipSpec, ServerSpec
from stowplan.profiles.pairing import PairingSpec
from stowplan.profiles.platform import PlatformSpec
from stowplan.profiles.reading import read_profile
from stowplan.profiles.recipe import Layout
from stowplan.profiles.site import SiteSpec
from stowplan.profiles.use_case import UseCaseSpec
from stowplan.profiles.variant import Architecture, VariantSpec

ROLES: Mapping[str, tuple[str, ...]] = {"aggregated": ("server",), "disaggregated": ("prefill", "decode")}
"""The roles of each way to serve."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Variant x server x use case with everything they name looked up."""

    name: str
    spec: PairingSpec
    catalog: Catalog = field(repr=False)
    variant: VariantSpec = field(repr=False)
    architecture: Architecture = field(repr=False)
    server: ServerSpec = field(repr=False)
    chip: ChipSpec = field(repr=False)
    use_case: UseCaseSpec = field(repr=False)
    site: SiteSpec = field(repr=False)
    document: Document | None = field(default=None, repr=False)

    @property
    def engine(self) -> tuple[str | None, str | None]:
        """Pinned engine and version, as far as they are given."""
        name, _, version = (self.spec.engine or "").partition("@")
        return name or None, version or None

    @property
    def platform_name(self) -> str:
        """The platform that it runs on: its own, else the site's."""
        return self.spec.platform or self.site.platform

    @property
    def platform(self) -> PlatformSpec:
        """What its catalogue says of that platform."""
        return self.catalog.platforms[self.platform_name]

    @property
    def mode(self) -> str:
        """How it is served: as pinned, or as the roles of a pinned layout say."""
        if self.spec.mode:
            return self.spec.mode
        given = self.spec.layout
        split = isinstance(given, Mapping) and {*given} & {*ROLES["disaggregated"]}
        return "disaggregated" if split else "aggregated"

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of that mode."""
        return ROLES[self.mode]

    def pins(self, role: str) -> Iterator[tuple[str, Any]]:
        """Pinned keys of a role without its name, those for every role first."""
        own = f"{role}."
        others = tuple(f"{name}." for names in ROLES.values() for name in names)
        yield from ((key, value) for key, value in self.spec.set.items() if not key.startswith(others))
        yield from ((k.removeprefix(own), v) for k, v in self.spec.set.items() if k.startswith(own))

    def layout(self, role: str) -> Layout | None:
        """The layout pinned for a role."""
        given = self.spec.layout
        return given.get(role) if isinstance(given, Mapping) else given

    def locate(self, *path: str | int, key: bool = False) -> Location:
        """Where the pairing's file says that, or the option that stands for it, for messages."""
        if self.document:
            return self.document.locate(("spec", *path), key=key)
        return Location(f"--{key_option(str(path[0]))}" if path else self.name)


def read_pairing(path: Path, catalog: Catalog) -> Pairing:
    """The pairing of a file.

    Raises:
        Refused: with every problem at its place.
    """
    documents = read_file(path)
    if len(documents) != 1:
        message = (
            "holds no YAML document" if not documents else f"holds {len(documents)} YAML documents, one is expected"
        )
        raise Refused([Diagnostic("P003", message, Location(str(path)), level="syntax")], unreadable=True)
    profile = read_profile(documents[0], kind="Pairing")
    return resolve(profile.metadata.name, profile.spec, catalog, documents[0])


def resolve(name: str, spec: PairingSpec, catalog: Catalog, document: Document | None = None) -> Pairing:
    """Look up what the pairing names.

    Raises:
        Refused: a name that the catalogue does not have, with the nearest that it has.
    """
    problems = list(_unknown_names(spec, catalog, document))
    if problems:
        raise Refused(problems)
    server = catalog.servers[spec.server]
    return Pairing(
        name=name,
        spec=spec,
        catalog=catalog,
        variant=catalog.variants[spec.variant],
        architecture=catalog.architecture(spec.variant),
        server=server,
        chip=catalog.chips[server.chip],
        use_case=catalog.use_cases[spec.use_case],
        site=catalog.sites[spec.site],
        document=document,
    )


def _unknown_names(spec: PairingSpec, catalog: Catalog, document: Document | None) -> Iterator[Diagnostic]:
    engine, _, version = (spec.engine or "").partition("@")
    named: list[tuple[str, str, str | None, Shelf[Any]]] = [
        ("variant", "variant", spec.variant, catalog.variants),
        ("server", "server", spec.server, catalog.servers),
        ("useCase", "use case", spec.use_case, catalog.use_cases),
        ("site", "site", spec.site, catalog.sites),
        ("engine", "engine", engine or None, catalog.engines),
        ("platform", "platform", spec.platform, catalog.platforms),
        ("deviceLayer", "device layer", spec.device_layer, catalog.device_layers),
    ]

    def finding(key: str, message: str, hint: str) -> Diagnostic:
        place = document.locate(("spec", key)) if document else Location(f"--{key_option(key)}")
        return Diagnostic("P010", message, place, hint=hint)

    for key, words, value, shelf in named:
        if value is not None and value not in shelf:
            yield finding(key, f"unknown {words} '{value}'", shelf.unknown(value))
    if engine in catalog.engines and version:
        known = [v.version for v in catalog.engines[engine].versions]
        if version not in known:
            yield finding("engine", f"unknown version '{version}' of '{engine}'", f"known: {', '.join(known)}")
    if spec.checkpoint and spec.variant in catalog.variants:
        ids = [c.id for c in catalog.variants[spec.variant].checkpoints]
        if find_checkpoint(spec.checkpoint, ids) is None:
            yield finding(
                "checkpoint", f"'{spec.checkpoint}' is not a checkpoint of {spec.variant}", f"known: {', '.join(ids)}"
            )


def key_option(key: str) -> str:
    """A field's option on the command line: `useCase` is `use-case`."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in key)


def find_checkpoint(name: str, ids: list[str]) -> str | None:
    """The checkpoint of that full id, or of that repository name in any case."""
    for full in ids:
        if name == full or name.lower() == full.rpartition("/")[2].lower():
            return full
    return None
