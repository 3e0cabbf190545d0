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


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: Any
    origin: Origin


@dataclass(slots=True)
class Settings:
    """Engine flags and environment as a tree: below `flags` and `env`, the name, then inner keys, each leaf with its origin."""

    replaced: dict[str, str] = field(default_factory=dict)
    """Pinned key to the sentence that says what it took the place of."""
    _tree: dict[str, Any] = field(default_factory=dict)
    _flags: dict[str, Any] | None = None
    """The flags as plain data, until something is set."""

    def copy(self) -> Settings:
        """The same settings, to be changed apart."""
        return Settings(dict(self.replaced), _copied(self._tree))

    def put(self, key: Key, value: object, origin: Origin) -> None:
        """Set a value; a mapping is merged key by key, null takes the setting away."""
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                self.put((*key, str(name)), inner, origin)
            return
        self._flags = None
        if value is None:
            _drop(self._tree, key)
            return
        node = self._tree
        for name in key[:-1]:
            below = node.get(name)
            if not isinstance(below, dict):
                below = node[name] = {}
            node = below
        node[key[-1]] = _Leaf(value, origin)

    def pin(self, key: Key, value: object, origin: Origin) -> None:
        """Put a value over what rules and recipe gave, and remember what it took the place of."""
        before = self.get(*key)
        setter = next((leaf.origin for _, leaf in _leaves(key, self._node(key))), None)
        if setter and setter.kind in ("rule", "recipe") and before != value:
            self.replaced[".".join(key)] = f"{'.'.join(key)} is pinned to {value}; {setter.name} gives {before}"
        self.put(key, value, origin)

    def get(self, *key: str) -> Any:
        """The value at a key (a mapping where the key has leaves below), or None."""
        return _plain(self._node(key))

    @property
    def flags(self) -> Mapping[str, Any]:
        """Flag to value, in order of the flag."""
        if self._flags is None:
            self._flags = {name: _plain(node) for name, node in sorted(self._tree.get("flags", {}).items())}
        return self._flags

    @property
    def env(self) -> dict[str, str]:
        """Variable to value, in order of the name."""
        return {name: str(leaf.value) for name, leaf in sorted(self._tree.get("env", {}).items())}

    def origins(self) -> Iterator[tuple[str, Any, Origin]]:
        """Key as people write it, value and origin."""
        for key, leaf in sorted(_leaves((), self._tree)):
            yield ".".join(key), leaf.value, leaf.origin

    def _node(self, key: Key) -> Any:
        node: Any = self._tree
        for name in key:
            node = node.get(name) if isinstance(node, dict) else None
        return node


def _copied(node: Any) -> Any:
    return {name: _copied(below) for name, below in node.items()} if isinstance(node, dict) else node


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _plain(below) for name, below in node.items()}
    return node.value if node else None


def _leaves(key: Key, node: Any) -> Iterator[tuple[Key, _Leaf]]:
    if isinstance(node, _Leaf):
        yield key, node
    elif node:
        for name, below in node.items():
            yield from _leaves((*key, name), below)


def _drop(node: Any, key: Key) -> None:
    """Take a setting away, with mappings that hold nothing then."""
    name, *rest = key
    below = node.get(name)
    if rest and isinstance(below, dict):
        _drop(below, tuple(rest))
    if not rest or not below or isinstance(below, _Leaf):
        node.pop(name, None)


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Rules as they are laid on: the more general before the more special."""
    return sorted(rules, key=lambda rule: (len(rule.when.keys()), rule.id))


def apply_rules(rules: Iterable[Rule], context: Context, engine: str) -> Settings:
    """The settings of all rules that hold, laid on in their order."""
    settings = Settings()
    for rule in rules:
        if not holds(rule.when, context):
            continue
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
