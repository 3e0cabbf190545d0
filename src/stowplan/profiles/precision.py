"""How an engine reads quantized weights and computes with them: loaders, kernels, and what it has none for."""

from __future__ import annotations

from typing import Literal

from stowplan.profiles.fact import Items, Name, Sourced, Text, Versions
from stowplan.profiles.hardware import NumberFormat
from stowplan.profiles.rule import Names, When
from stowplan.profiles.variant import Storage


class Doubt(Sourced):
    """Formats that a loader takes on chips where it is not shown, or not worth it."""

    chip_family: Names
    formats: Items[NumberFormat]
    reason: Text


class Loader(Sourced):
    """One way in which the engine reads a checkpoint, with the schemes that it registers."""

    native: bool = False
    """It reads the native checkpoint."""
    when: When = When()
    linear: Items[Text] = ()
    """Names of the schemes that it has for single matrices."""
    experts: Items[Text] = ()
    """Names of the schemes that it has for routed experts."""
    doubts: Items[Doubt] = ()
    marker: Text = ""
    """What it looks for in a checkpoint to be chosen."""


class Execution(Sourced):
    """How the engine computes with weights of a storage format, where the chip's arithmetic alone does not say it."""

    when: When = When()
    versions: Versions | None = None
    storage: Items[Storage]
    classes: Items[Text] = ()
    """Tensor classes, or `class.part`; none: all."""
    runs_as: Text
    kind: Literal["native", "fallback"]
    reason: Text


class RefusedFormat(Sourced):
    """A number format that somebody will ask for and that has no path here."""

    id: Name
    when: When = When()
    versions: Versions | None = None
    format: Text
    classes: Items[Text] = ()
    """Tensor classes that it is refused on; none: all."""
    reason: Text
