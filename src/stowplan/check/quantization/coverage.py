"""A file's rules and a model in; what each rule reaches, what none does, and what two do, out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import cached_property, lru_cache

from stowplan.check.quantization.rules import Pattern, QuantizationFile, Rule
from stowplan.fit.names import NATIVE, Module, Modules

_BRACES = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"\d{1,6}")
_REGEX = "re:"
_EVERY_LINEAR = ("Linear", "torch.nn.Linear")

Naming = Callable[[str], object]
"""Of the name of a module: true where a pattern names it."""


@lru_cache(maxsize=4096)
def _matcher(text: str, *, regex: bool, exact: bool) -> Naming | None:
    """What tells whether a name matches; none: the text is no regular expression."""
    if regex and text in _EVERY_LINEAR:
        return lambda _: True
    if text.startswith(_REGEX):
        return _expression(text.removeprefix(_REGEX))
    if exact or regex:
        return text.__eq__
    return re.compile("|".join(translate(one) for one in _unbraced(text))).match


def _expression(text: str) -> Naming | None:
    """In linear time, as a file of anyone may hold an expression that takes for ever; looking around is Python's alone."""
    import jsonschema_rs  # noqa: PLC0415 - not needed where no file has an expression

    try:
        re.compile(text)
        schema = {"pattern": f"^(?:{text})"}
        return jsonschema_rs.Draft202012Validator(schema, pattern_options=jsonschema_rs.RegexOptions()).is_valid
    except re.error:
        return None
    except ValueError:
        return re.compile(text).match


@lru_cache(maxsize=4096)
def _naming(text: str, suffixes: tuple[str, ...], *, regex: bool, exact: bool) -> Naming:
    match = _matcher(text, regex=regex, exact=exact)
    if match is None:
        return lambda _: None
    return (lambda name: any(match(name + suffix) for suffix in suffixes)) if any(suffixes) else match


def _unbraced(text: str) -> Iterator[str]:
    found = _BRACES.search(text)
    if found is None:
        yield text
        return
    for choice in found.group(1).split(","):
        yield from _unbraced(text[: found.start()] + choice + text[found.end() :])


def _at_steps(pattern: Pattern) -> tuple[Pattern, ...]:
    """A glob that begins within a step of a name, as those that begin with the step: `*e_proj` is no word for `gate_proj`."""
    rest = pattern.text.removeprefix("*")
    if rest == pattern.text or not rest[:1].isalnum():
        return (pattern,)
    return (replace(pattern, text=rest), replace(pattern, text=f"*.{rest}"))


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the rules of a file do to one model with one draft."""

    file: QuantizationFile
    model: Modules

    @cached_property
    def names(self) -> tuple[tuple[str, Module], ...]:
        """Names of the model in the file's spelling; of the experts of a layer those that can differ."""
        spelled = self.model.spelled(self.file.spelling)
        if self.file.rules.exact:
            return tuple(spelled.items())
        sample = self.model.spelled(self.file.spelling, whole=False)
        named = self._numbers
        if not named:
            return tuple(sample.items())
        return tuple((name, m) for name, m in spelled.items() if name in sample or m.copy in named)

    @cached_property
    def _numbers(self) -> frozenset[int]:
        """Numbers that patterns of the file name: experts of these numbers may fare otherwise than the rest."""
        rules = self.file.rules
        inside = (p for rule in rules.quantized for p in (*rule.include, *rule.exclude))
        return frozenset(int(number) for p in (*inside, *rules.kept) for number in _NUMBER.findall(p.text))

    def reaches(self, pattern: Pattern, spelling: str | None = None) -> bool:
        """Whether a pattern names any module."""
        family = spelling or self.file.spelling
        if self.file.rules.exact:
            return pattern.text in self.model.spelled(family)
        named = self._naming(pattern)
        if any(map(named, self.model.spelled(family, whole=False))):
            return True
        numbers = {int(number) for number in _NUMBER.findall(pattern.text)}
        if not numbers:
            return False
        ranged = "[" in pattern.text or "\\d" in pattern.text
        return any(named(name) for name, m in self.model.spelled(family).items() if ranged or m.copy in numbers)

    def of_missing(self, pattern: Pattern) -> bool:
        """Whether a pattern names a module that models of the file's spelling do not hold, as the draft."""
        held = {module.name for module in self.model.spelled(self.file.spelling, whole=False).values()}
        named = self._naming(pattern)
        return any(named(name) for name in self.model.spelled(NATIVE, whole=False) if name not in held)

    def other_spelling(self, pattern: Pattern) -> str | None:
        """The spelling in which a pattern that names nothing here would name something."""
        others = (name for name in self.model.spellings if name != self.file.spelling)
        whole_steps = _at_steps(pattern)
        return next((name for name in others if any(self.reaches(one, name) for one in whole_steps)), None)

    def _naming(self, pattern: Pattern) -> Naming:
        """Whether a pattern names a module, as a function of the module's name."""
        regex = bool(self.file.spec.patterns and self.file.spec.patterns.style == "regex")
        return _naming(pattern.text, self.file.foreign.suffixes, regex=regex, exact=self.file.rules.exact)

    @cached_property
    def rules_of(self) -> Mapping[str, tuple[Rule, ...]]:
        """Native name of each matrix to the rules that quantize it; where the later rule counts, only that one."""
        first = -1 if self.file.rules.ordered else 0
        names = {module.name: name for name, module in self.names if module.linear}
        if self.file.rules.exact:
            return {native: tuple(self.tabled.get(name, ()))[first:] for native, name in names.items()}
        found: dict[str, list[Rule]] = {native: [] for native in names}
        for rule in self.file.rules.quantized:
            included, excluded = self._any_of(rule.include), self._any_of((*rule.exclude, *self._kept_from(rule)))
            for native, name in names.items():
                if included(name) and not excluded(name):
                    found[native].append(rule)
        return {native: tuple(rules)[first:] for native, rules in found.items()}

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

    @cached_property
    def _name_of(self) -> Mapping[str, str]:
        """Native name of a module to its name in the file's spelling."""
        return {module.name: name for name, module in self.names}

    @cached_property
    def kept_names(self) -> frozenset[str]:
        """Whole names that the file keeps, where it is a table of names."""
        return frozenset(pattern.text for pattern in self.file.rules.kept)

    def kept_on_purpose(self, module: Module) -> bool:
        """Whether the file says of a module that it stays."""
        if self.file.rules.exact:
            return self._name_of[module.name] in self.kept_names
        name = self._name_of[module.name]
        excluded = [pattern for rule in self.file.rules.quantized for pattern in rule.exclude]
        return bool(self._any_of((*self.file.rules.kept, *excluded))(name))

    @cached_property
    def dead(self) -> tuple[Pattern, ...]:
        """Patterns of rules that name nothing."""
        named = (pattern for rule in self.file.rules.quantized for pattern in rule.include)
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
