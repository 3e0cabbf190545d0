"""Whether an engine version knows a flag, and takes the value that is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.catalog import Catalog
from stowplan.diagnostics import did_you_mean
from stowplan.pairing import Pairing
from stowplan.plan.model import Reason, Stack
from stowplan.plan.settings import Settings, pin_path
from stowplan.profiles.engine import EngineSpec, Flag, FlagRule
from stowplan.profiles.rule import Context, holds
from stowplan.versions import in_range

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "text": (str,),
    "json": (dict, list, str),
    "switch": (bool,),
}
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "text": "text",
    "json": "a mapping or list",
    "switch": "true or false",
}


Tables = Sequence[tuple[Mapping[str, Flag], str]]
"""Flag tables of an engine and of the one that it extends, each with the version to look at."""


def flag_tables(catalog: Catalog, engine: EngineSpec, version: str, upstream: str) -> Tables:
    """The tables that say what a release knows."""
    extended = [(catalog.engines[engine.extends].flags, upstream)] if engine.extends else []
    return [(engine.flags, version), *extended]


def unknown_flags(pairing: Pairing, stack: Stack, flags: Mapping[str, Any]) -> Iterator[Reason]:
    """Flags that the version does not know, and values of the wrong type; null stands for a flag that is taken away."""
    tables = flag_tables(pairing.catalog, stack.engine, stack.version.version, stack.version.upstream)
    for name, value in flags.items():
        message = unknown_flag(name, tables, f"{stack.engine_name} {stack.version.version}")
        if message:
            yield Reason("F050", message, {"flag": name})
        elif value is not None:
            known = next(t[name] for t, version in tables if name in t and in_range(version, t[name].versions))
            yield from _wrong_value(name, value, known)
            yield from _unknown_keys(stack, name, value)


def _unknown_keys(stack: Stack, flag: str, value: object) -> Iterator[Reason]:
    """Keys that the version does not look up in the mapping: it would pass over them without a word."""
    known = stack.engine.keys.get(flag)
    if known and isinstance(value, Mapping):
        for key in value:
            if missing := _unread(key, known, stack.version.version):
                engine = f"{stack.engine_name} {stack.version.version}"
                yield Reason("F054", f"{engine} reads no {key} in {flag}{missing}", {"flag": flag, "key": key})


def unknown_variables(stack: Stack, env: Mapping[str, str]) -> Iterator[Reason]:
    """Variables with the engine's own prefix that the version does not ask for."""
    own, version = stack.engine.variables, stack.version.version
    for name in env if own else ():
        if own and name.startswith(own.prefix) and (missing := _unread(name, own.known, version)):
            yield Reason("F054", f"{stack.engine_name} {version} does not read {name}{missing}", {"variable": name})


def _unread(name: str, known: Mapping[str, str | None], version: str) -> str:
    """What to say of a name that the version does not read; empty for one that it does."""
    versions = known.get(name, "")
    if versions is None or (versions and in_range(version, versions)):
        return ""
    said = f"versions that do: {versions}" if versions else did_you_mean(name, known) or "no version that was read does"
    return f"; {said}"


def unknown_flag(name: str, tables: Tables, engine: str) -> str:
    """Why a release does not take a flag; empty: it does."""
    known = [(table[name], version) for table, version in tables if name in table]
    if any(in_range(version, flag.versions) for flag, version in known):
        return ""
    if not known:
        near = did_you_mean(name, [n for table, _ in tables for n in table])
        return f"{engine} has no flag {name}" + (f"; {near}" if near else "")
    return f"{engine} does not know {name}; versions that do: {known[0][0].versions}"


def broken_rules(stack: Stack, context: Context, settings: Settings) -> Iterator[Reason]:
    """Settings that the engine's flag rules forbid here."""
    for rule in stack.engine.flag_rules:
        value = settings.get(*pin_path(rule.setting))
        if value is None or (rule.values is not None and value not in rule.values) or not holds(rule.when, context):
            continue
        limit = broken_limit(rule, value, context)
        if limit:
            name = rule.setting.partition(".")[2]
            message = f"{name} {limit}, not {value}: {rule.reason} ({rule.source})"
            yield Reason("F053", message, {"rule": rule.id, "flag": name})


def broken_limit(rule: FlagRule, value: Any, context: Context) -> str:
    """How a value departs from a rule that holds here; empty: it does not."""
    if rule.only is not None and not holds(rule.only, context):
        return "cannot be given here"
    if rule.allowed is not None and value not in rule.allowed:
        return f"takes {' or '.join(str(v) for v in rule.allowed)} here" if rule.allowed else "cannot be given here"
    if rule.at_most is not None and value > rule.at_most:
        return f"takes at most {rule.at_most:,g} here"
    return ""


def _wrong_value(name: str, value: object, flag: Flag) -> Iterator[Reason]:
    wrong_bool = isinstance(value, bool) != (flag.type == "switch")
    if wrong_bool or not isinstance(value, _TYPES[flag.type]):
        yield Reason("F051", f"{name} takes {_WORDS[flag.type]}, not {value!r}", {"flag": name})
    elif flag.choices and value not in flag.choices:
        near = did_you_mean(str(value), flag.choices) or f"choices: {', '.join(flag.choices)}"
        yield Reason("F051", f"{name} does not take {value!r}; {near}", {"flag": name})
