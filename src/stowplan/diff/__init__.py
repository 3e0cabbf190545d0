"""Two sides in; what changes, in the terms of those who run it first and in YAML second, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.objects import sequence
from stowplan.diff.engine_versions import Upgrade, upgrade
from stowplan.diff.objects import Change, ObjectChange, changes
from stowplan.diff.rollout import Effect, effects
from stowplan.diff.rows import Row, rows
from stowplan.diff.settings import SettingChange, setting_changes
from stowplan.diff.side import Side
from stowplan.diff.steps import steps

_TOLD = ("digest", "pairing", "verdict", "reasons", "assumptions", "checkpoint", "engine", "deviceLayer", "recipe")
"""Keys of a plan that rows and lists tell."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row of a plan before and after; None: it had no such row."""

    key: str
    label: str
    old: Row | None
    new: Row | None


@dataclass(frozen=True, slots=True)
class PairingChange:
    """What changes for one pairing."""

    name: str
    was: str
    """Its name on the old side, where it is another."""
    change: Change
    rows: tuple[RowChange, ...]
    settings: tuple[SettingChange, ...]
    upgrade: Upgrade | None
    gained: tuple[str, ...]
    """Reasons and assumptions that only the new plan has."""
    lost: tuple[str, ...]
    steps: tuple[str, ...]
    effects: tuple[Effect, ...]
    unrendered: str
    """Why there are no manifests of it on the new side."""
    otherwise: tuple[str, ...]
    """Other keys of `plan.yaml` that differ."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs between two sides."""

    old: str
    new: str
    pairings: tuple[PairingChange, ...]
    effects: tuple[Effect, ...]
    """Of objects that belong to no pairing."""
    objects: tuple[ObjectChange, ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.pairings or self.objects)


def compare(old: Side, new: Side, catalog: Catalog) -> Comparison:
    """Pairings by name (two single ones whatever they are called), objects by identity."""
    renamed = _renamed(old, new)
    found = tuple(changes(old.held, new.held, renamed))
    names = sorted({*new.plans, *(renamed.get(name, name) for name in old.plans)})
    earlier = {renamed.get(name, name): name for name in old.plans}
    made = (_pairing(name, earlier.get(name, ""), old, new, found, catalog) for name in names)
    return Comparison(
        old.name,
        new.name,
        tuple(change for change in made if change is not None),
        tuple(effects(c for c in found if c.pairing not in names)),
        found,
    )


def _renamed(old: Side, new: Side) -> dict[str, str]:
    """One pairing on each side is one that moved."""
    if len(old.plans) == len(new.plans) == 1:
        return dict(zip(old.plans, new.plans, strict=True))
    return {}


def _pairing(
    name: str, was: str, old: Side, new: Side, found: tuple[ObjectChange, ...], catalog: Catalog
) -> PairingChange | None:
    before, after = old.plans.get(was, {}), new.plans.get(name, {})
    own = [c for c in found if c.pairing == name]
    if before == after and not own:
        return None
    rows_, settings = tuple(_rows(before, after)), tuple(setting_changes(before, after) if before and after else ())
    told = {*_TOLD} | ({"roles"} if rows_ or settings else set())
    return PairingChange(
        name=name,
        was=was if was != name else "",
        change="changed" if before and after else "added" if after else "removed",
        rows=rows_,
        settings=settings,
        upgrade=upgrade(before, after, catalog),
        gained=tuple(s for s in _sentences(after) if s not in {*_sentences(before)}),
        lost=tuple(s for s in _sentences(before) if s not in {*_sentences(after)}) if after else (),
        steps=tuple(steps(before, after, catalog)),
        effects=tuple(effects(own)),
        unrendered=new.unrendered.get(name, ""),
        otherwise=tuple(k for k in {**before, **after} if k not in told and before.get(k) != after.get(k))
        if before and after
        else (),
    )


def _rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[RowChange]:
    was, will = ({row.key: row for row in rows(plan)} if plan else {} for plan in (before, after))
    for key, row in {**was, **will}.items():
        old, new = was.get(key), will.get(key)
        if old is None or new is None or old.shown != new.shown:
            yield RowChange(key, row.label, old, new)


def _sentences(plan: Mapping[str, Any]) -> list[str]:
    reasons = [f"{r.get('code')} {r.get('message')}" for r in sequence(plan.get("reasons")) if isinstance(r, Mapping)]
    return [*reasons, *map(str, sequence(plan.get("assumptions")))]
