"""A file's rules and a model in; what each rule reaches, what none does, and what two do, out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property, lru_cache

from stowplan.check.quantization.rules import Pattern, QuantizationFile, Rule
from stowplan.fit.names import Module, Modules

_BRACES = re.compile(r"\{([^{}]*)\}")
_REGEX = "re:"
_EVERY_LINEAR = ("Linear", "torch.nn.Linear")

Naming = Callable[[str], object]
"""Of the name of a module: true where a pattern names it."""


@lru_cache(maxsize=4096)
def _matcher(text: str, *, regex: bool, exact: bool) -> re.Pattern[str] | None:
    """The pattern compiled; none: it is no regular expression."""
    if regex and text in _EVERY_LINEAR:
        return re.compile("")
    try:
        if text.startswith(_REGEX):
            return re.compile(text.removeprefix(_REGEX))
        if exact or regex:
            return re.compile(re.escape(text) + r"\Z")
        return re.compile("|".join(translate(one) for one in _unbraced(text)))
    except re.error:
        return None


@lru_cache(maxsize=4096)
def _naming(text: str, suffixes: tuple[str, ...], *, regex: bool, exact: bool) -> Naming:
    found = _matcher(text, regex=regex, exact=exact)
    if found is None:
        return lambda _: None
    match = found.match
    return (lambda name: any(match(name + suffix) for suffix in suffixes)) if any(suffixes) else match


def _unbraced(text: str) -> Iterator[str]:
    found = _BRACES.search(text)
    if found is None:
        yield text
        return
    for choice in found.group(1).split(","):
        yield from _unbraced(text[: found.start()] + choice + text[found.end() :])


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the rules of a file do to one model with one draft."""

    file: QuantizationFile
    model: Modules

    @cached_property
    def names(self) -> tuple[tuple[str, Module], ...]:
        """Names of the model in the file's spelling; of the experts of a layer the first two and the last."""
        return tuple(self.model.spelled(self.file.spelling, whole=False).items())

    def reaches(self, pattern: Pattern, spelling: str | None = None) -> bool:
        """Whether a pattern names any module."""
        family = spelling or self.file.spelling
        named = self._naming(pattern)
        if any(map(named, self.model.spelled(family, whole=False))):
            return True
        numbered = any(character.isdigit() for character in pattern.text)
        return numbered and any(map(named, self.model.spelled(family)))

    def other_spelling(self, pattern: Pattern) -> str | None:
        """The spelling in which a pattern that names nothing here would name something."""
        others = (name for name in self.model.spellings if name != self.file.spelling)
        return next((name for name in others if self.reaches(pattern, name)), None)

    def _naming(self, pattern: Pattern) -> Naming:
        """Whether a pattern names a module, as a function of the module's name."""
        regex = bool(self.file.spec.patterns and self.file.spec.patterns.style == "regex")
        return _naming(pattern.text, self.file.foreign.suffixes, regex=regex, exact=self.file.rules.exact)

    @cached_property
    def rules_of(self) -> Mapping[str, tuple[Rule, ...]]:
        """Native name of each matrix to the rules that quantize it."""
        names = {module.name: name for name, module in self.names if module.linear}
        if self.file.rules.exact:
            return {native: tuple(self.tabled.get(name, ())) for native, name in names.items()}
        found: dict[str, list[Rule]] = {native: [] for native in names}
        for rule in self.file.rules.quantized:
            included, excluded = self._any_of(rule.include), self._any_of((*rule.exclude, *self._kept_from(rule)))
            for native, name in names.items():
                if included(name) and not excluded(name):
                    found[native].append(rule)
        return {native: tuple(rules) for native, rules in found.items()}

    def _any_of(self, patterns: Iterable[Pattern]) -> Naming:
        namings = [self._naming(pattern) for pattern in patterns]
        return lambda name: any(naming(name) for naming in namings)

    def _kept_from(self, rule: Rule) -> Iterator[Pattern]:
        """What is kept in spite of a rule: where the order counts, only what stands after it."""
        rules = self.file.rules
        return (p for p in rules.kept if not rules.ordered or p.path > rule.path or _of_other_list(p, rule))

    @cached_property
    def tabled(self) -> Mapping[str, list[Rule]]:
        """Whole names to their rules, where the file is a table of names."""
        found: dict[str, list[Rule]] = {}
        for rule in self.file.rules.quantized:
            for pattern in rule.include:
                found.setdefault(pattern.text, []).append(rule)
        return found

    @cached_property
    def fates(self) -> Mapping[str, Mapping[Rule | None, Module]]:
        """`class.part` to the rules that reach its matrices (none: no rule), each with an example."""
        found: dict[str, dict[Rule | None, Module]] = {}
        for _, module in self.names:
            if module.linear:
                rules = self.rules_of[module.name]
                found.setdefault(module.key, {}).setdefault(rules[-1] if rules else None, module)
        return found

    def kept_on_purpose(self, module: Module) -> bool:
        """Whether the file says of a module that it stays."""
        name = next(name for name, found in self.names if found is module)
        if self.file.rules.exact:
            return name in {pattern.text for pattern in self.file.rules.kept}
        excluded = [pattern for rule in self.file.rules.quantized for pattern in rule.exclude]
        return bool(self._any_of((*self.file.rules.kept, *excluded))(name))

    @cached_property
    def dead(self) -> tuple[Pattern, ...]:
        """Patterns of rules that name nothing."""
        named = (pattern for rule in self.file.rules.quantized for pattern in rule.include)
        if self.file.rules.exact:
            held = self.model.spelled(self.file.spelling)
            return tuple(pattern for pattern in named if pattern.text not in held)
        return tuple(pattern for pattern in named if not self.reaches(pattern))

    @cached_property
    def doubled(self) -> Mapping[tuple[Rule, Rule], Module]:
        """Two rules that quantize one matrix, with an example."""
        found: dict[tuple[Rule, Rule], Module] = {}
        for _, module in self.names if not self.file.rules.ordered else ():
            rules = self.rules_of.get(module.name, ())
            if len(rules) > 1:
                found.setdefault((rules[0], rules[1]), module)
        return found


def _of_other_list(kept: Pattern, rule: Rule) -> bool:
    """A list beside the rules holds whatever their order is."""
    return kept.path[:-2] != rule.path[:-1]
