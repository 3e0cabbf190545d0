"""Objects against the API of a Kubernetes minor version, and the data this rests on."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stowplan.check.kubernetes_schema import MINORS, SchemaError, minors_serving, schemas
from stowplan.resources import folder

ROOT = Path(__file__).parent.parent
RECORDINGS = ROOT.parent / "shared" / "cluster-recordings" / "dry-run.json"
FILES = folder("schemas") / "kubernetes"
SOURCE = json.loads((FILES / "SOURCE.json").read_text(encoding="utf-8"))
NEWEST = MINORS[-1]

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "labels": {"app": "a"}, "creationTimestamp": None},
    "spec": {
        "replicas": 1,
        "strategy": None,
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "example.invalid/engine:1.0",
                        "resources": {"limits": {"cpu": 8, "memory": "1Gi", "a.b/c": "8"}},
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
                        "startupProbe": {"tcpSocket": {"port": 8000}},
                    }
                ]
            },
        },
    },
    "status": {},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Copy the good Deployment with one field set."""
    data = copy.deepcopy(DEPLOYMENT)
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    node: Any = data
    for step in parents:
        node = node[step]
    node[last] = value
    return data


def only(data: dict[str, Any], minor: str = NEWEST) -> SchemaError:
    """Expect one error."""
    (error,) = schemas(minor).validate(data)
    return error


@pytest.mark.parametrize("minor", MINORS)
def test_a_good_deployment_passes(minor: str) -> None:
    assert schemas(minor).validate(DEPLOYMENT) == []


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    error = only(changed("spec.relicas", 3))
    assert error == SchemaError(
        ("spec", "relicas"),
        "unknown field 'relicas'",
        "did you mean 'replicas'?",
        unknown_field=True,
    )


def test_an_unknown_field_deep_in_a_list_has_its_path() -> None:
    error = only(changed("spec.template.spec.containers.0.imagePullPolice", "Always"))
    assert error.path == ("spec", "template", "spec", "containers", 0, "imagePullPolice")
    assert error.hint == "did you mean 'imagePullPolicy'?"


@pytest.mark.parametrize(
    ("path", "value", "message", "hint"),
    [
        (
            "spec.replicas",
            "3",
            "expected a whole number, got the text '3'",
            "write it without quotes: 3",
        ),
        (
            "metadata.labels.app",
            True,
            "expected text, got true",
            'put it in quotes: "true"',
        ),
        ("spec.paused", "no", "expected true or false, got the text 'no'", ""),
        ("spec.template", [], "expected a mapping, got a list", ""),
        ("spec.selector", None, "expected a mapping, got nothing (null)", ""),
        ("spec.replicas", 2**31, "expected at most 2147483647, got 2147483648", ""),
        (
            "spec.template.spec.containers.0.startupProbe.tcpSocket.port",
            1.5,
            "expected a whole number or text, got the number 1.5",
            'put it in quotes: "1.5"',
        ),
    ],
)
def test_a_wrong_value_is_said_in_words(path: str, value: object, message: str, hint: str) -> None:
    error = only(changed(path, value))
    assert (error.message, error.hint) == (message, hint)
    assert error.path == tuple(path.split(".")[:4]) or "containers" in error.path


def test_a_missing_field_is_reported_at_its_parent() -> None:
    data = copy.deepcopy(DEPLOYMENT)
    del data["spec"]["selector"]
    assert only(data) == SchemaError(("spec",), "the field 'selector' is missing")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replicas", None),
        ("spec.template.spec.containers.0.env", None),
        ("spec.template.spec.containers.0.resources", None),
        ("spec.template.spec.containers.0.resources.limits.cpu", 0.5),
        ("spec.strategy", {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}),
        (
            "spec.template.spec.containers.0.readinessProbe.httpGet.httpHeaders",
            [{"name": "X-Empty"}],
        ),
        ("spec.template.spec.volumes", [{"name": "v", "emptyDir": {}}]),
    ],
)
def test_what_the_api_server_takes_passes(path: str, value: object) -> None:
    assert schemas(NEWEST).validate(changed(path, value)) == []


def test_a_secret_holds_base64() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"key": "c3Rvdw=="}}
    assert schemas(NEWEST).validate(secret) == []
    wrong = {**secret, "data": {"key": "not base64"}}
    assert only(wrong).message == "expected base64 text, got the text 'not base64'"


def test_raw_json_is_open() -> None:
    parameters = {"any": [1, {"thing": None}]}
    config = [{"opaque": {"driver": "a.b", "parameters": parameters}}]
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "spec": {"devices": {"config": config}},
    }
    assert schemas(NEWEST).validate(claim) == []


@pytest.mark.parametrize("minor", MINORS)
def test_what_newer_minors_made_optional_was_never_needed(minor: str) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "roleRef": {"kind": "Role", "name": "a"},
    }
    assert schemas(minor).validate(policy) == schemas(minor).validate(binding) == []


def test_dynamic_resource_allocation_is_stable_from_1_34() -> None:
    assert minors_serving("resource.k8s.io/v1", "ResourceClaim") == MINORS[1:]
    assert schemas("1.33").stability("resource.k8s.io/v1beta1", "ResourceClaim") == "beta"


def test_kinds_are_told_apart_by_stability_and_scope() -> None:
    newest = schemas(NEWEST)
    assert newest.stability("apps/v1", "Deployment") == "ga"
    assert newest.stability("resource.k8s.io/v1alpha3", "DeviceTaintRule") == "alpha"
    assert newest.stability("keda.sh/v1alpha1", "ScaledObject") == "custom"
    assert newest.stability("apps/v2", "Deployment") is None
    assert newest.scope("v1", "Node") == "Cluster"
    assert newest.scope("v1", "Pod") == "Namespaced"
    assert newest.scope("kustomize.config.k8s.io/v1beta1", "Kustomization") is None


@pytest.mark.parametrize("kind", ["DeploymentList", "DeleteOptions", "Scale"])
def test_what_nobody_applies_is_not_served(kind: str) -> None:
    assert not any(schemas(NEWEST).serves(version, kind) for version in ("v1", "apps/v1", "autoscaling/v1"))


@pytest.mark.parametrize(
    ("api_version", "expected"),
    [
        ("v1", True),
        ("apps/v2", True),
        ("extensions/v1beta1", True),
        ("keda.sh/v1alpha1", False),
        ("v1beta", True),
        ("a/b/c", True),
        ("Apps/v1", True),
    ],
)
def test_what_only_kubernetes_could_serve(api_version: str, expected: bool) -> None:
    assert schemas("1.33").is_impossible(api_version) is expected


def test_a_value_that_json_lacks_is_an_error_not_a_crash() -> None:
    assert "cannot be written as JSON" in only(changed("metadata.labels", {1: "a"})).message


def test_an_unsupported_minor_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"Kubernetes 1\.2 is not among 1\.33"):
        schemas("1.2")


def test_a_template_of_a_custom_kind_follows_the_chosen_minor() -> None:
    template = {"spec": {"containers": [{"name": "a", "imag": "b"}]}}
    group = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
    }
    assert only(group).hint == "did you mean 'image'?"


def test_a_form_is_explained_in_words() -> None:
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "spec": {"groups": [{"name": "a", "rules": [{"alert": "B", "expr": "1", "for": "5 min"}]}]},
    }
    expected = "expected a duration such as 30s or 1h30m, got the text '5 min'"
    assert only(rule).message == expected


def test_only_the_minor_in_use_is_read_and_no_validator_is_imported() -> None:
    code = (
        "import sys; from stowplan.check import kubernetes_schema as k; k.schemas('1.36');"
        "print(k.schemas.cache_info().currsize, 'jsonschema_rs' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.split() == ["1", "False"]


@pytest.mark.skipif(not RECORDINGS.is_file(), reason="no recordings of an API server here")
def test_what_a_real_api_server_accepted_passes() -> None:
    for exchange in json.loads(RECORDINGS.read_text(encoding="utf-8")):
        if exchange["response"]["status"] not in (200, 201):
            continue
        for body in (exchange["request"]["body"], exchange["response"]["body"]):
            if body and schemas("1.36").serves(body.get("apiVersion", ""), body.get("kind", "")):
                assert schemas("1.36").validate(body) == [], exchange["note"]


@pytest.mark.parametrize("minor", MINORS)
def test_the_committed_schemas_have_the_recorded_digest(minor: str) -> None:
    content = gzip.decompress((FILES / f"{minor}.json.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == SOURCE["minors"][minor]["output"]


def test_the_committed_schemas_are_what_the_script_makes() -> None:
    wheel = os.environ.get("STOWPLAN_KUBERNETES_VALIDATE_WHEEL")
    if not wheel and os.environ.get("STOWPLAN_NETWORK_TESTS") != "1":
        pytest.skip("set STOWPLAN_KUBERNETES_VALIDATE_WHEEL or STOWPLAN_NETWORK_TESTS=1")
    script = ROOT / "scripts" / "kubernetes_schemas.py"
    command = [sys.executable, str(script), "--check", *(["--wheel", wheel] if wheel else [])]
    run = subprocess.run(command, capture_output=True, check=False, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
