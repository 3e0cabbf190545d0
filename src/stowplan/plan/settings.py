"""Rules, recipe, site and pairing in; one value for every engine setting out, with what set it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stowplan.profiles.rule import Context, Rule, Set, holds

Key = tuple[str, ...]
OriginKind = Literal["rule", "recipe", "site", "pairing", "plan"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What set a value, why, and who says so."""

    kind: OriginKind
    name: str
    reason: str
    source: str


@dataclass(slots=True)
class Settings:
    """Engine flags and environment as leaves: `("flags", "--x", "inner")` to value and origin."""

    leaves: dict[Key, tuple[Any, Origin]] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    """Pinned key to the sentence that says what it took the place of."""

    def put(self, key: Key, value: object, origin: Origin) -> None:
        """Set a value; a mapping is merged key by key, null takes the setting away."""
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                self.put((*key, str(name)), inner, origin)
            return
        for other in [k for k in self.leaves if k[: len(key)] == key or key[: len(k)] == k]:
            del self.leaves[other]
        if value is not None:
            self.leaves[key] = (value, origin)

    def pin(self, key: Key, value: object, origin: Origin) -> None:
        """Put a value over what rules and recipe gave, and remember what it took the place of."""
        before, setter = self.get(*key), next((o for k, (_, o) in self.leaves.items() if k[: len(key)] == key), None)
        if setter and setter.kind in ("rule", "recipe") and before != value:
            self.replaced[".".join(key)] = f"{'.'.join(key)} is pinned to {value}; {setter.name} gives {before}"
        self.put(key, value, origin)

    def get(self, *key: str) -> Any:
        """The value at a key (a mapping where the key has leaves below), or None."""
        if key in self.leaves:
            return self.leaves[key][0]
        below: dict[str, Any] = {}
        for leaf, (value, _) in self.leaves.items():
            if leaf[: len(key)] == key:
                node = below
                for name in leaf[len(key) : -1]:
                    node = node.setdefault(name, {})
                node[leaf[-1]] = value
        return below or None

    @property
    def flags(self) -> dict[str, Any]:
        """Flag to value, in order of the flag."""
        return {name: self.get("flags", name) for name in sorted({k[1] for k in self.leaves if k[0] == "flags"})}

    @property
    def env(self) -> dict[str, str]:
        """Variable to value, in order of the name."""
        return {k[1]: str(v) for k, (v, _) in sorted(self.leaves.items()) if k[0] == "env"}

    def origins(self) -> Iterator[tuple[str, Any, Origin]]:
        """Key as people write it, value and origin."""
        for key, (value, origin) in sorted(self.leaves.items()):
            yield ".".join(key), value, origin


def apply_rules(rules: Iterable[Rule], context: Context, engine: str) -> Settings:
    """The settings of all rules that hold, the more special over the more general."""
    settings = Settings()
    holding = sorted((r for r in rules if holds(r.when, context)), key=lambda r: (len(r.when.keys()), r.id))
    for rule in holding:
        put_set(settings, rule.set, Origin("rule", f"{engine}/{rule.id}", rule.reason, rule.source))
    return settings


def pin_path(key: str) -> Key:
    """A pin's key as a path: `flags.--x.inner`; a variable keeps its name whole."""
    kind, _, rest = key.partition(".")
    return (kind, *(rest.split(".") if kind == "flags" else (rest,)))


def put_set(settings: Settings, given: Set, origin: Origin) -> None:
    """Lay a `set:` block over the settings."""
    for name, value in given.flags.items():
        settings.put(("flags", name), value, origin)
    for name, value in given.env.items():
        settings.put(("env", name), value, origin)
