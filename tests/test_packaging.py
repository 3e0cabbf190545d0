"""The package: what may import what, and what travels with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINTER = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")


@pytest.mark.skipif(LINTER is None, reason="import-linter is not installed")
def test_each_stage_imports_only_what_stands_before_it() -> None:
    ended = subprocess.run([str(LINTER), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_command_has_both_its_names() -> None:
    assert PROJECT["project"]["scripts"] == {"stowplan": "stowplan.cli:main", "kubectl-stowplan": "stowplan.cli:main"}


def test_profiles_and_templates_travel_in_the_wheel() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {"profiles", "templates"} <= {*included}
    assert all((ROOT / folder).is_dir() for folder in included)
