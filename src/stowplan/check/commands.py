"""A container in, the engine command that it runs out: words of the shell, flags with their values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stowplan.check.objects import Container, Object, Path, Pod, containers, sequence
from stowplan.check.told import told
from stowplan.plain_scalars import json_scalar

_PROGRAM = ("vllm", "serve")
_PROGRAMS = ("vllm", "sglang")
_MODULES = ("vllm.entrypoints.openai.api_server", "sglang.launch_server", "dynamo.vllm")


@dataclass(frozen=True, slots=True)
class Command:
    """The command line of a serving engine and the container that runs it."""

    pod: Pod
    container: Container
    path: Path
    model: str
    flags: Mapping[str, Any]


@lru_cache(maxsize=1024)
def commands(item: Object) -> tuple[Command, ...]:
    """The engine commands of an object's pods."""
    own = ((pod, container) for pod in item.pods for container in containers(pod))
    found = (_command(*engine) for engine in (*own, *(engine for part in told(item) for engine in part.engines)))
    return tuple(command for command in found if command is not None)


def _command(pod: Pod, container: Container) -> Command | None:
    words: list[str] = []
    for field in ("command", "args"):
        words += [word for word in sequence(container.data.get(field)) if isinstance(word, str)]
    field = "args" if container.data.get("args") else "command"
    start = _start(words)
    if start is None:
        words = [word for text in words if any(program in text for program in _PROGRAMS) for word in _split(text)]
        start = _start(words)
    if start is None:
        return None
    model, flags = _flags(words[start:])
    return Command(pod, container, (*container.path, field), model, flags)


def _start(words: Sequence[str]) -> int | None:
    for index, word in enumerate(words):
        if (
            word in _MODULES
            or (tuple(words[index : index + 2]) == _PROGRAM)
            or (word.endswith("/vllm") and words[index + 1 : index + 2] == ["serve"])
        ):
            return index + (1 if word in _MODULES else 2)
    return None


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\\n", " "), comments=True)  # a line that goes on
    except ValueError:  # an unclosed quote: the shell's matter, and no command that can be read
        return []


def _flags(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Model and flags; a flag without a value is true, `--model` names the model."""
    model = words[0] if words and not words[0].startswith("-") else ""
    flags: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            flags[name] = _read(value) if equals else True
        elif name and flags[name] is True:
            flags[name] = _read(word)
    given = flags.get("--model", flags.get("--model-path", model))
    return str(given), flags


def _read(word: str) -> Any:
    if word[:1] in "[{":
        try:
            return json.loads(word)
        except ValueError:
            return word
    return json_scalar(word)
