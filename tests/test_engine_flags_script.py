"""The extractor of engine flags reads small parsers that look like those of the engines."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "engine_flags.py"

CONFIG = """
from dataclasses import InitVar, dataclass
from enum import Enum
from typing import Annotated, ClassVar, Literal
from .kinds import *
from .kinds import Shade as Tint

class Backend(Enum):
    A = "a"

@dataclass
class Nested:
    depth: int = 1

@config
class BoilerConfig:
    LIMIT: ClassVar[int] = 3
    width: InitVar[int] = 0
    litres: int = 5
    heat: Annotated[float, "degrees"] = 1.5
    label: str | None = None
    colour: Colour = "red"
    tint: Tint | str = "dark"
    stage: Literal[1, 16, 2] = 1
    insulated: bool = True
    nested: Nested | None = None
    extra: dict[str, int] | None = None
    sizes: list[int] | None = None
    backend: Backend | None = None
    parser: str = ""
    mode: Literal["slow", "fast", "hidden"] = "slow"
"""

KINDS = """
from typing import Literal
Colour = Literal["red", "blue"]
Shade = Literal["dark", "light"]
"""

ARGS = """
import argparse, json
from vllm.config import BoilerConfig
HIDDEN = "hidden"

def small(text) -> int:
    return int(text)

class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        boiler = get_kwargs(BoilerConfig)
        boiler["mode"]["choices"].remove(HIDDEN)
        group = parser.add_argument_group(title="x")
        group.add_argument("--litres", "-l", **boiler["litres"])
        group.add_argument("--heat", **{**boiler["heat"], "default": None})
        for_label = boiler["label"]
        for_label["type"] = optional_type(json.loads)
        group.add_argument("--label", **for_label)
        group.add_argument("--colour", "--old-colour", **boiler["colour"])
        group.add_argument("--tint", **boiler["tint"])
        group.add_argument("--stage", **boiler["stage"])
        if some_condition():
            group.add_argument("--enable-insulation", **boiler["insulated"])
        group.add_argument("--nested", **boiler["nested"])
        group.add_argument("--extra", **boiler["extra"])
        group.add_argument("--sizes", **boiler["sizes"])
        group.add_argument("--backend", **boiler["backend"])
        group.add_argument("--mode", **boiler["mode"])
        parser.add_argument("--count", type=small)
        parser.add_argument("--pick", choices=["b", *("a",)], default=None)
        parser.add_argument("--plain-switch", action="store_true")
        parser.add_argument("--both", action=argparse.BooleanOptionalAction)
        parser.add_argument("--lost", **anything())
        return parser
"""

CLI = """
from vllm.engine.arg_utils import EngineArgs

@config
class Base:
    names: list[str] | None = None

    @classmethod
    def _customize(cls, frontend_kwargs):
        frontend_kwargs["origins"]["type"] = json.loads
        del frontend_kwargs["origins"]["nargs"]
        return frontend_kwargs

    @classmethod
    def add_cli_args(cls, parser):
        frontend_kwargs = get_kwargs(cls)
        frontend_kwargs = cls._customize(frontend_kwargs)
        for key, value in frontend_kwargs.items():
            parser.add_argument(f"--{key.replace('_', '-')}", **value)
        return parser

@config
class Front(Base):
    origins: list[str] | None = None
    http_port: int = 8000

    @classmethod
    def _customize(cls, frontend_kwargs):
        frontend_kwargs = super()._customize(frontend_kwargs)
        return frontend_kwargs

def make_arg_parser(parser):
    parser.add_argument("model_tag")
    parser = Front.add_cli_args(parser)
    return EngineArgs.add_cli_args(parser)
"""

PARSER = """
from argparse import BooleanOptionalAction
class Pair(BooleanOptionalAction):
    prefixes = {"--enable-": "--disable-"}
"""

SERVER_ARGS = """
import argparse
from typing import Literal, Optional

class Gone(argparse.Action):
    def __init__(self, option_strings, dest, nargs=0, **kwargs):
        pass

class Renamed(argparse.Action):
    pass

class Kettle:
    litres: A[int, Arg(help="x", aliases=["--volume"])] = 1
    colour: A[Optional[Literal["red", "blue"]], "help"] = None
    quiet: A[bool, f"help"] = False
    spout_size: A[float, Arg(help="x", cli_name="--spout")] = 1.0
    notes: A[Optional[str], Arg(help="x", type_parser=json_list)] = None
    sizes: A[Optional[list[int]], "help"] = None
    hidden: A[bool, Arg(no_cli=True)] = False
    bare: int = 3

def names():
    return list(NAMES)

NAMES = {"one": 1, "two": 2}
PARTS = [Kettle]

class ServerArgs:
    @staticmethod
    def add_cli_args(parser):
        add_cli_args_from_dataclass(parser, ServerArgs)
        found = names()
        parser.add_argument("--name", choices=["auto"] + found)
        parser.add_argument("--gone", action=Gone, help="deprecated")
        parser.add_argument("--old-litres", type=int, action=Renamed)

collect_input_fields(PARTS)
"""

VLLM = {
    "vllm/config/__init__.py": "from .boiler import BoilerConfig",
    "vllm/config/boiler.py": CONFIG,
    "vllm/config/kinds.py": KINDS,
    "vllm/engine/arg_utils.py": ARGS,
    "vllm/entrypoints/openai/cli_args.py": CLI,
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine_flags", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def _rows(script: ModuleType, engine: str, root: Path) -> dict[str, object]:
    release = script.read_release(engine, "1.0.0", root)
    return {name: (flag.type, flag.choices) for name, flag in release.flags.items()}


@pytest.fixture
def vllm(script: ModuleType, tmp_path: Path) -> dict[str, object]:
    return _rows(script, "vllm", _write(tmp_path, VLLM))


@pytest.mark.parametrize(
    ("flag", "row"),
    [
        ("--litres", ("int", ())),
        ("--heat", ("float", ())),
        ("--label", ("json", ())),
        ("--colour", ("text", ("blue", "red"))),
        ("--old-colour", ("text", ("blue", "red"))),
        ("--tint", ("text", ())),
        ("--stage", ("int", ("1", "2", "16"))),
        ("--nested", ("json", ())),
        ("--extra", ("json", ())),
        ("--sizes", ("text", ())),
        ("--backend", ("text", ())),
        ("--mode", ("text", ("fast", "slow"))),
        ("--count", ("int", ())),
        ("--pick", ("text", ("a", "b"))),
        ("--names", ("text", ())),
        ("--origins", ("json", ())),
        ("--http-port", ("int", ())),
        ("--both", ("switch", ())),
        ("--no-both", ("switch", ())),
    ],
)
def test_field_becomes_flag(vllm: dict[str, object], flag: str, row: tuple[str, object]) -> None:
    assert vllm[flag] == row


def test_only_optional_switches_have_a_negative_twin(vllm: dict[str, object]) -> None:
    assert vllm["--no-enable-insulation"] == ("switch", ())
    assert "--no-plain-switch" not in vllm
    assert "--disable-insulation" not in vllm


def test_parser_class_adds_inverse_spelling(script: ModuleType, tmp_path: Path) -> None:
    root = _write(tmp_path, {**VLLM, "vllm/utils/argparse_utils.py": PARSER})
    assert _rows(script, "vllm", root)["--disable-insulation"] == ("switch", ())


def test_short_and_positional_names_are_no_flags(vllm: dict[str, object]) -> None:
    assert all(name.startswith("--") for name in vllm)
    assert "--LIMIT" not in vllm and "--width" not in vllm


def test_what_cannot_be_read_is_reported(script: ModuleType, tmp_path: Path) -> None:
    assert script.read_release("vllm", "1.0.0", _write(tmp_path, VLLM)).unread == ["--lost"]


def test_annotated_server_args(script: ModuleType, tmp_path: Path) -> None:
    root = _write(tmp_path, {"python/sglang/srt/server_args.py": SERVER_ARGS})
    assert _rows(script, "sglang", root) == {
        "--colour": ("text", ("blue", "red")),
        "--gone": ("switch", ()),
        "--litres": ("int", ()),
        "--name": ("text", ("auto", "one", "two")),
        "--notes": ("json", ()),
        "--old-litres": ("int", ()),
        "--quiet": ("switch", ()),
        "--sizes": ("text", ()),
        "--spout": ("float", ()),
        "--volume": ("int", ()),
    }


def test_wheel_is_read_without_unpacking(script: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "vllm-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in VLLM.items():
            archive.writestr(name, text)
    release = script.read_release("vllm", "1.0.0", wheel)
    assert release.file == wheel.name and len(release.sha256) == 64
    assert release.flags["--litres"].type == "int"


def test_sources_without_the_parser_are_refused(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="cli_args"):
        script.read_release("vllm", "1.0.0", tmp_path)


def _release(script: ModuleType, version: str, **flags: tuple[str, tuple[str, ...]]) -> object:
    rows = {f"--{name}": script.Flag(*row) for name, row in flags.items()}
    return script.Release(version, f"{version}.whl", "0" * 64, rows, [])


def test_merge_gives_ranges(script: ModuleType) -> None:
    number, pick = ("int", ()), ("text", ("a",))
    releases = [
        _release(script, "0.10.0", stays=number, late=number, turns=("json", ()), pick=("text", ("b",))),
        _release(script, "0.9.0", stays=number, gone=number, turns=number, pick=pick),
        _release(script, "0.9.0.post1", stays=number, mid=number, turns=number, back=number, pick=pick),
        _release(script, "0.8.0", stays=number, gone=number, turns=number, back=number, pick=pick),
    ]
    rows = script.merge(releases)
    assert {name: row.versions for name, row in rows.items()} == {
        "--stays": "",
        "--late": ">=0.10.0",
        "--gone": "<0.9.0.post1",
        "--mid": ">=0.9.0.post1,<0.10.0",
        "--turns": "",
        "--back": "<0.10.0",
        "--pick": "",
    }
    assert rows["--turns"].flag.type == "json"
    assert rows["--turns"].remarks[0].startswith("type differs")
    assert rows["--back"].remarks == ("not in 0.9.0",)
    assert rows["--pick"].flag.choices == ("a", "b")
    assert rows["--pick"].remarks == ("choices differ",)


def test_merged_file(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = _write(tmp_path / "src", VLLM), tmp_path / "flags.yaml"
    arguments = ["vllm", "1.0.0", "--source", str(root)]
    assert script.main([*arguments, "--merge", str(out)]) == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    assert "  --colour: {type: text, choices: [blue, red]}" in lines
    assert '  --stage: {type: int, choices: ["1", "2", "16"]}' in lines
    assert lines[lines.index("read:") + 1].startswith('  - {version: "1.0.0", file: "5 files"')
    capsys.readouterr()
    assert script.main(arguments) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["1.0.0"]["--colour"] == {"type": "text", "choices": ["blue", "red"]}
