"""Admission and bundle checks: value syntax, mutations of a realistic workload, and any shape of YAML."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stowplan.check.admission import _syntax as syntax
from stowplan.check.admission.jobs import schedule_problem
from stowplan.check.admission.workloads import selects
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

BASE = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: v4-flash
  namespace: serving
  labels: {app.kubernetes.io/name: v4-flash}
spec:
  replicas: 2
  minReadySeconds: 10
  progressDeadlineSeconds: 3600
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 0, maxUnavailable: 25%}
  selector:
    matchLabels: {app.kubernetes.io/name: v4-flash}
  template:
    metadata:
      labels: {app.kubernetes.io/name: v4-flash}
      annotations: {example.com/Checkpoint: any text at all}
    spec:
      terminationGracePeriodSeconds: 120
      nodeSelector: {accelerator: huawei-Ascend910}
      tolerations:
        - {key: huawei.com/Ascend910, operator: Exists, effect: NoSchedule}
      securityContext: {fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector: {matchLabels: {app.kubernetes.io/name: v4-flash}}
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway}
      initContainers:
        - name: fetch
          image: registry.example/fetch:1.0
          restartPolicy: Always
          startupProbe: {exec: {command: ["true"]}}
      containers:
        - name: engine
          image: registry.example/engine:1.0
          command: [serve]
          ports:
            - {name: http, containerPort: 8000}
            - {name: metrics, containerPort: 9090, protocol: TCP}
          env:
            - {name: HCCL_BUFFSIZE, value: "200"}
            - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
          resources:
            requests: {cpu: 8, memory: 64Gi, huawei.com/Ascend910: 16}
            limits: {cpu: "16", memory: 1.5e11, huawei.com/Ascend910: 16}
          startupProbe: {httpGet: {path: /health, port: http}, failureThreshold: 120}
          livenessProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 10}
          lifecycle: {preStop: {sleep: {seconds: 20}}}
          securityContext: {allowPrivilegeEscalation: false}
          volumeMounts:
            - {name: shm, mountPath: /dev/shm}
            - {name: driver, mountPath: /usr/local/driver, subPath: lib64, readOnly: true}
      volumes:
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 64Gi}}
        - {name: driver, hostPath: {path: /usr/local/Ascend, type: Directory}}
"""

Path = tuple[Any, ...]
POD: Path = ("spec", "template", "spec")
ENGINE: Path = (*POD, "containers", 0)


def findings(document: object, minor: str = "1.37") -> list[Diagnostic]:
    text = document if isinstance(document, str) else yaml.safe_dump_all([document])
    return check_bundle(read_bytes(text.encode(), "file.yaml", scalar=kubernetes_scalar), minor)


def errors(document: object, minor: str = "1.37") -> list[Diagnostic]:
    return [d for d in findings(document, minor) if d.severity == "error" and d.level != "domain"]


def base() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(BASE)
    return document


def changed(path: Path, value: object) -> dict[str, Any]:
    document = base()
    node: Any = document
    for step in path[:-1]:
        node = node[step]
    if path[-1] == "+":
        node.append(value)
    elif value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


@pytest.mark.parametrize("minor", ["1.33", "1.34", "1.35", "1.36", "1.37"])
def test_base_has_no_error(minor: str) -> None:
    assert errors(BASE, minor) == []


HTTP = {"httpGet": {"port": 8000}}
WRONG: list[tuple[Path, object, str]] = [
    (("metadata", "name"), "v4_flash", "M101"),
    (("metadata", "namespace"), "None", "M106"),
    (("metadata", "labels", "a b"), "x", "M110"),
    (("metadata", "labels", "a"), "x" * 64, "M111"),
    ((*POD, "nodeSelector", "a"), "b c", "M115"),
    ((*POD, "tolerations", 0, "value"), "true", "M116"),
    ((*POD, "tolerations", 0, "tolerationSeconds"), 5, "M116"),
    ((*POD, "restartPolicy"), "Never", "M176"),
    ((*POD, "dnsPolicy"), "clusterfirst", "M100"),
    ((*POD, "volumes", 1, "hostPath", "type"), "Dir", "M100"),
    ((*POD, "volumes", 1, "hostPath", "path"), "/a/../b", "M142"),
    ((*POD, "volumes", 1, "name"), "shm", "M140"),
    ((*POD, "volumes", 0, "nfs"), {"server": "nas", "path": "/a"}, "M141"),
    ((*POD, "volumes", 0, "emptyDir", "sizeLimit"), "64GB", "M004"),
    ((*POD, "terminationGracePeriodSeconds"), 10, "M155"),
    ((*POD, "initContainers", 0, "restartPolicy"), None, "M156"),
    ((*POD, "initContainers", 0, "name"), "engine", "M108"),
    ((*POD, "serviceAccountName"), "A b", "M109"),
    ((*ENGINE, "name"), "Engine", "M107"),
    ((*ENGINE, "imagePullPolicy"), "always", "M100"),
    ((*ENGINE, "ports", 0, "containerPort"), 0, "M130"),
    ((*ENGINE, "ports", 0, "name"), "x" * 16, "M131"),
    ((*ENGINE, "ports", 1, "name"), "http", "M132"),
    ((*ENGINE, "ports", 1, "protocol"), "tcp", "M100"),
    ((*ENGINE, "env", 0, "name"), "A=B", "M136"),
    ((*ENGINE, "env", 1, "value"), "10.0.0.1", "M137"),
    ((*ENGINE, "env", 1, "valueFrom", "fieldRef", "fieldPath"), "status.ip", "M137"),
    ((*ENGINE, "env", 2, "valueFrom", "resourceFieldRef", "resource"), "limits.gpu", "M137"),
    ((*ENGINE, "resources", "limits", "cpu"), "4", "M124"),
    ((*ENGINE, "resources", "limits", "memory"), "64 Gi", "M004"),
    ((*ENGINE, "resources", "limits", "huawei.com/Ascend910"), 8, "M125"),
    ((*ENGINE, "resources", "limits", "huawei.com/Ascend910"), None, "M125"),
    ((*ENGINE, "resources", "limits", "huawei.com/Ascend910"), "15500m", "M123"),
    ((*ENGINE, "resources", "limits", "gpu"), 1, "M122"),
    ((*ENGINE, "startupProbe", "httpGet", "port"), "8000", "M154"),
    ((*ENGINE, "startupProbe", "exec"), {"command": ["x"]}, "M150"),
    ((*ENGINE, "startupProbe", "successThreshold"), 2, "M152"),
    ((*ENGINE, "readinessProbe"), HTTP | {"terminationGracePeriodSeconds": 3}, "M153"),
    ((*ENGINE, "livenessProbe", "periodSeconds"), -1, "M151"),
    ((*ENGINE, "securityContext", "privileged"), True, "M160"),
    ((*ENGINE, "volumeMounts", 0, "name"), "shmm", "M146"),
    ((*ENGINE, "volumeMounts", 0, "mountPath"), "/usr/local/driver", "M147"),
    ((*ENGINE, "volumeMounts", 1, "subPath"), "/lib", "M148"),
    ((*ENGINE, "volumeMounts", 1, "mountPropagation"), "Bidirectional", "M149"),
    (("spec", "selector", "matchLabels", "app.kubernetes.io/name"), "v4", "M171"),
    (("spec", "strategy", "rollingUpdate", "maxUnavailable"), "0%", "M172"),
    (("spec", "strategy", "rollingUpdate", "maxUnavailable"), "101%", "M172"),
    (("spec", "strategy", "type"), "Recreate", "M172"),
    (("spec", "strategy", "type"), "Rolling", "M119"),
    (("spec", "progressDeadlineSeconds"), 10, "M175"),
    (("spec", "replicas"), -1, "M175"),
]


@pytest.mark.parametrize(("path", "value", "code"), WRONG, ids=str)
def test_a_wrong_change_is_found(path: Path, value: object, code: str) -> None:
    found = errors(changed(path, value))
    assert code in {d.code for d in found}
    assert all(d.location and d.location.line and d.location.line > 1 for d in found)


LEGAL: list[tuple[Path, object]] = [
    (("metadata", "name"), "v4.flash-0"),
    (("metadata", "labels", "a"), ""),
    (("metadata", "annotations"), {"Example.COM/a": "any\ntext"}),
    ((*POD, "tolerations"), [{"operator": "Exists"}]),
    ((*POD, "tolerations"), [{"key": "a", "value": "b"}]),
    ((*POD, "hostNetwork"), True),
    ((*POD, "volumes", 0), {"name": "shm"}),
    ((*POD, "restartPolicy"), ""),
    ((*ENGINE, "imagePullPolicy"), ""),
    ((*ENGINE, "ports", 0, "hostPort"), 0),
    ((*ENGINE, "env", 0, "name"), "a.b c-1"),
    ((*ENGINE, "env", 1, "valueFrom", "fieldRef", "fieldPath"), "metadata.labels['a/b']"),
    ((*ENGINE, "resources", "limits", "huawei.com/Ascend910"), "16000m"),
    ((*ENGINE, "resources", "requests"), None),
    ((*ENGINE, "resources", "requests", "huawei.com/Ascend910"), None),
    ((*ENGINE, "startupProbe", "httpGet"), {"port": 8000}),
    ((*ENGINE, "startupProbe", "successThreshold"), 0),
    ((*ENGINE, "readinessProbe"), HTTP | {"successThreshold": 3}),
    ((*ENGINE, "volumeMounts", 0, "mountPath"), "relative:path"),
    (("spec", "strategy"), {"type": "Recreate"}),
    (("spec", "strategy", "rollingUpdate"), {"maxSurge": "200%", "maxUnavailable": 0}),
    (("spec", "progressDeadlineSeconds"), 11),
    (("spec", "replicas"), 0),
]


@pytest.mark.parametrize(("path", "value"), LEGAL, ids=str)
def test_a_legal_change_is_not_found(path: Path, value: object) -> None:
    assert errors(changed(path, value)) == []


def paths(node: object, path: Path = ()) -> Iterator[Path]:
    yield path
    children: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from paths(child, (*path, key))


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SEEDS = [base(), *yaml.safe_load_all((ROOT / "tests" / "verdicts" / "manifests.yaml").read_text(encoding="utf-8"))]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_shape_of_yaml_raises(data: st.DataObject) -> None:
    documents = [copy.deepcopy(data.draw(st.sampled_from(SEEDS))) for _ in range(2)]
    for document in documents:
        for _ in range(3):
            path = data.draw(st.sampled_from(list(paths(document))[1:]))
            node: Any = document
            for step in path[:-1]:
                node = node[step]
            node[path[-1]] = data.draw(JSON)
    text = yaml.safe_dump_all(documents, allow_unicode=False)
    for diagnostic in check_bundle(read_bytes(text.encode(), "file.yaml", scalar=kubernetes_scalar), "1.37"):
        assert diagnostic.location


LABEL = st.from_regex(re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII), fullmatch=True)
NAME = st.from_regex(re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII), fullmatch=True)


@given(LABEL)
def test_labels_are_labels_subdomains_and_values(value: str) -> None:
    assert not syntax.dns_label(value)
    assert not syntax.dns_subdomain(value)
    assert not syntax.label_value(value)
    assert bool(syntax.dns_label_1035(value)) == value[0].isdigit()


@given(LABEL, st.sampled_from([*string.ascii_uppercase, *"_ /:\n.é"]), st.data())
def test_a_foreign_character_is_found(value: str, character: str, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(value)))
    assert syntax.dns_label(value[:index] + character + value[index:])


@given(LABEL, NAME)
def test_qualified_names(prefix: str, name: str) -> None:
    assert not syntax.qualified_name(name)
    assert not syntax.qualified_name(f"{prefix}/{name}")
    assert syntax.qualified_name(f"{prefix}/{name}/{name}")
    assert syntax.qualified_name(f"/{name}")
    assert syntax.qualified_name(f"{prefix}/")
    assert syntax.qualified_name(f"{name}-")


@given(st.integers(64, 400))
def test_long_names(length: int) -> None:
    assert syntax.dns_label("a" * length)
    assert syntax.label_value("a" * length)
    assert bool(syntax.dns_subdomain("a" * length)) == (length > 253)


@given(st.integers())
def test_ports(number: int) -> None:
    assert bool(syntax.port_number_or_name(number)) == (not 1 <= number <= 65535)
    assert syntax.port_number_or_name(str(abs(number)))


@pytest.mark.parametrize("name", ["a", "http", "8080-tcp", "a" * 15])
def test_port_names(name: str) -> None:
    assert not syntax.port_name(name)


@pytest.mark.parametrize("name", ["", "a" * 16, "80", "a--b", "-a", "a-", "A", "a.b", "a\n"])
def test_wrong_port_names(name: str) -> None:
    assert syntax.port_name(name)


@given(
    st.integers(0, 10**9),
    st.sampled_from(
        [
            "",
            "n",
            "u",
            "m",
            "k",
            "M",
            "G",
            "T",
            "P",
            "E",
            "Ki",
            "Mi",
            "Gi",
            "Ti",
            "Pi",
            "Ei",
            "e3",
            "E-2",
        ]
    ),
)
def test_quantities(number: int, suffix: str) -> None:
    value = syntax.quantity(f"{number}{suffix}")
    assert value is not None
    assert value == syntax.quantity(f"+{number}.0{suffix}")
    assert syntax.quantity(f"-{number}{suffix}") == -value


@pytest.mark.parametrize("text", ["", "1GB", "1 Gi", "1gi", "1K", "1.1.1", "ten", "1e", "1Gi ", "0x10", "1,5"])
def test_no_quantities(text: str) -> None:
    assert syntax.quantity(text) is None


def test_huge_exponents_cost_nothing() -> None:
    assert syntax.quantity("1e999999999") is not None
    assert syntax.quantity("9" * 100_000) is None


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.1.2.3/8", "010.0.0.0/8", "::/0", "fd00::1/64", "0.0.0.0/0"])
def test_blocks_of_addresses(text: str) -> None:
    assert syntax.ip_network(text)


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "a/8", "10.0.0.0/-1", "10.0.0.0/"])
def test_no_blocks_of_addresses(text: str) -> None:
    assert syntax.ip_network(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "*/5 0-23/2 1,15 jan-MAR sun",
        "@daily",
        "@every 1h30m",
        "0 3 ? * 6",
        "5/15 * * * *",
    ],
)
def test_schedules(text: str) -> None:
    assert not schedule_problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * * * 7",
        "*/0 * * * *",
        "5-1 * * * *",
        "@often",
        "TZ=UTC * * * * *",
    ],
)
def test_no_schedules(text: str) -> None:
    assert schedule_problem(text)


def test_selectors() -> None:
    labels = {"a": "1", "b": "2"}
    assert selects({"matchLabels": {"a": "1"}}, labels)
    assert selects({}, labels)
    assert selects({"matchLabels": {"c": ""}}, labels) is False
    assert selects({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, labels) is False
    assert selects({"matchExpressions": [{"key": "c", "operator": "DoesNotExist"}]}, labels)
    assert selects({"matchExpressions": [{"key": "c", "operator": "What"}]}, labels) is None


def test_another_group_s_kind_of_the_same_name_is_left_alone() -> None:
    text = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: {template: {}}\n"
    assert errors(text) == []


def test_service_names_by_minor() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: 4-flash}\nspec: {ports: [{port: 80}]}\n"
    assert [d.code for d in errors(text, "1.34")] == ["M101"]
    assert errors(text, "1.37") == []


GROUP = """
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: v4-pro}
spec:
  leaderWorkerTemplate:
    size: 2
    workerTemplate:
      metadata: {labels: {role: worker}}
      spec: {containers: [{name: engine, image: registry.example/engine:1.0, resources: {limits: {nvidia.com/gpu: 1.5}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: v4-pro}
spec:
  clusterIP: None
  selector: {leaderworkerset.sigs.k8s.io/name: v4-pro}
"""


def test_pods_of_a_leader_worker_set_are_checked_and_found_by_controller_labels() -> None:
    codes = [d.code for d in findings(GROUP) if d.level in ("admission", "bundle")]
    assert codes == ["M123"]


def test_a_custom_kind_may_make_the_pods_of_a_service() -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n"
    custom = "apiVersion: example.com/v1\nkind: Engine\nmetadata: {name: a}\n"
    assert "M207" in {d.code for d in findings(service)}
    assert "M207" not in {d.code for d in findings(f"{service}---\n{custom}")}
