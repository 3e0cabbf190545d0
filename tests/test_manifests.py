"""`manifests/` is what the pairings render to: byte for byte, everywhere, and readable by other people's readers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import MANIFESTS, ROOT, in_process_of_its_own
from readers import READERS

from stowplan.catalog import Catalog
from stowplan.cli.session import own_sites
from stowplan.plan.device_layer import Host, site_hosts
from stowplan.plan.model import Plan
from stowplan.render.artifact import Artifact
from stowplan.render.cluster import render_tree
from stowplan.write import INDEX, write

PLACES = {
    "plain": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": "1", "TZ": "UTC"},
    "far": {"LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu"},
}


@pytest.fixture(scope="module")
def sites(catalog: Catalog) -> list[list[Host]]:
    return [site_hosts(catalog, name) for name in own_sites(catalog)]


@pytest.fixture(scope="module")
def rendered(plans: dict[str, Plan], sites: list[list[Host]]) -> dict[str, Artifact]:
    return {artifact.path: artifact for artifact in render_tree(plans.values(), sites)}


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_committed_tree_is_what_the_pairings_render_to(
    rendered: dict[str, Artifact], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-manifests"):
        write(MANIFESTS, rendered.values(), [""])
    committed = {path: text for path, text in tree(MANIFESTS).items() if path != INDEX}
    wanted = {path: artifact.text.encode() for path, artifact in rendered.items()}
    assert sorted(committed) == sorted(wanted)
    assert [path for path, text in committed.items() if wanted[path] != text] == []


def test_a_second_render_is_the_same(
    rendered: dict[str, Artifact], plans: dict[str, Plan], sites: list[list[Host]]
) -> None:
    again = render_tree((plans[name] for name in reversed(plans)), reversed(sites))
    assert {artifact.path: artifact.text for artifact in again} == {p: a.text for p, a in rendered.items()}


@pytest.mark.parametrize("place", PLACES)
def test_locale_hash_seed_time_zone_and_folder_change_nothing(
    place: str, rendered: dict[str, Artifact], tmp_path: Path
) -> None:
    ended = in_process_of_its_own(["-m", "stowplan", "render", "--out", "made"], cwd=str(tmp_path), **PLACES[place])
    assert ended.returncode == 0, ended.stderr
    made = {path: text for path, text in tree(tmp_path / "made").items() if path != INDEX}
    assert made == {path: artifact.text.encode() for path, artifact in rendered.items()}


@pytest.mark.parametrize("version", READERS)
def test_every_object_reads_back_as_it_was_meant(version: str, rendered: dict[str, Artifact]) -> None:
    files = {path: artifact for path, artifact in rendered.items() if artifact.objects}
    assert files
    for path, artifact in files.items():
        assert list(READERS[version](artifact.text)) == [dict(o) for o in artifact.objects], path


def test_environment_labels_and_annotations_are_text_to_every_reader(rendered: dict[str, Artifact]) -> None:
    texts = [
        (path, text)
        for read in READERS.values()
        for path, artifact in rendered.items()
        if artifact.objects
        for document in read(artifact.text)
        for text in must_be_text(document)
    ]
    assert len(texts) > 1000
    assert [(path, text) for path, text in texts if not isinstance(text, str)] == []


def must_be_text(node: Any) -> list[Any]:
    """Values that the API server takes as text only."""
    if isinstance(node, list):
        return [found for item in node for found in must_be_text(item)]
    if not isinstance(node, dict):
        return []
    own = [
        v for key in ("labels", "annotations", "nodeSelector", "matchLabels") for v in (node.get(key) or {}).values()
    ]
    own += [entry["value"] for entry in node.get("env") or () if "value" in entry]
    own += [word for key in ("command", "args") for word in node.get(key) or ()]
    return own + [found for value in node.values() for found in must_be_text(value)]


def test_every_file_of_a_kustomization_exists(rendered: dict[str, Artifact]) -> None:
    every = [
        os.path.normpath(Path(path).parent / resource)
        for path, artifact in rendered.items()
        if path.endswith("/kustomization.yaml")
        for resource in next(READERS["1.1"](artifact.text))["resources"]
    ]
    named = [path for path in every if path.endswith(".yaml")]
    bundles = {path for path in every if path not in named}
    assert bundles and all(f"{path}/kustomization.yaml" in rendered for path in bundles)
    assert len(named) > len(rendered) / 2
    assert sorted(named) == sorted(path for path, artifact in rendered.items() if artifact.objects)
    assert [path for path in named if not (MANIFESTS / path).is_file()] == []


def test_a_file_says_nothing_of_the_machine_it_was_rendered_on(rendered: dict[str, Artifact]) -> None:
    assert [path for path, artifact in rendered.items() if str(ROOT) in artifact.text] == []


def test_every_pairing_has_serving_quantization_and_plan(rendered: dict[str, Artifact], plans: dict[str, Plan]) -> None:
    for name in plans:
        own = {path.removeprefix(f"pairings/{name}/") for path in rendered if path.startswith(f"pairings/{name}/")}
        assert {"plan.yaml", "kustomization.yaml", "quantization/decision.yaml", "serving/service.yaml"} <= own
