"""What other tools start: their files are read and their commands run here, as those tools would."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Run, pairing_text

BIN = Path(sys.executable).parent
KUBECTL, SHELLCHECK = shutil.which("kubectl"), shutil.which("shellcheck", path=str(BIN)) or shutil.which("shellcheck")
CHAT = pairing_text("chat", variant="deepseek-v4-flash", server="mi355x-8x", useCase="chat")


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def step(name: str) -> str:
    return next(s["run"] for s in read("action.yml")["runs"]["steps"] if s["name"] == name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with one pairing, and nothing rendered."""
    folder = tmp_path / "repository"
    (folder / "profiles/pairings").mkdir(parents=True)
    (folder / "profiles/pairings/chat.yaml").write_text(CHAT, encoding="utf-8")
    return folder


def started(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program with nothing in its environment but what is given."""
    path = f"{BIN}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def bash(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return started(command, folder, HOME=str(folder), **environment)


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_argo_cd_plugin_prints_yaml_and_nothing_else(repository: Path) -> None:
    plugin = read("integrations/argocd/plugin.yaml")["spec"]
    assert list(repository.glob(plugin["discover"]["fileName"].removeprefix("./")))
    command = [*plugin["generate"]["command"], *plugin["generate"]["args"]]
    ended = started(command, repository, ARGOCD_APP_NAME="chat", PARAM_PAIRING="chat", PARAM_SITE="default")
    assert ended.returncode == 0, ended.stderr
    objects = list(yaml.safe_load_all(ended.stdout))
    assert all({"apiVersion", "kind", "metadata"} <= {*item} for item in objects)
    assert {"Namespace", "Deployment", "Service"} <= {item["kind"] for item in objects}
    for wrong in ("no-such-pairing", "../../etc/passwd", "--help"):
        refused = started(command, repository, PARAM_PAIRING=wrong)
        assert (refused.returncode, refused.stdout) == (2, ""), wrong
        assert refused.stderr


def test_the_action_runs_as_plain_bash(repository: Path, run: Run, tmp_path: Path) -> None:
    temp = {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    git(repository, "init", "-qb", "main")
    stale = bash(step("Stale or not"), repository, RENDER="--out manifests")
    assert (stale.returncode, "error[W010]" in stale.stderr) == (1, True)
    made = ("--profiles", repository / "profiles", "--out", repository / "manifests")
    assert run("render", *made).code == 0
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "one")
    git(repository, "remote", "add", "origin", str(repository))
    file = repository / "profiles/pairings/chat.yaml"
    file.write_text(CHAT.replace('"chat"', '"chat-short"').replace('"name": "chat-short"', '"name": "chat"'), "utf-8")
    assert run("render", *made).code == 0
    changes = bash(step("What changes"), repository, BASE="origin/main", MANIFESTS="manifests", **temp)
    assert changes.returncode == 0, changes.stderr
    assert "| use case | chat | chat-short |" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    if "sarif" not in run("check", "--help").out:
        pytest.skip("check has no sarif here")
    checked = bash(step("Check"), repository, **temp)
    assert checked.returncode == 0, checked.stderr
    assert (tmp_path / "stowplan.sarif").is_file()


def test_pre_commit_hooks_run_on_changes_of_profiles_and_manifests(repository: Path) -> None:
    hooks = {hook["id"]: hook for hook in read(".pre-commit-hooks.yaml")}
    assert {*hooks} == {"stowplan-check", "stowplan-render-check"}
    for hook in hooks.values():
        assert re.search(hook["files"], "profiles/pairings/chat.yaml") and re.search(hook["files"], "manifests/a.yaml")
        assert not re.search(hook["files"], "src/profiles/x.py")
        assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    ended = started(hooks["stowplan-render-check"]["entry"].split(), repository)
    assert (ended.returncode, "error[W010]" in ended.stderr) == (1, True)
    assert started(hooks["stowplan-check"]["entry"].split(), repository).returncode == 0


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not here")
def test_kubectl_finds_its_plugin(tmp_path: Path) -> None:
    ended = started([str(KUBECTL), "stowplan", "list", "sites"], tmp_path, HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "default" in ended.stdout


def test_krew_gets_the_same_archive_each_time_with_its_digest(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("krew_manifest", ROOT / "scripts/krew_manifest.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.main("https://example.com/v1", str(tmp_path)) == 0
    packed = (tmp_path / "kubectl-stowplan.tar.gz").read_bytes()
    assert packed == made.archive()
    (platform,) = yaml.safe_load((tmp_path / "stowplan.yaml").read_text(encoding="utf-8"))["spec"]["platforms"]
    assert platform["sha256"] == hashlib.sha256(packed).hexdigest()
    assert platform["uri"] == "https://example.com/v1/kubectl-stowplan.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        modes = {member.name: member.mode for member in tar}
    assert modes[platform["bin"]] & 0o111 and "LICENSE" in modes


def scripts() -> Iterator[tuple[str, str]]:
    """Every shell text that another tool runs, as `sh` or `bash`."""
    for file in ("integrations/krew/kubectl-stowplan", "integrations/kustomize/stowplan-fn"):
        yield file, (ROOT / file).read_text(encoding="utf-8")
    for one in read("action.yml")["runs"]["steps"]:
        if "run" in one:
            yield f"action: {one['name']}", f"#!/bin/bash\n{one['run']}"
    workflow = read("templates/repository/.github/workflows/stowplan.yaml")
    for one in workflow["jobs"]["manifests"]["steps"]:
        if "run" in one:
            yield f"workflow: {one['name']}", f"#!/bin/bash\n{one['run']}"
    for file in ("integrations/gitlab/stowplan.yml", "templates/repository/.gitlab-ci.yml"):
        job = read(file)["stowplan"]
        yield file, "#!/bin/bash\n" + "\n".join([*job["before_script"], *job["script"]])
    (argument,) = read("integrations/argocd/plugin.yaml")["spec"]["generate"]["args"]
    yield "argo cd", f"#!/bin/sh\n{argument}"


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not here")
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    files = []
    for index, (name, text) in enumerate(scripts()):
        files.append(tmp_path / f"{index:02}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}")
        files[-1].write_text(text, encoding="utf-8")
    ended = subprocess.run([str(SHELLCHECK), *files], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout


def test_images_run_without_root_and_copy_what_is_there() -> None:
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    stages = {m[2]: m[1] for m in (re.match(r"FROM (\S+) AS (\S+)", line) for line in lines) if m}
    user: dict[str, str] = {}
    stage = ""
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.rpartition(" ")[2]
            user[stage] = user.get(stages[stage], "root")
        elif word == "USER":
            user[stage] = rest
        elif word == "COPY" and not rest.startswith("--from"):
            assert (ROOT / rest.split()[0]).exists()
    assert user["ci"] == user["function"] == "999:999"
    sidecar = read("integrations/argocd/sidecar.yaml")["spec"]["template"]["spec"]["containers"][0]
    assert sidecar["securityContext"]["runAsUser"] == 999
