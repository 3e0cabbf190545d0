"""`stowplan fn`: ResourceList in, ResourceList out, findings as results at their object, field and file."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from conftest import Run

CHAT = {"variant": "deepseek-v4-flash", "server": "mi355x-8x", "useCase": "chat"}
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "c",
        "annotations": {"config.kubernetes.io/path": "a/c.yaml", "config.kubernetes.io/index": "2"},
    },
}


def resource_list(*items: Any, config: Any = None) -> bytes:
    given = {"functionConfig": config} if config else {}
    data = {"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList", "items": list(items), **given}
    return yaml.safe_dump(data, sort_keys=False).encode()


def pairing(**spec: Any) -> dict[str, Any]:
    """A functionConfig as a runner gives it, with how the function is run in its annotations."""
    annotations = {
        "config.kubernetes.io/function": "exec: {path: ./fn}",
        "internal.config.kubernetes.io/path": "p.yaml",
    }
    return {
        "apiVersion": "stowplan/v1",
        "kind": "Pairing",
        "metadata": {"name": "chat", "annotations": annotations},
        "spec": {**CHAT, **spec},
    }


def answer(run: Run, raw: bytes, code: int = 0) -> dict[str, Any]:
    ended = run("fn", stdin=raw)
    assert ended.code == code, ended.err
    return yaml.safe_load(ended.out)


def test_a_pairing_is_rendered_beside_the_items_and_replaces_what_it_was_before(run: Run) -> None:
    first = answer(run, resource_list(CONFIG_MAP, config=pairing()))
    kinds = [item["kind"] for item in first["items"]]
    assert kinds[0] == "ConfigMap" and {"Deployment", "Service", "Job"} <= {*kinds}
    assert first["results"] == []
    deployment = next(item for item in first["items"] if item["kind"] == "Deployment")
    paths = deployment["metadata"]["annotations"]
    assert paths["config.kubernetes.io/path"] == "pairings/chat/serving/deployment.yaml"
    again = answer(run, resource_list(*first["items"], config=pairing(replicas=3)))
    assert [item["kind"] for item in again["items"]] == kinds
    replicas = [item["spec"]["replicas"] for item in again["items"] if item["kind"] == "Deployment"]
    assert replicas == [3]


def test_a_finding_has_object_field_file_and_index(run: Run) -> None:
    wrong = {**CONFIG_MAP, "data": {"bad key": "x"}}
    found = answer(run, resource_list({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}, wrong), 1)
    (result,) = [r for r in found["results"] if r["severity"] == "error"]
    assert result["resourceRef"] == {"apiVersion": "v1", "kind": "ConfigMap", "name": "c"}
    assert result["field"]["path"].startswith("data")
    assert result["file"] == {"path": "a/c.yaml", "index": 2}
    assert result["tags"]["code"].startswith("M1")
    assert found["items"][1] == wrong


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"server": "mi355x"}, "spec.server", "did you mean 'mi355x-8x'?"),
        ({"replica": 2}, "spec.replica", "unknown field 'replica'"),
        ({"variant": "deepseek-v4-flash-base"}, None, "infeasible"),
    ],
)
def test_a_pairing_that_cannot_be_rendered_leaves_the_items_and_says_why(
    spec: dict[str, Any], field: str | None, words: str, run: Run
) -> None:
    found = answer(run, resource_list(CONFIG_MAP, config=pairing(**spec)), 1)
    result = next(r for r in found["results"] if words in r["message"])
    assert found["items"] == [CONFIG_MAP]
    assert result["resourceRef"]["kind"] == "Pairing"
    assert result["file"] == {"path": "p.yaml", "index": 0}
    assert field is None or result["field"]["path"] == field


def test_a_config_map_names_the_kubernetes_version(run: Run) -> None:
    def config(minor: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "f"},
            "data": {"kubernetesVersion": minor},
        }

    old = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "d"}, "spec": {}}
    assert answer(run, resource_list(old, config=config("1.34")))["results"] == []
    assert answer(run, resource_list(old, config=config("1.33")), 1)["results"][0]["tags"]["code"] == "M002"
    assert run("fn", stdin=resource_list(old, config=config("1.2"))).code == 2


@pytest.mark.parametrize("raw", [b"", b"{}", b"a: [", b"kind: ResourceList\n---\nkind: ResourceList\n", b"[1]"])
def test_what_is_no_resource_list_is_refused_and_nothing_printed(raw: bytes, run: Run) -> None:
    ended = run("fn", stdin=raw)
    assert (ended.code, ended.out) == (2, "")
    assert "error[" in ended.err
