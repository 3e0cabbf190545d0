"""Fact files in, a catalogue out: one shelf for each kind, read on demand, overlaid file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from stowplan.catalog.needed import needed
from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean
from stowplan.located_yaml import Document, read_file
from stowplan.profiles.benchmark import BenchmarkSpec
from stowplan.profiles.device_layer import DeviceLayerSpec
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.fact import Model
from stowplan.profiles.hardware import ChipSpec, ServerSpec
from stowplan.profiles.kinds import KINDS, Kind
from stowplan.profiles.platform import PlatformSpec
from stowplan.profiles.quantizer import QuantizerSpec
from stowplan.profiles.reading import read_profile
from stowplan.profiles.recipe import RecipeSpec
from stowplan.profiles.site import SiteSpec
from stowplan.profiles.use_case import UseCaseSpec
from stowplan.profiles.variant import Architecture, VariantSpec

S = TypeVar("S", bound=Model)


@dataclass(frozen=True, slots=True)
class Entry(Generic[S]):
    """One file of the catalogue."""

    name: str
    spec: S
    document: Document
    path: Path


class Shelf(Mapping[str, S]):
    """All files of one kind, by name; a file is read when it is first asked for."""

    def __init__(self, kind: Kind, folders: Sequence[Path], shelf_of: Callable[[str], Shelf[Any]]) -> None:
        """Later folders overlay earlier ones, file by file; `shelf_of` has what files of this kind name."""
        self.kind = kind
        self._shelf_of = shelf_of
        self.files: dict[str, Path] = {}
        for folder in folders:
            self.files |= {path.stem: path for path in sorted((folder / kind.folder).glob("*.yaml"))}
        self._entries: dict[str, Entry[S]] = {}

    def __getitem__(self, name: str) -> S:
        """The spec of that name.

        Raises:
            KeyError: there is no such file.
            Refused: the file is not valid, or names another that is not there.
        """
        return self.entry(name).spec

    def __iter__(self) -> Iterator[str]:
        """Names in order."""
        return iter(sorted(self.files))

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.files)

    def entry(self, name: str) -> Entry[S]:
        """The file of that name with its document, for places in messages."""
        if name not in self._entries:
            self._entries[name] = self._read(name, self.files[name])
        return self._entries[name]

    def entries(self) -> Iterator[Entry[S]]:
        """Every file."""
        return (self.entry(name) for name in self)

    def unknown(self, name: str) -> str:
        """What to say when there is no such name."""
        return did_you_mean(name, self.files) or f"known: {', '.join(self)}"

    def _read(self, name: str, path: Path) -> Entry[S]:
        documents = read_file(path)
        if len(documents) != 1:
            message = f"holds {len(documents)} YAML documents, one is expected"
            raise Refused([Diagnostic("C001", message, Location(str(path)))], unreadable=True)
        document = documents[0]
        profile = read_profile(document, kind=self.kind.name)
        if profile.metadata.name != name:
            message = f"the name '{profile.metadata.name}' differs from the file's, '{name}'"
            raise Refused([Diagnostic("C003", message, document.locate(("metadata", "name")))])
        missing = list(self.missing(profile.spec, document))
        if missing:
            raise Refused(missing)
        return Entry(name, cast("S", profile.spec), document, path)

    def missing(self, spec: Any, document: Document) -> Iterator[Diagnostic]:
        """The files that a spec of this kind cannot do without and that are not there."""
        for kind, name, path in needed(spec):
            shelf = self._shelf_of(kind)
            if name not in shelf.files:
                place = document.locate(("spec", *path))
                yield Diagnostic("C004", f"unknown {shelf.kind.word} '{name}'", place, hint=shelf.unknown(name))


class Catalog:
    """All that is known, one shelf for each kind."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Folders laid out as `profiles/`; later ones overlay earlier ones."""
        self.folders = tuple(folders)

    def _shelf(self, kind: str) -> Shelf[Any]:
        return Shelf(KINDS[kind], self.folders, self.of_kind)

    @cached_property
    def benchmarks(self) -> Shelf[BenchmarkSpec]:
        """Measured runs that are no recipe."""
        return self._shelf("Benchmark")

    @cached_property
    def variants(self) -> Shelf[VariantSpec]:
        """Model variants."""
        return self._shelf("Variant")

    @cached_property
    def chips(self) -> Shelf[ChipSpec]:
        """Chips."""
        return self._shelf("Chip")

    @cached_property
    def servers(self) -> Shelf[ServerSpec]:
        """Servers."""
        return self._shelf("Server")

    @cached_property
    def use_cases(self) -> Shelf[UseCaseSpec]:
        """Use cases."""
        return self._shelf("UseCase")

    @cached_property
    def engines(self) -> Shelf[EngineSpec]:
        """Engines."""
        return self._shelf("Engine")

    @cached_property
    def device_layers(self) -> Shelf[DeviceLayerSpec]:
        """Device layers."""
        return self._shelf("DeviceLayer")

    @cached_property
    def platforms(self) -> Shelf[PlatformSpec]:
        """Platforms."""
        return self._shelf("Platform")

    @cached_property
    def quantizers(self) -> Shelf[QuantizerSpec]:
        """Quantizers."""
        return self._shelf("Quantizer")

    @cached_property
    def recipes(self) -> Shelf[RecipeSpec]:
        """Recipes."""
        return self._shelf("Recipe")

    @cached_property
    def sites(self) -> Shelf[SiteSpec]:
        """Sites."""
        return self._shelf("Site")

    @cached_property
    def pairings(self) -> Shelf[Any]:
        """Pairings."""
        return self._shelf("Pairing")

    @property
    def shelves(self) -> dict[str, Shelf[Any]]:
        """Every shelf by its word on the command line."""
        names = (
            "benchmarks",
            "chips",
            "device_layers",
            "engines",
            "pairings",
            "platforms",
            "quantizers",
            "recipes",
            "servers",
            "sites",
            "use_cases",
            "variants",
        )
        return {name.replace("_", "-"): getattr(self, name) for name in names}

    def of_kind(self, kind: str) -> Shelf[Any]:
        """The shelf of a kind of file."""
        return self.shelves[KINDS[kind].folder]

    def architecture(self, variant: str) -> Architecture:
        """The architecture of a variant, its own or its family's."""
        spec = self.variants[variant]
        if spec.architecture is not None:
            return spec.architecture
        family = self.variants[str(spec.architecture_of)]
        if family.architecture is None:
            raise Refused(
                [
                    Diagnostic(
                        "C010",
                        f"'{spec.architecture_of}' gives no architecture for '{variant}'",
                        Location(str(self.variants.files[variant])),
                    )
                ]
            )
        return family.architecture
