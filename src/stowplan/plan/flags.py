"""Whether an engine version knows a flag, and takes the value that is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.diagnostics import did_you_mean
from stowplan.pairing import Pairing
from stowplan.plan.model import Reason, Stack
from stowplan.profiles.engine import Flag
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
    """Flags that the version does not know, and values of the wrong type."""
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
        else:
            yield from _wrong_value(name, value, fitting[0])


def _wrong_value(name: str, value: object, flag: Flag) -> Iterator[Reason]:
    wrong_bool = isinstance(value, bool) != (flag.type == "switch")
    if wrong_bool or not isinstance(value, _TYPES[flag.type]):
        yield Reason("F051", f"{name} takes {_WORDS[flag.type]}, not {value!r}", {"flag": name})
    elif flag.choices and value not in flag.choices:
        near = did_you_mean(str(value), flag.choices) or f"choices: {', '.join(flag.choices)}"
        yield Reason("F051", f"{name} does not take {value!r}; {near}", {"flag": name})
