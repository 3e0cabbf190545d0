"""The kinds of file: their folder, their model, and the envelope around every one."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, cast

from pydantic import Field, create_model

from stowplan.profiles.benchmark import BenchmarkSpec
from stowplan.profiles.device_layer import DeviceLayerSpec
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.fact import Model, Text
from stowplan.profiles.hardware import ChipSpec, ServerSpec
from stowplan.profiles.pairing import PairingSpec
from stowplan.profiles.platform import PlatformSpec
from stowplan.profiles.quantizer import QuantizerSpec
from stowplan.profiles.recipe import RecipeSpec
from stowplan.profiles.site import SiteSpec
from stowplan.profiles.use_case import UseCaseSpec
from stowplan.profiles.variant import VariantSpec

API_VERSION = "stowplan/v1"
S = TypeVar("S", bound=Model)


class Metadata(Model):
    """`name` is the path of a catalogue file without its suffix; a pairing's is free."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=120)]
    description: str = ""


class Profile(Model, Generic[S]):
    """The envelope of every file."""

    api_version: Literal["stowplan/v1"]
    kind: Text
    metadata: Metadata
    spec: S


class Kind(NamedTuple):
    """One kind of file."""

    name: str
    """As in `kind:`."""
    folder: str
    model: type[Profile[Any]]

    @property
    def word(self) -> str:
        """As on the command line: `device-layer`."""
        return self.folder.removesuffix("s")


def _kind(name: str, folder: str, spec: type[Model]) -> Kind:
    base: Any = Profile[spec]  # type: ignore[valid-type]
    word: Any = Literal[name]
    return Kind(name, folder, cast("Any", create_model(name, __base__=base, __doc__=spec.__doc__, kind=(word, ...))))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("Benchmark", "benchmarks", BenchmarkSpec),
        _kind("Chip", "chips", ChipSpec),
        _kind("DeviceLayer", "device-layers", DeviceLayerSpec),
        _kind("Engine", "engines", EngineSpec),
        _kind("Pairing", "pairings", PairingSpec),
        _kind("Platform", "platforms", PlatformSpec),
        _kind("Quantizer", "quantizers", QuantizerSpec),
        _kind("Recipe", "recipes", RecipeSpec),
        _kind("Server", "servers", ServerSpec),
        _kind("Site", "sites", SiteSpec),
        _kind("UseCase", "use-cases", UseCaseSpec),
        _kind("Variant", "variants", VariantSpec),
    )
}
