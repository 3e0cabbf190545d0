"""Two plans in; the engine's flags and variables that are gained, lost or set otherwise, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stowplan.check.objects import mapping


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One flag or variable of a role; None stands for not set."""

    key: str
    old: Any
    new: Any
    reason: str
    """Why the new plan sets it so, or the old one set what is lost."""


def setting_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[SettingChange]:
    """In order of the keys; a plan with one role names no role."""
    before, after = dict(_settings(old)), dict(_settings(new))
    why = {**_reasons(old), **_reasons(new)}
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield SettingChange(key, before.get(key), after.get(key), why.get(key, ""))


def _settings(plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    roles: Sequence[Mapping[str, Any]] = plan.get("roles", ())
    for role in roles:
        prefix = "" if len(roles) == 1 else f"{role.get('name')}."
        for kind in ("flags", "env"):
            yield from ((f"{prefix}{kind}.{name}", value) for name, value in mapping(role.get(kind)).items())


def _reasons(plan: Mapping[str, Any]) -> dict[str, str]:
    return {str(d.get("key")): str(d.get("reason")) for d in plan.get("decisions", ()) if isinstance(d, Mapping)}
