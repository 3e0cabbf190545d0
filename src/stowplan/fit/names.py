"""An architecture in, the full list of its modules out: every name in every spelling, with class, part and format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from stowplan.fit.expression import evaluate
from stowplan.fit.held import Held
from stowplan.fit.weights import layer_set
from stowplan.profiles.variant import Architecture, Block, Draft, Stack, Storage, Tensor

NATIVE = "native"
_WEIGHT = ".weight"
_TABLES = frozenset({"embed"})
"""Parts and classes whose matrices are looked up and not multiplied."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module that holds a tensor; its name is the tensor's without `.weight`."""

    name: str
    template: str
    """The name with `{layer}` and `{copy}` in place of numbers."""
    key: str
    """`class.part`, or `draft.part`."""
    storage: Storage
    layer: int
    copy: int
    linear: bool
    """It is a matrix that is multiplied: what quantizers speak of."""
    expert: bool

    @property
    def tensor_class(self) -> str:
        """The class without the part."""
        return self.key.partition(".")[0]


@dataclass(frozen=True, eq=False)
class Modules:
    """Every module of an architecture with one draft module."""

    architecture: Architecture
    draft: Draft | None

    @cached_property
    def all(self) -> tuple[Module, ...]:
        """In the order of the layers' descriptions."""
        return tuple(self._listed(whole=True))

    @cached_property
    def sample(self) -> tuple[Module, ...]:
        """Of the experts of a layer the first two and the last, and all the rest."""
        return tuple(self._listed(whole=False))

    def _listed(self, *, whole: bool) -> Iterator[Module]:
        stacks = [*self.architecture.stacks, *(self.architecture.drafts[self.draft] if self.draft else ())]
        for index, stack in enumerate(stacks):
            yield from _of_stack(self.architecture, stack, draft=index >= len(self.architecture.stacks), whole=whole)

    @cached_property
    def linears(self) -> tuple[Module, ...]:
        """Those that quantizers speak of."""
        return tuple(module for module in self.all if module.linear)

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """The native one first."""
        return (NATIVE, *self.architecture.spellings)

    @lru_cache(maxsize=64)  # noqa: B019 - a handful of models, kept as long as the program runs
    def spelled(self, family: str, *, whole: bool = True) -> Mapping[str, Module]:
        """Name in that spelling to module; a module that such a model does not hold is missing."""
        without = () if family == NATIVE else self.architecture.spellings[family].without
        templates: dict[str, str] = {}
        named = {}
        for module in self.all if whole else self.sample:
            if module.tensor_class in without:
                continue
            if module.template not in templates:
                templates[module.template] = spell(self.architecture, family, module.template)
            named[filled(templates[module.template], module.layer, module.copy)] = module
        return named


def filled(template: str, layer: int, copy: int) -> str:
    """A name with its numbers."""
    return template.replace("{layer}", str(layer)).replace("{copy}", str(copy))


def spell(architecture: Architecture, family: str, name: str) -> str:
    """A native name (or template of one) as another family of programs writes it."""
    for pattern, to in _renames(architecture, family):
        name = pattern.sub(to, name)
    return name


@lru_cache(maxsize=64)
def _compiled(steps: tuple[tuple[str, str], ...]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), to) for pattern, to in steps)


def _renames(architecture: Architecture, family: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    if family == NATIVE:
        return ()
    return _compiled(tuple((step.pattern, step.to) for step in architecture.spellings[family].renames))


def _of_stack(architecture: Architecture, stack: Stack, *, draft: bool, whole: bool) -> Iterator[Module]:
    layers = evaluate(stack.layers, architecture.numbers)
    for name in stack.blocks:
        block = architecture.blocks[name]
        numbers = layer_set(architecture, stack.where[name], layers) if name in stack.where else range(layers)
        for tensor in block.tensors:
            yield from _of_tensor(architecture, stack.prefix, block, tensor, numbers, draft=draft, whole=whole)


def _of_tensor(
    architecture: Architecture,
    prefix: str,
    block: Block,
    tensor: Tensor,
    layers: tuple[int, ...] | range,
    *,
    draft: bool,
    whole: bool,
) -> Iterator[Module]:
    template = (prefix + tensor.name).removesuffix(_WEIGHT)
    key = f"{'draft' if draft else block.tensor_class}.{tensor.part}"
    matrix = tensor.name.endswith(_WEIGHT) and len(tensor.shape) > 1
    linear = matrix and not {block.tensor_class, tensor.part} & _TABLES
    count = evaluate(tensor.copies, architecture.numbers)
    copies = range(count) if whole else sorted({0, min(1, count - 1), count - 1})
    for layer in layers:
        for copy in copies:
            name = filled(template, layer, copy)
            yield Module(name, template, key, tensor.storage, layer, copy, linear, expert=tensor.split == "expert")


@lru_cache(maxsize=32)
def _modules(architecture: Held[Architecture], draft: Draft | None) -> Modules:
    return Modules(architecture.value, draft)


def modules(architecture: Architecture, draft: Draft | None) -> Modules:
    """Every module of an architecture; computed once."""
    return _modules(Held(architecture), draft)
