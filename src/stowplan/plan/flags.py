"""Whether an engine version knows a flag, and takes the value that is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.diagnostics import did_you_mean
from stowplan.pairing import Pairing
from stowplan.plan.model import Reason, Stack
from stowplan.plan.settings import Settings, pin_path
from stowplan.profiles.engine import Flag, FlagRule
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


def unknown_flags(pairing: Pairing, stack: Stack, flags: Mapping[str, Any]) -> Iterator[Reason]:
    """Flags that the version does not know, and values of the wrong type; null stands for a flag that is taken away."""
    tables = [(stack.engine.flags, stack.version.version)]
    if stack.engine.extends:
        tables.append((pairing.catalog.engines[stack.engine.extends].flags, stack.version.upstream))
    engine = f"{stack.engine_name} {stack.version.version}"
    for name, value in flags.items():
        known = [(table[name], version) for table, version in tables if name in table]
        fitting = [flag for flag, version in known if in_range(version, flag.versions)]
        if not known:
            message = f"{engine} has no flag {name}"
            near = did_you_mean(name, [n for table, _ in tables for n in table])
            yield Reason("F050", f"{message}; {near}" if near else message, {"flag": name})
        elif not fitting:
            yield Reason(
                "F050", f"{engine} does not know {name}; versions that do: {known[0][0].versions}", {"flag": name}
            )
        elif value is not None:
            yield from _wrong_value(name, value, fitting[0])
            yield from _unknown_keys(stack, engine, name, value)


def _unknown_keys(stack: Stack, engine: str, flag: str, value: object) -> Iterator[Reason]:
    """Keys that the version does not look up in the mapping: it would pass over them without a word."""
    known = stack.engine.keys.get(flag)
    if known and isinstance(value, Mapping):
        for key in value:
            if missing := _unread(key, known, stack.version.version):
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


def broken_rules(stack: Stack, context: Context, settings: Settings) -> Iterator[Reason]:
    """Settings that the engine's flag rules forbid here."""
    for rule in stack.engine.flag_rules:
        value = settings.get(*pin_path(rule.setting))
        if value is None or (rule.values is not None and value not in rule.values) or not holds(rule.when, context):
            continue
        limit = _broken_limit(rule, value, context)
        if limit:
            name = rule.setting.partition(".")[2]
            message = f"{name} {limit}, not {value}: {rule.reason} ({rule.source})"
            yield Reason("F053", message, {"rule": rule.id, "flag": name})


def _broken_limit(rule: FlagRule, value: Any, context: Context) -> str:
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
