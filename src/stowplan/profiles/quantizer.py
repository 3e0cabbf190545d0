"""Quantizers: policies by tensor class, what each program accepts, how it is run."""

from __future__ import annotations

from typing import Literal

from stowplan.profiles.fact import Items, Model, Name, Settings, Sourced, Text


class Scheme(Model):
    """A named pair of weight and activation formats that the program can produce."""

    weight: Text
    activation: Text
    settings: Settings = {}


class Policy(Sourced):
    """Which scheme each tensor class gets; what is not named stays as it is."""

    id: Name
    variant_families: Items[Name]
    formats: Items[Name]
    """Checkpoint formats (`w8a8` ...) that this policy makes."""
    classes: dict[str, Text]
    """`class` or `class.part` to scheme, or `float`."""
    settings: Settings = {}
    default_because: str = ""
    evidence: Text


class Run(Sourced):
    """How the program is run."""

    image: str | None
    """Null: no public image; the site names one."""
    command: Items[str]
    memory_gib: float
    hours: float
    resumable: bool
    needs_devices: bool


class QuantizerSpec(Sourced):
    """One toolchain."""

    title: Text
    version: Text
    output: Literal["yaml", "json", "script", "none"]
    file: Text
    """Name of the rendered file."""
    schemes: dict[Text, Scheme]
    policies: Items[Policy]
    run: Run | None
    read_by: dict[Name, Items[Text]] = {}
    """Engine to the scheme names that its loader registers."""
