"""`stowplan diff`: what an operator cares about first, objects by identity, folders, files and revisions alike."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MANIFESTS, Files, Run, pairing_text

CHAT = {"variant": "deepseek-v4-flash", "server": "hgx-h200", "useCase": "chat"}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "a"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
    },
}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "a"}}


def changed(**spec: Any) -> dict[str, Any]:
    return {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **spec}}


def with_image(image: str) -> dict[str, Any]:
    pod = {**DEPLOYMENT["spec"]["template"], "spec": {"containers": [{"name": "c", "image": image}]}}
    return changed(template=pod)


def stream(*objects: object) -> str:
    return yaml.safe_dump_all(objects)


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def row(data: Any, key: str) -> tuple[Any, Any]:
    found = next(r for r in data["pairings"][0]["rows"] if r["key"] == key)
    return found["old"], found["new"]


def test_a_pairing_and_what_it_was_rendered_to_are_the_same(run: Run, write_files: Files) -> None:
    root = write_files({"p.yaml": pairing_text(**CHAT)})
    assert run("render", root / "p.yaml", "--out", root / "out").code == 0
    ended = run("diff", root / "p.yaml", root / "out")
    assert (ended.code, ended.err) == (0, "")


def test_a_longer_context_is_told_by_the_plan_the_flag_and_the_restart(run: Run, write_files: Files) -> None:
    longer = pairing_text(**CHAT, set={"flags.--context-length": 131072})
    root = write_files({"old.yaml": pairing_text(**CHAT, engine="sglang"), "new.yaml": longer})
    ended = run("diff", root / "old.yaml", root / "new.yaml", "-o", "json")
    assert ended.code == 1
    assert row(ended.data, "maxModelLen")[1] == 131072
    told = ended.data["pairings"][0]
    assert [s["new"] for s in told["settings"] if s["key"] == "flags.--context-length"] == [131072]
    assert [e for e in told["effects"] if e["object"].startswith("Deployment") and "restarts 1 pod" in e["does"]]
    lines = [o["diff"] for o in ended.data["objects"] if o["object"].startswith("Deployment")]
    assert any(line.startswith("+") and "--context-length 131072" in line for line in lines[0])


def test_a_newer_engine_shows_flags_gained_and_lost_and_what_means_something_else(run: Run, write_files: Files) -> None:
    root = write_files({f"{v}.yaml": pairing_text(**CHAT, engine=f"vllm@{v}") for v in ("0.26.0", "0.33.0")})
    upgrade = run("diff", root / "0.26.0.yaml", root / "0.33.0.yaml", "-o", "json").data["pairings"][0]["upgrade"]
    assert (upgrade["old"], upgrade["new"]) == ("0.26.0", "0.33.0")
    assert "--aux-output-config" in upgrade["gained"]  # in the table from 0.31.0 on
    assert "--calculate-kv-scales" in upgrade["lost"]  # until 0.28.0
    assert {s["holds"] for s in upgrade["meaning"]} <= {"0.26.0", "0.33.0"}
    assert any(s["about"] == "capacity of the cache" for s in upgrade["meaning"])


def test_another_chip_reads_as_a_migration(run: Run, write_files: Files) -> None:
    there = pairing_text("q", **{**CHAT, "server": "atlas-350-4p-8"})
    root = write_files({"old.yaml": pairing_text(**CHAT), "new.yaml": there})
    ended = run("diff", root / "old.yaml", root / "new.yaml")
    order = [
        "the device layer ascend-mindcluster, once a cluster",
        "servers/atlas-350-4p-8/node-labels.yaml",
        "the preflight on each host",
        "PREREQUISITES.md lists",
        "the weights of deepseek-ai/DeepSeek-V4-Flash: 159.6 GB",
        "apply pairings/q",
        "move the traffic, then delete what pairings/p made",
    ]
    text = " ".join(ended.out.split())
    places = [text.find(words) for words in order]
    assert ended.code == 1
    assert places == sorted(places) and places[0] > 0, ended.out
    assert "q (was p): changed" in text
    assert "device layer nvidia-" in text


def test_a_pairing_that_is_new_or_gone_is_told_by_its_plan(run: Run, write_files: Files) -> None:
    root = write_files({"one/p.yaml": pairing_text(**CHAT), "two/p.yaml": pairing_text(**CHAT)})
    write_files({"two/q.yaml": pairing_text("q", **{**CHAT, "useCase": "chat-short"})})
    added = run("diff", root / "one", root / "two", "-o", "markdown").out
    assert "### q: added" in added and "| use case | chat-short |" in added and "### p:" not in added
    removed = run("diff", root / "two", root / "one").out
    assert "q: removed" in removed and "stops 1 pod(s)" in removed and "which is new" not in removed


def test_an_infeasible_plan_is_told_with_its_reasons(run: Run, write_files: Files) -> None:
    big = pairing_text(**{**CHAT, "variant": "deepseek-v4-pro", "server": "atlas-800i-a2-910b3"}, nodes=1)
    root = write_files({"old.yaml": pairing_text(**CHAT), "new.yaml": big})
    told = run("diff", root / "old.yaml", root / "new.yaml", "-o", "json").data["pairings"][0]
    assert {r["key"]: r["new"] for r in told["rows"]}["verdict"] == "infeasible"
    assert any(sentence.startswith("F001 short by") for sentence in told["gained"])
    assert told["unrendered"]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"pairing": []},
        {"pairing": {"name": "p", "variant": ["v"], "server": "s"}},
        {"pairing": {"name": "p", "variant": "v", "server": "s"}, "roles": ["x"]},
        {"pairing": {"name": "p", "variant": "v", "server": "s"}, "roles": [{"headroom": "much"}]},
    ],
)
def test_a_plan_that_was_edited_into_something_else_is_refused(
    broken: dict[str, Any], run: Run, write_files: Files
) -> None:
    root = write_files({"t/plan.yaml": stream({"apiVersion": "stowplan/v1", "kind": "Plan", **broken})})
    ended = run("diff", root / "t", root / "t")
    assert (ended.code, ended.out) == (2, "")
    assert "plan.yaml: error[P018]" in ended.err


def test_objects_are_compared_by_identity_and_not_by_file(run: Run, write_files: Files) -> None:
    turned = dict(reversed(DEPLOYMENT.items()))
    root = write_files(
        {
            "old/all.yaml": stream(DEPLOYMENT, SERVICE),
            "new/b.yaml": stream(turned),
            "new/a.yaml": stream({"apiVersion": "v1", "kind": "List", "items": [SERVICE]}),
        }
    )
    assert run("diff", root / "old", root / "new").code == 0


@pytest.mark.parametrize(
    ("new", "does"),
    [
        (with_image("i:2"), ["restarts 2 pod(s), RollingUpdate"]),
        (changed(replicas=5), ["scales from 2 pod(s) to 5 pod(s); running pods stay"]),
        (changed(paused=True), []),
        (
            changed(selector={"matchLabels": {"app": "x"}}),
            ["cannot be changed in place (spec.selector): delete it first"],
        ),
    ],
)
def test_what_a_change_does_to_running_pods(new: dict[str, Any], does: list[str], run: Run, write_files: Files) -> None:
    root = write_files({"old.yaml": stream(DEPLOYMENT), "new.yaml": stream(new)})
    ended = run("diff", root / "old.yaml", root / "new.yaml", "-o", "json")
    assert [effect["does"] for effect in ended.data["effects"]] == does
    assert [o["change"] for o in ended.data["objects"]] == ["changed"]


def test_a_revision_is_read_without_checking_it_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.yaml").write_text(stream(DEPLOYMENT))
    (tmp_path / "m" / "link.yaml").symlink_to("/etc/passwd")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "m" / "link.yaml").unlink()
    monkeypatch.chdir(tmp_path / "m")
    assert run("diff", "HEAD", ".").code == 0
    (tmp_path / "m" / "a.yaml").write_text(stream(with_image("i:2"), SERVICE))
    data = run("diff", "HEAD:m", tmp_path / "m", "-o", "json").data
    assert [(o["object"], o["change"]) for o in data["objects"]] == [
        ("Deployment a/web", "changed"),
        ("Service a/web", "added"),
    ]
    ended = run("diff", "HEAD:nothing")
    assert (ended.code, "HEAD:nothing: error[P001]: has nothing to compare" in ended.err) == (2, True)


@pytest.mark.parametrize("given", ["no-such-thing", "--output=x", "HEAD..main", "x:y", ":/fix"])
def test_what_is_nothing_is_a_mistake_of_usage(given: str, run: Run) -> None:
    ended = run("diff", "--", given, MANIFESTS)
    assert (ended.code, ended.out) == (2, "")
    assert "error[P011]" in ended.err


def test_profiles_of_a_revision_are_rendered_and_their_mistakes_told_with_it(
    run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "profiles/pairings/p.yaml"
    root = write_files({file: pairing_text(**CHAT)})
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    monkeypatch.chdir(root)
    assert run("diff", "HEAD").code == 0
    write_files({file: pairing_text(**{**CHAT, "useCase": "chat-short"})})
    assert row(run("diff", "HEAD", "-o", "json").data, "useCase") == ("chat", "chat-short")
    write_files({file: pairing_text(**{**CHAT, "useCase": "chatt"})})
    git(root, "commit", "-qam", "two")
    ended = run("diff", "HEAD", "HEAD~1")
    assert (ended.code, f"HEAD:{file}:" in ended.err) == (2, True), ended.err


def test_a_comment_keeps_its_fences_and_its_length(run: Run, write_files: Files) -> None:
    def config(name: str, text: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"t": text}}

    new = stream(config("a", "````\n<details>"), *(config(f"big-{i}", "x y\n" * 6000) for i in range(3)))
    root = write_files({"old.yaml": stream(config("a", "x")), "new.yaml": new})
    ended = run("diff", root / "old.yaml", root / "new.yaml", "-o", "markdown")
    assert ended.code == 1
    assert "`````diff" in ended.out
    assert len(ended.out) < 65_000
    assert "left out: ConfigMap big-" in ended.out


def test_a_pairing_that_takes_an_object_over_changes_it(run: Run, write_files: Files) -> None:
    theirs = {**DEPLOYMENT, "metadata": {"name": "p", "namespace": "deepseek-v4-baseline"}}
    root = write_files({"theirs.yaml": stream(theirs), "p.yaml": pairing_text(**{**CHAT, "server": "mi355x-8x"})})
    data = run("diff", root / "theirs.yaml", root / "p.yaml", "-o", "json").data
    assert [o["change"] for o in data["objects"] if o["object"].startswith("Deployment")] == ["changed"]
    told = [e["does"] for e in data["pairings"][0]["effects"] if e["object"].startswith("Deployment")]
    assert "cannot be changed in place (spec.selector): delete it first" in told
