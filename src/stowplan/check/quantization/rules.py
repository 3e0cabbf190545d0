"""What every quantization file comes to: rules with a scheme and patterns, and what is kept on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from stowplan.check.objects import Object, Path, dig
from stowplan.profiles.hardware import NumberFormat
from stowplan.profiles.quantizer import Foreign, QuantizerSpec


@dataclass(frozen=True, slots=True)
class Pattern:
    """The text that names modules, and where it stands."""

    text: str
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What one rule quantizes, and to what."""

    path: Path
    scheme: str | None
    """The scheme that is written; none: there is no code for this pair."""
    words: str
    """The formats of activations and weights in the words of the file."""
    computes: NumberFormat | None
    include: tuple[Pattern, ...]
    exclude: tuple[Pattern, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a file and what it keeps."""

    quantized: tuple[Rule, ...]
    kept: tuple[Pattern, ...] = ()
    """Modules that are left as they are on purpose, beside what rules exclude."""
    ordered: bool = False
    """Of two that name one module the later one counts."""
    exact: bool = False
    """Names are whole names and not patterns."""


@dataclass(frozen=True, eq=False)
class QuantizationFile:
    """One file of a quantizer, or of what it wrote."""

    item: Object
    quantizer: str
    spec: QuantizerSpec
    foreign: Foreign
    rules: Rules

    @cached_property
    def spelling(self) -> str:
        """The spelling of module names that its program matches."""
        return self.spec.patterns.spelling if self.spec.patterns else "native"

    @cached_property
    def meant_for(self) -> tuple[str, ...]:
        """Names of the models that the file says it is for, in lower case."""
        path = tuple(self.foreign.models.split("."))
        said = dig(self.item.data, path) if self.foreign.models else None
        return tuple(str(name).lower() for name in said) if isinstance(said, list) else ()


def pair(
    foreign: Foreign, activation: str, weight: str, group: object = None
) -> tuple[str | None, NumberFormat | None]:
    """The scheme for which there is code with these formats, and what a chip needs for it."""
    for known in foreign.pairs:
        sized = known.group is None or group is None or known.group == group
        if sized and (known.activation, known.weight) == (activation, weight):
            return known.emits, known.computes
    return None, None


def scheme_format(spec: QuantizerSpec, scheme: str) -> NumberFormat | None:
    """What a chip needs for a scheme of that name, in whichever of the program's files it stands."""
    found = next((known.computes for one in spec.foreign for known in one.pairs if known.emits == scheme), None)
    stored = spec.schemes[scheme].storage if scheme in spec.schemes else None
    return found or next((known for known in get_args(NumberFormat) if known == stored), None)


def patterns(values: object, path: Path) -> tuple[Pattern, ...]:
    """The texts of a list, each with its place; one text alone stands for a list of it."""
    if isinstance(values, str):
        return (Pattern(values, path),)
    listed: Iterable[tuple[int | str, object]] = enumerate(values) if isinstance(values, list) else ()
    if isinstance(values, Mapping):
        listed = ((str(key), key) for key in values)
    return tuple(Pattern(text, (*path, step)) for step, text in listed if isinstance(text, str))
