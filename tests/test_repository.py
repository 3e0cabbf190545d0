"""From an empty folder to a reviewed change: `init`, `new pairing`, and what a team's CI does with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from conftest import Files, Run, in_process_of_its_own

KUBECTL = shutil.which("kubectl")
ASKED = ("--variant", "deepseek-v4-flash", "--server", "mi355x-8x", "--use-case", "chat")
BIN = str(Path(sys.executable).parent)


def git(*arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def bash(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step of a workflow, as its runner would start it, with the program that is tested on the path."""
    told = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(Path.cwd()), **environment}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=told)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init` writes into an empty folder."""
    folder = tmp_path_factory.mktemp("started") / "new"
    ended = in_process_of_its_own(["-m", "stowplan", "init", folder])
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.splitlines()) == sorted(str(p) for p in folder.rglob("*") if p.is_file())
    return folder


@pytest.fixture
def repository(started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that was just started, and rendered nothing yet."""
    shutil.copytree(started, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_change_goes_from_an_empty_folder_to_a_comment_and_through_ci(repository: Path, run: Run) -> None:
    assert run("render").code == run("check").code == 0
    git("init", "-qb", "main")
    git("add", ".")
    git("commit", "-qm", "start")

    file = repository / "profiles/pairings/first.yaml"
    before = yaml.safe_load(file.read_text(encoding="utf-8"))["spec"]["useCase"]
    file.write_text(file.read_text(encoding="utf-8").replace(before, "chat-short"), encoding="utf-8")
    told = run("diff", "HEAD", ".", "-o", "markdown")
    assert told.code == 1
    assert f"| use case | {before} | chat-short |" in told.out
    assert "| context served |" in told.out and "restarts 1 pod(s)" in told.out and "```diff" in told.out
    stale = run("render", "--check")
    assert (stale.code, "error[W010]" in stale.err) == (1, True)
    assert run("render").code == run("render", "--check").code == 0

    if KUBECTL is None:
        pytest.skip("kubectl is not here")
    folders = [found.parent for found in (repository / "manifests").rglob("kustomization.yaml")]
    assert repository / "manifests/clusters/here" in folders
    for folder in folders:
        ended = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, check=False, timeout=60)
        assert ended.returncode == 0, ended.stderr


def test_what_is_there_is_never_overwritten(repository: Path, run: Run) -> None:
    readme, link = repository / "README.md", repository / "requirements.txt"
    readme.write_text("ours", encoding="utf-8")
    link.unlink()
    link.symlink_to(repository / "elsewhere")
    ended = run("init")
    assert (ended.code, ended.out) == (0, "")
    assert readme.read_text(encoding="utf-8") == "ours"
    assert not (repository / "elsewhere").exists()


def test_every_file_is_valid_for_the_schema_that_its_first_line_names(repository: Path) -> None:
    files = sorted((repository / "profiles").rglob("*.yaml"))
    assert len(files) == 2
    for file in files:
        line, _, text = file.read_text(encoding="utf-8").partition("\n")
        schema = (file.parent / line.partition("$schema=")[2]).read_text(encoding="utf-8")
        assert jsonschema_rs.Draft7Validator(json.loads(schema)).is_valid(yaml.safe_load(text))


def test_the_workflow_refuses_what_is_stale_and_tells_what_changes(repository: Path, run: Run) -> None:
    assert run("render").code == 0
    git("init", "-qb", "main")
    git("add", ".")
    git("commit", "-qm", "start")
    workflow = yaml.safe_load((repository / ".github/workflows/stowplan.yaml").read_text(encoding="utf-8"))
    steps = {step["name"]: step for step in workflow["jobs"]["manifests"]["steps"] if "name" in step}
    stale, changes = steps["Manifests are what the profiles render to"]["run"], steps["What changes"]["run"]
    told = {"RUNNER_TEMP": str(repository), "GITHUB_STEP_SUMMARY": str(repository / "summary.md"), "BASE": "main"}
    site = repository / "profiles/sites/here.yaml"
    text = site.read_text(encoding="utf-8")
    site.write_text(text.replace("  title:", "  namespace: other\n  title:"), encoding="utf-8")
    assert bash(stale).returncode == 1
    assert run("render").code == 0
    assert bash(changes, **told).returncode == 0
    assert "Deployment other" in (repository / "summary.md").read_text(encoding="utf-8")
    first = bash(changes, **{**told, "BASE": "no-such-branch"})
    assert first.returncode == 0, "a first commit has nothing to be compared with"


def test_a_new_pairing_is_written_where_it_is_rendered_from(repository: Path, run: Run) -> None:
    ended = run("new", "pairing", *ASKED)
    assert (ended.code, ended.out) == (0, "profiles/pairings/v4-flash.mi355x-8x.chat.yaml\n")
    made = yaml.safe_load((repository / ended.out.strip()).read_text(encoding="utf-8"))
    assert made["spec"] == {
        "variant": "deepseek-v4-flash",
        "server": "mi355x-8x",
        "useCase": "chat",
        "site": "here",
    }
    assert run("check").code == 0
    again = run("new", "pairing", *ASKED)
    assert (again.code, "error[W004]" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--variant", "deepseek-v4-flash"), 2, "--server, --use-case must be given"),
        ((*ASKED, "--name", "../../x"), 2, "--name: error[P004]"),
        ((*ASKED[:2], "--server", "mi355x", *ASKED[4:]), 2, "did you mean 'mi35"),
        (("--variant", "deepseek-v4-flash-base", *ASKED[2:]), 1, "error[F021]: infeasible"),
    ],
)
def test_a_pairing_that_does_not_fit_is_not_written(
    arguments: tuple[str, ...], code: int, words: str, run: Run, tmp_path: Path
) -> None:
    ended = run("new", "pairing", *arguments, "--out", tmp_path / "p")
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.err
    assert not (tmp_path / "p").exists()


def test_on_a_terminal_only_what_fits_is_offered(run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stowplan.cli.starting._is_asked", lambda: True)
    root = write_files({})
    options = ("--server", "cambricon-x8-mlu590", "--use-case", "chat-short", "--out", root)
    ended = run("new", "pairing", *options, stdin=b"deepseek-v4-flash\n")
    assert ended.code == 0, ended.err
    offered = [line.strip() for line in ended.err.splitlines() if line.startswith("  deepseek")]
    assert "deepseek-v4-flash" in offered
    assert not [name for name in offered if "pro" in name or "base" in name]
