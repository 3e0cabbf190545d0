"""A policy in; the patterns of each scheme out, in the spelling and style that its program reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from stowplan.fit.names import NATIVE, Module, modules, spell
from stowplan.plan.quantization import said_of
from stowplan.profiles.quantizer import Patterns, Policy, QuantizerSpec
from stowplan.profiles.variant import Architecture, Draft

_NUMBERS = ("{layer}", "{copy}")


@dataclass
class Rule:
    """What one scheme, or one way to keep, is said of."""

    patterns: list[str] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)


def rules(
    architecture: Architecture, draft: Draft | None, spec: QuantizerSpec, policy: Policy, *, whole: bool = False
) -> dict[str, Rule]:
    """Scheme (or `float`, `source`) to the patterns that name its modules and nothing else.

    Of the routed experts the modules of some stand for all, unless `whole` asks for each.
    """
    found: dict[str, Rule] = {}
    if spec.patterns is None:
        return found
    held = modules(architecture, draft)
    without = () if spec.patterns.spelling == NATIVE else architecture.spellings[spec.patterns.spelling].without
    for module in held.all if whole else held.sample:
        if not module.linear or module.tensor_class in without:
            continue
        tensor_class, _, part = module.key.partition(".")
        rule = found.setdefault(said_of(policy, tensor_class, part, unnamed=spec.unnamed), Rule())
        rule.modules.append(module)
        pattern = _pattern(architecture, spec.patterns, module.template)
        if pattern not in rule.patterns:
            rule.patterns.append(pattern)
    return found


def expert_groups(architecture: Architecture, spec: QuantizerSpec, policy: Policy) -> dict[str, list[str]]:
    """Scheme to the modules that hold the routed experts of one layer each, by their native names."""
    found: dict[str, list[str]] = {}
    for scheme, rule in rules(architecture, None, spec, policy).items():
        parents = dict.fromkeys(_parents(rule.modules))
        if scheme in spec.schemes and parents:
            found[scheme] = list(parents)
    return found


def _parents(of: list[Module]) -> Iterator[str]:
    for module in of:
        if module.expert:
            leaf = module.template.partition(".{copy}")[2]
            yield module.name.removesuffix(leaf).rpartition(".")[0]


def _pattern(architecture: Architecture, style: Patterns, template: str) -> str:
    """A name with numbers open: `*` of a glob goes over dots, digits of a regular expression do not."""
    name = spell(architecture, style.spelling, template)
    if style.style == "regex":
        text = re.escape(name)
        for number in _NUMBERS:
            text = text.replace(re.escape(number), r"\d+")
        return f"{style.prefix}{text}{style.suffix}$"
    for number in _NUMBERS:
        name = name.replace(number, "*")
    return f"{style.prefix}{name}{style.suffix}"
