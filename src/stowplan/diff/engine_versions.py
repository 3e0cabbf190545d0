"""Two versions of an engine in; flags gained and lost, and what its profile says of one version only, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stowplan.catalog import Catalog
from stowplan.check.objects import mapping
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.rule import StackContext, When, may_hold
from stowplan.versions import in_range


class Statement(NamedTuple):
    """What the profile says of one of the versions only."""

    about: str
    """The flag, or what else it speaks of."""
    holds: str
    """The version that it holds for."""
    says: str
    source: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """From one version of an engine to another."""

    engine: str
    old: str
    new: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    lost_in_use: tuple[str, ...]
    """Flags that the old plan gives and the new version does not know."""
    meaning: tuple[Statement, ...]


def upgrade(old: Mapping[str, Any], new: Mapping[str, Any], catalog: Catalog) -> Upgrade | None:
    """What changes with the version; None unless both plans have the same engine at two versions of its profile."""
    before, after = _Stack.of(old, catalog), _Stack.of(new, catalog)
    if before is None or after is None or before.name != after.name or before.version == after.version:
        return None
    known, then = before.flags(), after.flags()
    given = {flag for role in old.get("roles", ()) for flag in mapping(role.get("flags"))}
    lost = tuple(sorted(known - then))
    meaning = tuple(sorted({*_only_one(before, after)}))
    return Upgrade(
        before.name,
        before.version,
        after.version,
        tuple(sorted(then - known)),
        lost,
        tuple(flag for flag in lost if flag in given),
        meaning,
    )


@dataclass(frozen=True)
class _Stack:
    """An engine at a version, and what the conditions of its profile are asked of."""

    name: str
    version: str
    upstream: str
    engine: EngineSpec
    extended: EngineSpec | None
    context: StackContext

    @classmethod
    def of(cls, plan: Mapping[str, Any], catalog: Catalog) -> _Stack | None:
        said, pairing = mapping(plan.get("engine")), mapping(plan.get("pairing"))
        name, version = str(said.get("name")), str(said.get("version"))
        if name not in catalog.engines or pairing.get("server") not in catalog.servers:
            return None
        engine = catalog.engines[name]
        release = next((v for v in engine.versions if v.version == version), None)
        if release is None or pairing.get("variant") not in catalog.variants:
            return None
        extended = catalog.engines[engine.extends] if engine.extends else None
        context = _context(plan, pairing, catalog, version)
        return cls(name, version, release.upstream, engine, extended, context)

    def flags(self) -> set[str]:
        """Every flag that this version knows."""
        tables = [(self.engine.flags, self.version)]
        if self.extended:
            tables.append((self.extended.flags, self.upstream))
        return {name for table, version in tables for name, flag in table.items() if in_range(version, flag.versions)}

    def statements(self) -> Iterator[tuple[str, str, str]]:
        """What is said of each flag and of the engine's behaviour at this version, on this hardware."""
        yield from self._of_flags()
        memory = self.engine.memory
        for method in memory.capacity:
            if self._has(method.when, method.versions):
                yield "capacity of the cache", method.reason, method.source
        for loaded in memory.loaded_as:
            if self._has(loaded.when, loaded.versions):
                yield "weights on a device", f"expanded at load: {', '.join(loaded.tensors)}", loaded.source
        for bad in self.engine.known_bad:
            if self._has(bad.when, bad.versions):
                yield "known problem" if bad.effect == "degrades" else "known failure", bad.reason, bad.source

    def _of_flags(self) -> Iterator[tuple[str, str, str]]:
        for rule in self.engine.flag_rules:
            if may_hold(rule.when, self.context):
                limits = _limited(rule.reason, rule.allowed, rule.at_most)
                yield rule.setting.removeprefix("flags."), limits, rule.source
        for setting in self.engine.rules:
            if setting.when.version is not None and may_hold(setting.when, self.context):
                for flag, value in setting.set.flags.items():
                    yield flag, f"set to {value}: {setting.reason}", setting.source

    def _has(self, when: When, versions: str) -> bool:
        return in_range(self.version, versions) and may_hold(when, self.context)


def _only_one(before: _Stack, after: _Stack) -> Iterator[Statement]:
    was, will = set(before.statements()), set(after.statements())
    for stack, own in ((before, was - will), (after, will - was)):
        yield from (Statement(about, stack.version, says, source) for about, says, source in own)


def _limited(reason: str, allowed: tuple[Any, ...] | None, at_most: float | None) -> str:
    limits = [f"takes {' or '.join(map(str, allowed))}"] if allowed else []
    limits += [f"takes at most {at_most:g}"] if at_most is not None else []
    return f"{', '.join(limits)}: {reason}" if limits else reason


def _context(plan: Mapping[str, Any], pairing: Mapping[str, Any], catalog: Catalog, version: str) -> StackContext:
    variant, server = catalog.variants[pairing["variant"]], catalog.servers[pairing["server"]]
    checkpoint = mapping(plan.get("checkpoint"))
    draft = next((c.draft for c in variant.checkpoints if c.id == checkpoint.get("id")), None)
    return StackContext(
        chip=server.chip,
        chip_family=tuple(catalog.chips[server.chip].families),
        server=str(pairing["server"]),
        variant=str(pairing["variant"]),
        variant_family=variant.family,
        checkpoint_format=str(checkpoint.get("quantization")),
        draft=draft or "none",
        use_case=str(pairing.get("useCase")),
        mode="disaggregated" if len(plan.get("roles", ())) > 1 else "aggregated",
        version=version,
    )
