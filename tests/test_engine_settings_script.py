"""The reader of a plug-in's own keys and variables, on a package that looks like one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, planned

from stowplan.catalog import Catalog

CONFIG = """
import os

class Settings:
    def __init__(self, config):
        additional_config = config.additional_config if config.additional_config is not None else {}
        if "gone" in additional_config:
            raise ValueError("removed")
        if "old" in additional_config:
            warn("deprecated")
        self.plain = additional_config.get("plain", 1)
        self.helped = self._get(additional_config, "helped", "VLLM_ASCEND_HELPED")
        self.nested = additional_config.get("nested", {}).get("inner")
        self.index = additional_config["index"]
        self.other = something_else.get("other")
        self.mode = os.getenv("VLLM_ASCEND_MODE", "0") + os.environ.get("HOME", "")
"""
AWAY = 'def f(vllm_config):\n    return (vllm_config.additional_config or {}).get("far")\n'


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield import_module("engine_settings")
    sys.path.remove(str(ROOT / "scripts"))


def package(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / "vllm_ascend" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_keys_are_what_is_looked_up_and_not_what_is_refused(script: ModuleType, tmp_path: Path) -> None:
    release = script.read_release("1.0.0", package(tmp_path, config=CONFIG, away=AWAY))
    assert release.keys == {"plain", "helped", "nested", "index", "old", "far"}
    assert release.variables == {"VLLM_ASCEND_MODE"}


def test_ranges_say_from_when_and_until_when(script: ModuleType, tmp_path: Path) -> None:
    sources = [package(tmp_path / str(i), config=text) for i, text in enumerate((CONFIG, CONFIG + AWAY, AWAY))]
    given = [f"{version}={source}" for version, source in zip(("0.9.0", "0.10.0", "0.11.0"), sources, strict=True)]
    assert script.main([*given, "--merge", str(tmp_path / "out.yaml")]) == 0
    merged = (tmp_path / "out.yaml").read_text(encoding="utf-8")
    assert '    plain: "<0.11.0"\n' in merged
    assert '    far: ">=0.10.0"\n' in merged
    assert merged.count("sha256") == 3


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("flags.--additional-config.enable_dsacp", True, "did you mean 'enable_dsa_cp'?"),
        ("flags.--additional-config.rl_config", {}, "versions that do: >=0.27.0"),
        ("env.VLLM_ASCEND_ENABLE_MLAPOO", "1", "did you mean 'VLLM_ASCEND_ENABLE_MLAPO'?"),
    ],
)
def test_a_key_or_variable_that_the_version_does_not_read_is_refused(
    key: str, value: object, said: str, catalog: Catalog
) -> None:
    made = planned(catalog, "deepseek-v4-flash", "atlas-800i-a3", set={key: value})
    assert made.verdict == "infeasible"
    assert any(reason.code == "F054" and said in reason.message for reason in made.reasons)


def test_a_variable_of_the_runtime_is_not_the_engine_s_to_know(catalog: Catalog) -> None:
    assert planned(catalog, "deepseek-v4-flash", "atlas-800i-a3", set={"env.HCCL_ANYTHING": "1"}).chosen
