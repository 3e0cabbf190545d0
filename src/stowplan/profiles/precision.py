"""How an engine reads quantized weights and computes with them: loaders, kernels, and what it has none for."""

from __future__ import annotations

from typing import Literal

from stowplan.profiles.fact import Items, Name, Settings, Sourced, Text, Versions
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
    """Where it runs; a chip family that is named here is shown with it, whatever a checkpoint was made for."""
    asked_as: Items[Text] = ()
    """Other words of the engine's flag that lead to it."""
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
    only_flags: Items[Settings] = ()
    """Flags of which one group must be set so; none: it holds without."""
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
    storage: Items[Storage] = ()
    """Weights that are in it: a checkpoint that holds them in these classes is not planned."""
    asked_by: Items[Settings] = ()
    """Flags that ask for it, one group or another: they are refused."""
    effect: Literal["fails", "degrades"] = "fails"
    """`degrades`: it runs, and the plan says what to expect."""
    reason: Text
