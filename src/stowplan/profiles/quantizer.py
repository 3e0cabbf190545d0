"""Quantizers: policies by tensor class, the files that each program reads, how it is run."""

from __future__ import annotations

from typing import Literal

from stowplan.profiles.accuracy import Accuracy
from stowplan.profiles.fact import Items, Model, Name, Settings, Sourced, Text
from stowplan.profiles.hardware import NumberFormat
from stowplan.profiles.variant import Draft, Storage

KEEPS = ("float", "source")
"""What a policy says of a class that it does not quantize: expanded to 16 bit, or as the checkpoint has it."""


class Scheme(Model):
    """A named pair of weight and activation formats that the program can produce."""

    weight: Text
    activation: Text
    storage: Storage
    """How a checkpoint then holds the weights."""
    settings: Settings = {}


class Policy(Sourced):
    """Which scheme each tensor class gets; what is not named stays as it is."""

    id: Name
    variant_families: Items[Name]
    drafts: Items[Draft | Literal["none"]]
    """Draft modules that it has rules for."""
    formats: Items[Name]
    """Checkpoint formats (`w8a8` ...) that this policy makes."""
    classes: dict[str, Text]
    """`class` or `class.part` to scheme, `float` or `source`."""
    settings: Settings = {}
    default: bool = True
    """The one to take for its variants and formats, where nothing else is said."""
    because: Text
    """Why it is the default, or why it is not."""
    accuracy: Items[Accuracy] = ()
    lossless: str = ""
    """Why its weights are exactly those that it was made from; empty: they are not."""
    reads: Text | None = None
    """The checkpoint that it starts from; null: the native one."""


class Patterns(Model):
    """How a rule of the program names modules."""

    spelling: Name
    """Which of the architecture's spellings: `native`, or one that it lists."""
    style: Literal["glob", "regex"]
    prefix: str = ""
    suffix: str = ""


class ConfigFile(Model):
    """One rendered file; its shape is the template of the same name."""

    name: Text
    format: Literal["yaml", "json", "text"]
    use: Text


class Choice(Model):
    """A key of the program's files whose value decides what is read: only these are."""

    path: Text
    """`*` goes over the items of a list."""
    values: Items[Text]
    beside: str = ""
    """Only in files that have this path too."""
    optional: bool = False
    """It may be left out."""
    reason: Text


class Barred(Model):
    """Values of a key that the program takes and has no code for on these models."""

    path: Text
    """`*` goes over the items of a list."""
    values: Items[Text]
    reason: Text


class Keys(Model):
    """The keys that a mapping of the file may have; the parser lets others through, and nothing reads them."""

    path: str
    """Empty: the file itself."""
    known: Items[Text]


class Needed(Model):
    """A key that the program's parser does not ask for, and without which it does nothing useful."""

    path: Text
    reason: Text


class Pair(Model):
    """An activation (`none`: 16 bit) and a weight format for which there is code, and the scheme that is written."""

    activation: Text
    weight: Text
    emits: Text
    group: int | None = None
    """The size of the groups of the weight that is part of the format; null: any."""
    computes: NumberFormat | None = None
    """The format that a chip must have for it."""


class Fixed(Sourced):
    """Classes on which a loader allows nothing else, whatever the parser lets through."""

    classes: Items[Text]
    draft: Draft | None = None
    """Only where the checkpoint carries this draft."""
    quantized: bool
    """They must be quantized, or must not be."""
    reason: Text


Dialect = Literal["process-list", "scheme-groups", "ordered-rules", "layer-overrides", "layer-table", "tensor-map"]


class Foreign(Sourced):
    """How a file of this program is recognised and read, whoever wrote it."""

    dialect: Dialect
    """The way in which its rules are written; the reader of that name reads it."""
    recognised_by: Items[Items[Text]]
    """Paths that such a file has: all of one of these groups; a key may be a pattern."""
    not_with: Items[Text] = ()
    """Paths that make it another program's."""
    models: str = ""
    """Path of the names of the models that it is for."""
    suffixes: Items[Text] = ()
    """What stands behind a module's name in a pattern of it."""
    choices: Items[Choice] = ()
    barred: Items[Barred] = ()
    needed: Items[Needed] = ()
    keys: Items[Keys] = ()
    pairs: Items[Pair] = ()
    fixed: Items[Fixed] = ()
    plain: str = ""
    """Why matrices that no published policy of any program quantizes must stay as they are; empty: it is only unusual."""
    complete: str = ""
    """Why each matrix must have an entry of its own; empty: what is not named is kept."""


class Run(Sourced):
    """How the program is run."""

    image: str | None
    """Null: no public image; the site names one."""
    engine_image: bool = False
    """The engine's own image has what it needs."""
    command: Items[str]
    """Shell lines; {python}, {source}, {target}, {work}, {config} and {model} stand for what they say."""
    memory_gib: float
    hours: float
    resumable: bool
    needs_devices: bool
    work_factor: float = 0
    """Scratch space, in sizes of the checkpoint that is read."""


class QuantizerSpec(Sourced):
    """One toolchain."""

    title: Text
    version: Text
    files: Items[ConfigFile]
    """What is rendered; the first is the one that it is given."""
    patterns: Patterns | None = None
    schemes: dict[Text, Scheme]
    unnamed: Literal["float", "source"]
    """What becomes of a class that a policy does not name."""
    policies: Items[Policy]
    run: Run | None
    foreign: Items[Foreign] = ()
    read_by: dict[Name, Text] = {}
    """Engine to its loader that reads what this program writes."""
    unproved: dict[Name, Text] = {}
    """Engine that may read it, to why nobody knows."""

    def policy(self, id: str) -> Policy | None:  # noqa: A002 - the word of the files
        """The policy of that id."""
        return next((policy for policy in self.policies if policy.id == id), None)
