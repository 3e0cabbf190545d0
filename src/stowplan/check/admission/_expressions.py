"""Whether an expression of the Common Expression Language compiles where the API server compiles it."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from stowplan.check.custom_resources.functions import declarations
from stowplan.check.custom_resources.rules import EXTENSIONS

if TYPE_CHECKING:
    from cel_expr_python import cel

_STATUS = re.compile(r"^[A-Z_]+: (ERROR: <input>:[0-9:]+ )?| \[[A-Z_]+\]$| \(in container ''\)")
_NOT_IN_LIBRARY = {"authorizer", "format", "includes", "indexOf", "jsonpatch", "lastIndexOf", "validate"}
"""What Kubernetes has and the library does not: an expression that uses it is not judged."""


def device_problem(expression: str) -> str:
    """What keeps an expression from selecting a device."""
    return _problem(expression, "device")


def rule_problem(expression: str, *, wanted: str = "BOOL") -> str:
    """What keeps an expression from being a rule of a custom kind (or its message: of the type STRING)."""
    return _problem(expression, "rule", wanted)


@functools.lru_cache(maxsize=1024)
def _problem(expression: str, scope: str, wanted: str = "BOOL") -> str:
    environment = _environment(scope)
    if environment is None or any(re.search(rf"\b{name}\b", expression) for name in _NOT_IN_LIBRARY):
        return ""
    try:
        kind = environment.compile(expression).return_type().name()
    except RuntimeError as error:
        return _STATUS.sub("", str(error).partition("\n")[0])
    return "" if kind in (wanted, "DYN") else f"is of the type {kind.lower()}, expected {wanted.lower()}"


@functools.cache
def _environment(scope: str) -> cel.Env | None:
    """The variables of a place; None where this machine has no library."""
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - a large library, needed only where expressions stand
    except ImportError:
        return None
    kind = cel.Type
    if scope == "device":
        boxed = kind.Map(kind.STRING, kind.DYN)
        variables: dict[str, Any] = {
            "device.allowMultipleAllocations": kind.BOOL,
            "device.attributes": kind.Map(kind.STRING, kind.Map(kind.STRING, kind.DYN)),
            "device.capacity": kind.Map(kind.STRING, kind.Map(kind.STRING, boxed)),
            "device.driver": kind.STRING,
        }
    else:
        variables = {"oldSelf": kind.DYN, "self": kind.DYN}
    config = cel.NewEnvConfigFromYaml("extensions:\n" + "".join(f"- name: {name}\n" for name in EXTENSIONS))
    functions = declarations(lambda _text, _pattern: [])
    return cel.NewEnv(config=config, variables=variables, functions=list(functions))
