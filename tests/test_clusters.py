"""One set of pairings on several clusters: a tree for each site, built by kubectl, applied by Argo CD or Flux."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from conftest import ROOT, Files, Run, pairing_text

KUBECTL = shutil.which("kubectl")
CRDS = ROOT.parent / "shared" / "crds"
PAIRING = pairing_text("chat", variant="deepseek-v4-flash", server="hgx-h200", useCase="chat")
SITE = """
apiVersion: stowplan/v1
kind: Site
metadata: {{name: {name}}}
spec:
  title: One of two clusters
  kubernetes: "1.36"
  namespace: {name}-models
  registryMirrors: {{docker.io: registry.{name}.example/hub}}
  pairings: {{chat: {{replicas: {replicas}}}}}
  gitops: {{tool: {tool}, repository: "https://git.example.com/models.git", path: manifests/{name}}}
"""


@pytest.fixture
def profiles(write_files: Files) -> Path:
    sites = {"staging": ("argocd", 1), "prod": ("flux", 3)}
    files = {
        f"profiles/sites/{name}.yaml": SITE.format(name=name, tool=tool, replicas=replicas)
        for name, (tool, replicas) in sites.items()
    }
    return write_files({"profiles/pairings/chat.yaml": PAIRING, **files}) / "profiles"


def rendered(site: str, profiles: Path, run: Run) -> Path:
    out = profiles.parent / "manifests" / site
    ended = run("render", "--site", site, "--profiles", profiles, "--out", out)
    assert ended.code == 0, ended.err
    return out


def objects(file: Path) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(file.read_text(encoding="utf-8")) if d]


def crd(kind: str, group: str) -> jsonschema_rs.Draft7Validator:
    found = next(CRDS.rglob(f"{kind}.{group}.yaml"), None)
    if found is None:
        pytest.skip("the custom resource definitions are not here")
    version = yaml.safe_load(found.read_text(encoding="utf-8"))["spec"]["versions"][0]
    return jsonschema_rs.Draft7Validator(version["schema"]["openAPIV3Schema"], validate_formats=False)


def test_a_site_has_its_own_facts_namespace_and_replicas(profiles: Path, run: Run) -> None:
    for site, replicas in (("staging", 1), ("prod", 3)):
        out = rendered(site, profiles, run)
        (deployment,) = objects(out / "pairings/chat/serving/deployment.yaml")
        assert deployment["spec"]["replicas"] == replicas
        assert deployment["metadata"]["namespace"].startswith(f"{site}-models")
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image.startswith(f"registry.{site}.example/hub/")
        assert run("render", "--site", site, "--profiles", profiles, "--out", out, "--check").code == 0
        assert run("check", out, "--profiles", profiles).code == 0
    told = run("diff", profiles.parent / "manifests/staging", profiles.parent / "manifests/prod").out
    assert "replicas" in told and "1 -> 3" in told


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not here")
def test_kubectl_builds_every_folder_and_the_cluster_as_the_sum_of_its_bundles(profiles: Path, run: Run) -> None:
    out = rendered("prod", profiles, run)
    built = {}
    for file in out.rglob("kustomization.yaml"):
        ended = subprocess.run(
            [str(KUBECTL), "kustomize", file.parent], capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        built[file.parent.relative_to(out).as_posix()] = len(list(yaml.safe_load_all(ended.stdout)))
    layer = next(name for name in built if name.startswith("device-layers/") and "servers" not in name)
    assert built["clusters/prod"] == built[layer] + built["sites/prod"] + built["pairings/chat"]


def test_argo_cd_syncs_layers_then_namespaces_then_pairings(profiles: Path, run: Run) -> None:
    out = rendered("staging", profiles, run)
    applications = objects(out / "gitops/staging/argocd.yaml")
    waves = [
        (int(a["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]), a["spec"]["source"]["path"])
        for a in applications
    ]
    assert waves == sorted(waves)
    assert [path.removeprefix("manifests/staging/").partition("/")[0] for _, path in waves] == [
        "device-layers",
        "sites",
        "pairings",
    ]
    assert all((profiles.parent / path / "kustomization.yaml").is_file() for _, path in waves)
    validator = crd("applications", "argoproj.io")
    assert [e.message for a in applications for e in validator.iter_errors(a)] == []


def test_an_application_set_rolls_in_the_same_order(profiles: Path, run: Run) -> None:
    file = profiles / "sites/staging.yaml"
    text = file.read_text(encoding="utf-8").replace("tool: argocd", "tool: argocd-applicationset")
    file.write_text(text, encoding="utf-8")
    out = rendered("staging", profiles, run)
    (made,) = objects(out / "gitops/staging/argocd-applicationset.yaml")
    elements = made["spec"]["generators"][0]["list"]["elements"]
    steps = [s["matchExpressions"][0]["values"][0] for s in made["spec"]["strategy"]["rollingSync"]["steps"]]
    assert [element["step"] for element in elements] == steps == ["1", "2", "3"]
    assert elements[-1]["path"] == "manifests/staging/pairings/chat"
    assert made["spec"]["template"]["spec"]["source"]["path"] == "{{.path}}"
    assert [e.message for e in crd("applicationsets", "argoproj.io").iter_errors(made)] == []


def test_flux_waits_for_layers_and_watches_the_workload(profiles: Path, run: Run) -> None:
    out = rendered("prod", profiles, run)
    source, *units = objects(out / "gitops/prod/flux.yaml")
    names = [unit["metadata"]["name"] for unit in units]
    last = units[-1]["spec"]
    assert [d["name"] for d in last["dependsOn"]] == names[:-1]
    assert [(check["kind"], check["name"]) for check in last["healthChecks"]] == [("Deployment", "chat")]
    assert all(unit["spec"]["wait"] for unit in units[:-1])
    assert all((profiles.parent / unit["spec"]["path"] / "kustomization.yaml").is_file() for unit in units)
    assert {unit["spec"]["sourceRef"]["name"] for unit in units} == {source["metadata"]["name"]}
    validator = crd("kustomizations", "kustomize.toolkit.fluxcd.io")
    assert [e.message for unit in units for e in validator.iter_errors(unit)] == []
    assert [e.message for e in crd("gitrepositories", "source.toolkit.fluxcd.io").iter_errors(source)] == []


def test_a_site_that_is_not_there_or_lists_what_is_not_there_is_told(profiles: Path, run: Run) -> None:
    ended = run("render", "--site", "stagin", "--profiles", profiles, "--out", profiles / "out")
    assert (ended.code, "did you mean 'staging'?" in ended.err) == (2, True)
    file = profiles / "sites/prod.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("{chat:", "{chatt:"), encoding="utf-8")
    ended = run("render", "--site", "prod", "--profiles", profiles, "--out", profiles / "out")
    assert ended.code and "did you mean 'chat'?" in ended.err
    told = run("check", profiles, "--profiles", profiles).out
    assert "sites/prod.yaml:10:21: error[C004]: unknown pairing 'chatt'" in told
    assert told.count("error[") == 1
