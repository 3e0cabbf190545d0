"""A container of anyone in, the engine command that it runs out: program, model, flags with their values, variables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stowplan.check.objects import Bundle, Container, Object, Path, Pod, mapping, sequence
from stowplan.check.shell import expanded, simple_commands
from stowplan.check.workloads import Serving, mounted_files, servings
from stowplan.diagnostics import Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import json_scalar

_STARTS: Mapping[tuple[str, ...], str] = {
    ("vllm", "serve"): "vllm",
    ("vllm.entrypoints.openai.api_server",): "vllm",
    ("sglang.launch_server",): "sglang",
    ("sglang", "serve"): "sglang",
    ("dynamo.vllm",): "dynamo.vllm",
    ("dynamo.sglang",): "dynamo.sglang",
    ("dynamo.trtllm",): "dynamo.trtllm",
    ("trtllm-serve",): "trtllm-serve",
    ("atom.entrypoints.openai_server",): "atom.entrypoints.openai_server",
    ("xllm",): "xllm",
}
"""How engines are started, and by which of its words a profile's own command is known."""
_IMAGES: Mapping[str, str] = {"vllm-openai": "vllm", "vllm-openai-rocm": "vllm"}
"""Images whose entry point is the engine: containers then give arguments only."""
_SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-dpl": "--data-parallel-size-local",
    "-ep": "--enable-expert-parallel",
}
_LONG = {
    "--tp": "--tensor-parallel-size",
    "--tp-size": "--tensor-parallel-size",
    "--pp": "--pp-size",
    "--dp": "--dp-size",
    "--ep": "--ep-size",
}
"""Spellings that engines take for another; only for the programs that have them."""
_BOOLEANS = {"True": "true", "False": "false"}
_FILE = "--config"
_MODELS = ("--model", "--model-path", "--model-name")
_PLATFORM = "LLMInferenceService"
"""A kind whose operator makes the command out of the object's fields."""
_OPERATED = ("DynamoGraphDeployment", "DynamoComponentDeployment")
"""Kinds whose operator mounts shared memory of its own."""
_PLATFORM_FLAGS = {
    "tensor": "--tensor-parallel-size",
    "pipeline": "--pipeline-parallel-size",
    "data": "--data-parallel-size",
    "dataLocal": "--data-parallel-size-local",
}
_PLATFORM_ARGUMENTS = "VLLM_ADDITIONAL_ARGS"


@dataclass(frozen=True, slots=True)
class Command:
    """The command line of a serving engine and the container that runs it."""

    pod: Pod
    container: Container
    path: Path
    model: str
    flags: Mapping[str, Any]
    program: str
    env: Mapping[str, str]
    serving: Serving
    open: bool = False
    """Settings may also come from a file that the bundle does not hold, or from a variable that the object does not."""

    @property
    def by_platform(self) -> bool:
        """Whether an operator fills in what the object leaves out: volumes, probes, the command itself."""
        return self.serving.item.kind in (_PLATFORM, *_OPERATED)

    def integer(self, *names: str, default: int | None = None) -> int | None:
        """The whole number that a flag gives under one of its names; None where it is given, but not as a number."""
        given = next((self.flags[name] for name in names if name in self.flags), default)
        if given is default and self.open:
            return None
        return given if type(given) is int else None


def commands(item: Object, bundle: Bundle) -> tuple[Command, ...]:
    """The engine commands of an object's pods, which may run or read files of the bundle's ConfigMaps."""
    key = ("commands", id(item))
    if key not in bundle.worked_out:
        found = (_command(serving, _texts(bundle)) for serving in servings(item))
        bundle.worked_out[key] = tuple(command for command in found if command is not None)
    known: tuple[Command, ...] = bundle.worked_out[key]
    return known


def _texts(bundle: Bundle) -> Mapping[str, Mapping[str, Any]]:
    """What the ConfigMaps of the bundle hold, by name."""
    key = ("texts", 0)
    if key not in bundle.worked_out:
        bundle.worked_out[key] = {item.name: mapping(item.data.get("data")) for item in bundle.of("ConfigMap")}
    known: Mapping[str, Mapping[str, Any]] = bundle.worked_out[key]
    return known


def _command(serving: Serving, maps: Mapping[str, Mapping[str, Any]]) -> Command | None:
    container, variables = serving.container, dict(serving.env)
    own, given = (
        [w for w in sequence(container.data.get(field)) if isinstance(w, str)] for field in ("command", "args")
    )
    field = "args" if container.data.get("args") else "command"
    files = mounted_files(serving, maps) if maps else {}
    found = (
        _first(_candidates([*own, *given], variables))
        or _by_image(own, given, container, variables)
        or _first(_candidates([text for path, text in files.items() if _names(path, [*own, *given])], variables))
    )
    path: Path = (*container.path, field)
    flags: dict[str, Any] = {}
    if serving.item.kind == _PLATFORM and not container.init and (found is None or found[0] == "vllm"):
        flags, path = _platform(serving), path if found else serving.role_path
        found = found or ("vllm", [*given, *serving.env.get(_PLATFORM_ARGUMENTS, "").split()])
    if found is None:
        return None
    program, words = found
    model, said, more_words = _flags(program, words)
    more = _from_file(program, files.get(str(said.get(_FILE)), ""))
    flags |= more | said
    model = str(next((flags[name] for name in _MODELS if name in flags), model))
    if serving.item.kind == _PLATFORM:
        model = str(
            mapping(serving.item.spec.get("model")).get("name")
            or mapping(serving.item.spec.get("model")).get("uri")
            or model
        )
    unread = (_FILE in said and not more) or more_words
    return Command(serving.pod, container, path, model, flags, program, variables, serving, unread)


def _candidates(words: list[str], variables: dict[str, str]) -> list[list[str]]:
    """The words as they are, and the commands of those that are scripts."""
    whole = [expanded(word, variables) for word in words]
    scripts = [word for word in words if any(c in word for c in " \n") and any(start[0] in word for start in _STARTS)]
    return [whole, *(command for text in scripts for command in simple_commands(text, variables))]


def _first(candidates: Sequence[list[str]]) -> tuple[str, list[str]] | None:
    for words in candidates:
        for index in range(len(words)):
            for start, program in _STARTS.items():
                here = words[index : index + len(start)]
                if here and (here[0].rpartition("/")[2], *here[1:]) == start:
                    return program, words[index + len(start) :]
    return None


def _by_image(
    own: list[str], given: list[str], container: Container, variables: Mapping[str, str]
) -> tuple[str, list[str]] | None:
    image = str(container.data.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
    if own or not given or image not in _IMAGES:
        return None
    return _IMAGES[image], [expanded(word, variables) for word in given]


def _names(path: str, words: list[str]) -> bool:
    """Whether a command names a file, by its path or from its folder."""
    return any(re.search(rf"(^|[\s/'\"]){re.escape(path.rpartition('/')[2])}($|[\s;'\"])", word) for word in words)


def _from_file(program: str, text: str) -> dict[str, Any]:
    """Flags that a file of settings gives: a mapping of their names without dashes."""
    try:
        data = next((mapping(d.data) for d in read_bytes(text.encode(), _FILE)), {})
    except Refused:
        return {}
    return {_name(program, f"--{key}"): value for key, value in data.items()}


def _platform(serving: Serving) -> dict[str, Any]:
    parallelism = mapping(serving.role.get("parallelism"))
    flags: dict[str, Any] = {flag: parallelism[key] for key, flag in _PLATFORM_FLAGS.items() if key in parallelism}
    return flags | ({"--enable-expert-parallel": True} if parallelism.get("expert") is True else {})


def _flags(program: str, words: Sequence[str]) -> tuple[str, dict[str, Any], bool]:
    """Model and flags, and whether unknown words stand among them.

    A flag without a value is true, a dotted flag is a key of the one before the dot.
    """
    model = words[0] if words and not words[0].startswith("-") else ""
    flags: dict[str, Any] = {}
    name, unknown = "", False
    for word in words:
        if word.startswith("--") or word.partition("=")[0] in _SHORT:
            name, equals, value = word.partition("=")
            name = _name(program, name)
            _put(flags, name, _read(value) if equals else True)
        elif name and _get(flags, name) is True:
            _put(flags, name, _read(word))
            name = ""
        elif word.startswith("$") and word != model:
            unknown = True
    return model, flags, unknown


def _name(program: str, given: str) -> str:
    if given in _SHORT:
        return _SHORT[given]
    head, dot, rest = given.partition(".")
    name = head.replace("_", "-") if program.endswith("vllm") else head
    return (_LONG.get(name, name) if program.endswith("sglang") else name) + dot + rest


def _put(flags: dict[str, Any], name: str, value: Any) -> None:
    head, dot, rest = name.partition(".")
    if not dot:
        flags[name] = value
        return
    node = flags[head] = dict(mapping(flags.get(head)))
    *parents, last = rest.split(".")
    for step in parents:
        node[step] = dict(mapping(node.get(step)))
        node = node[step]
    node[last] = value


def _get(flags: Mapping[str, Any], name: str) -> Any:
    node: Any = flags
    for step in name.split("."):
        node = mapping(node).get(step)
    return node


def _read(word: str) -> Any:
    if word[:1] in "[{":
        try:
            return json.loads(word)
        except ValueError:
            return word
    return json_scalar(_BOOLEANS.get(word, word))
