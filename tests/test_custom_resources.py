"""Objects of custom kinds against their CustomResourceDefinitions: schema, defaults, lists, versions and rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Files, Run

from stowplan.check.custom_resources.definitions import Definitions
from stowplan.check.custom_resources.rules import _library, broken_rules
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

CRDS = Path(__file__).parent.parent.parent / "shared" / "crds"
REAL = pytest.mark.skipif(not CRDS.is_dir(), reason="no ../shared/crds: real definitions are not at hand")

SPEC = """
type: object
required: [replicas]
x-kubernetes-validations:
  - {rule: "!has(self.most) || self.replicas <= self.most", messageExpression: "'at most ' + string(self.most)", fieldPath: .replicas}
  - {rule: self.name == oldSelf.name, message: the name is fixed}
  - {rule: "oldSelf.hasValue() || self.level != 'old'", optionalOldSelf: true, message: no new object is old}
  - {rule: "quantity(self.size).isLessThan(quantity('10Gi'))", message: too large}
  - {rule: "format.dns1123Label().validate(self.name).hasValue()"}
properties:
  replicas: {type: integer, format: int32, minimum: 0, maximum: 9, exclusiveMaximum: true}
  most: {type: integer}
  size: {type: string, default: 1Gi}
  level: {type: string, enum: [new, old], default: new}
  name: {type: string, pattern: "^[a-z]+$", default: a}
  note: {type: string, nullable: true}
  port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
  free: {type: object, x-kubernetes-preserve-unknown-fields: true}
  anything: {x-kubernetes-preserve-unknown-fields: true}
  named: {type: object, additionalProperties: true}
  half:
    type: array
    x-kubernetes-preserve-unknown-fields: true
    items: {type: object, properties: {known: {type: object, properties: {a: {type: string}}}}}
  template: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
  every: {type: string, format: duration}
  empty: {type: object}
  tags: {type: array, items: {type: string}, x-kubernetes-list-type: set}
  doors:
    type: array
    x-kubernetes-list-type: map
    x-kubernetes-list-map-keys: [port, protocol]
    items:
      type: object
      required: [port]
      x-kubernetes-validations: [{rule: "self.port != 1 || self.__in__ == 'x'", reason: FieldValueInvalid}]
      properties: {port: {type: integer}, protocol: {type: string, default: TCP}, in: {type: string}}
"""
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": name,
                "served": name != "v1alpha1",
                "storage": name == "v1",
                "deprecated": name == "v1beta1",
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": yaml.safe_load(SPEC),
                            "status": {
                                "type": "object",
                                "required": ["ready"],
                                "properties": {"ready": {"type": "boolean"}},
                            },
                        },
                    }
                },
            }
            for name in ("v1", "v1beta1", "v1alpha1")
        ],
    },
}


def judged(spec: str, version: str = "v1", more: str = "") -> list[Diagnostic]:
    """Findings on one object that is applied together with its definition; what the library lacks is left out."""
    text = f"{json.dumps(CRD)}\n---\napiVersion: example.com/{version}\nkind: Widget\nmetadata: {{name: w, namespace: a}}\n{more}spec: {spec}\n"
    found = check_bundle(list(read_bytes(text.encode(), "w.yaml", scalar=kubernetes_scalar)), "1.36")
    return [d for d in found if d.severity != "unchecked"]


@pytest.mark.parametrize(
    "spec",
    [
        "{replicas: 1}",
        "{replicas: 1, most: 2, size: 2Gi, level: null, note: null}",  # null of a field that takes none is dropped, then defaulted
        "{replicas: 8, port: http, free: {a: {b: 1}}, every: 1h30m}",
        "{replicas: 1, anything: [{a: {b: 1}}], named: {a: 1}, half: [{a: {b: 1}, known: {a: b}}]}",
        "{replicas: 1, port: 80, template: {apiVersion: v1, kind: Pod, metadata: {name: x}, anything: 1}}",
        "{replicas: 1, tags: [a, b], doors: [{port: 80}, {port: 80, protocol: UDP}]}",
        "{replicas: 1, doors: [{port: 1, in: x}]}",
    ],
)
def test_what_the_server_takes_is_taken(spec: str) -> None:
    assert judged(spec) == []


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ("{replicas: 1, replica: 2}", "M004", "unknown field 'replica'"),
        ("{replicas: 1, empty: {a: 1}}", "M004", "unknown field 'a'"),
        ("{replicas: 1, named: {a: {b: 1}}}", "M004", "unknown field 'b'"),
        ("{replicas: 1, half: [{known: {b: 1}}]}", "M004", "unknown field 'b'"),
        ("{replicas: 1, doors: [{port: 80, name: x}]}", "M004", "unknown field 'name'"),
        ("{most: 1}", "M004", "the field 'replicas' is missing"),
        ("{replicas: null}", "M004", "the field 'replicas' is missing"),
        ("{replicas: 9}", "M004", "exclusiveMaximum"),
        ("{replicas: 1, level: older}", "M004", "expected one of 'new', 'old'"),
        ("{replicas: 1, name: A}", "M004", "expected ^[a-z]+$"),
        ("{replicas: 1, port: 1.5}", "M004", "expected a whole number or text"),
        ("{replicas: 1, every: soon}", "M004", "expected duration"),
        ("{replicas: 1, template: {metadata: {name: x}}}", "M004", "the field 'kind' is missing"),
        ("{replicas: 1, template: {apiVersion: v1, kind: Pod, metadata: {nam: x}}}", "M004", "unknown field 'nam'"),
        ("{replicas: 1, tags: [a, b, a]}", "M004", 'repeats the entry "a"'),
        ("{replicas: 1, doors: [{port: 80}, {port: 80, protocol: TCP}]}", "M004", "repeats the entry"),
        ("{replicas: 3, most: 2}", "M006", "at most 2"),
        ("{replicas: 1, level: old}", "M006", "no new object is old"),
        ("{replicas: 1, size: 20Gi}", "M006", "too large"),
        ("{replicas: 1, size: many}", "M006", "'many' is not a quantity"),
        ("{replicas: 1, doors: [{port: 1, in: w}]}", "M006", 'breaks the rule "self.port != 1'),
        ("{replicas: 1, doors: [{port: 1}]}", "M006", "Key not found"),
    ],
)
def test_what_the_server_refuses_is_found(spec: str, code: str, message: str) -> None:
    found = [d for d in judged(spec) if d.severity == "error"]
    assert [d.code for d in found] == [code] * len(found)
    assert any(message in d.message for d in found), found


def test_a_finding_stands_at_the_place_that_the_rule_names() -> None:
    text = f"{json.dumps(CRD)}\n---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: w}}\nspec:\n  most: 2\n  replicas: 3\n"
    found = check_bundle(list(read_bytes(text.encode(), "w.yaml", scalar=kubernetes_scalar)), "1.36")
    (rule,) = [d for d in found if d.code == "M006"]
    assert rule.location
    assert rule.location.text.strip() == "replicas: 3"


def test_versions_are_refused_by_name() -> None:
    for version, told in (("v1alpha1", "does not serve"), ("v2", "does not have")):
        (found,) = judged("{replicas: 1}", version)
        assert (found.code, told in found.message, found.hint) == (
            "M002",
            True,
            "it serves example.com/v1, example.com/v1beta1",
        )
    (found,) = judged("{replicas: 1}", "v1beta1")
    assert (found.code, found.severity) == ("M005", "warning")


def test_the_status_of_a_new_object_is_dropped_but_its_fields_are_known() -> None:
    assert judged("{replicas: 1}", more="status: {}\n") == []
    assert [d.code for d in judged("{replicas: 1}", more="status: {read: 1}\n")] == ["M004"]


def test_a_rule_that_the_library_cannot_evaluate_is_unchecked() -> None:
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    broken = list(broken_rules({"spec": {"replicas": 1, "name": "a", "size": "1Gi", "level": "new"}}, schema))
    assert [b.unchecked for b in broken] == [True]
    assert "undeclared reference to 'format'" in broken[0].message


@pytest.mark.parametrize(
    "expression",
    [
        "quantity('1Gi') == quantity('1024Mi') && quantity('1.5').add(1).sub(quantity('500m')).asInteger() == 2",
        "quantity('-1').sign() == -1 && !isQuantity('1 Gi') && quantity('3k').compareTo(quantity('3000')) == 0",
        "isIP('::1') && !isIP('010.0.0.1') && ip('127.0.0.1').isLoopback() && ip('10.0.0.1').isGlobalUnicast() && ip('::1').family() == 6",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').containsIP('10.9.9.9') && !isCIDR('10.0.0.0')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.0.0.0/8').prefixLength() == 8 && ip.isCanonical('::1')",
        "url('https://h:80/a?k=v').getHost() == 'h:80' && url('https://h:80/a').getPort() == '80' && url('/a').getScheme() == ''",
        "url('https://h/a?k=v').getQuery()['k'] == ['v'] && !isURL('h') && url('https://[::1]:1').getHostname() == '::1'",
        "'ab12'.find('([a-z])([0-9]+)') == 'b12' && 'a1b2'.findAll('[0-9]') == ['1', '2'] && 'a1b2'.findAll('[0-9]', 1) == ['1']",
        "[1, 2, 2].isSorted() && ![2, 1].isSorted() && [1, 2].sum() == 3 && [1, 3].max() == 3 && [1, 3].min() == 1",
        "semver('1.2.3-rc.2').isLessThan(semver('1.2.3-rc.10')) && semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1'))",
        "isSemver('1.2.3') && !isSemver('v1.2') && semver('1.2.3').minor() == 2",
        "sets.contains([1, 2], [1]) && [1, 2].all(i, v, i < v) && self.?missing.orValue('x') == 'x'",
    ],
)
def test_the_functions_of_kubernetes(expression: str) -> None:
    assert _library().evaluate(expression, {}, with_old=False) is True


def test_folders_are_read_only_where_a_document_needs_them(run: Run, write_files: Files) -> None:
    root = write_files(
        {
            "crds/widget.yaml": yaml.safe_dump(CRD),
            "crds/broken.yaml": "a: [",
            "good.yaml": "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {replicas: 3, most: 2}\n",
            "other.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\n",
            "unknown.yaml": "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: w}\n",
        }
    )
    assert run("check", root / "good.yaml", "--crds", root / "crds").code == 1
    assert run("check", root / "good.yaml").code == 0
    assert run("check", root / "other.yaml", "--crds", root / "crds").code == 0
    assert run("check", root / "other.yaml", "--crds", root / "missing").code == 2
    assert run("check", root / "unknown.yaml", "--crds", root / "crds").code == 0
    strict = run("check", root / "unknown.yaml", "--strict")
    assert (strict.code, "M003" in strict.out, "--crds" in strict.out) == (1, True, True)


@REAL
def test_every_rule_of_real_definitions_compiles_or_is_told() -> None:
    cannot = set()
    for file in sorted(CRDS.rglob("*.yaml")):
        for rule in _rules_in(yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)):
            try:
                _library().evaluate(rule["rule"], {}, with_old=rule.get("optionalOldSelf", False))
            except ValueError:
                pass  # compiled, and fails on the empty object
            except Exception as reason:  # noqa: BLE001
                if "undeclared" in str(reason) or "Syntax" in str(reason):
                    cannot.add(rule["rule"])
    assert {c for c in cannot if "format.dns1123Label" not in c} == set()


def _rules_in(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [rule for item in node for rule in _rules_in(item)]
    if not isinstance(node, dict):
        return []
    own = node.get("x-kubernetes-validations")
    inner = [rule for key, item in node.items() if key != "x-kubernetes-validations" for rule in _rules_in(item)]
    return [*own, *inner] if isinstance(own, list) else inner


ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  rules:
    - matches: [{path: {type: PathPrefix, value: /v1}}]
      timeouts: {request: 10s, backendRequest: 5s}
      backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p}]
"""
GROUP = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: g}
spec:
  replicas: 1
  leaderWorkerTemplate:
    size: 2
    workerTemplate: {spec: {containers: [{name: a, image: "a:1"}]}}
"""
SCALED = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: s}
spec:
  minReplicaCount: 1
  maxReplicaCount: 3
  scaleTargetRef: {name: d}
  triggers: [{type: prometheus, metadata: {query: up, threshold: "1"}}]
"""


@REAL
@pytest.mark.parametrize(
    ("text", "old", "new", "code"),
    [
        (ROUTE, "/v1}", "v1}", "M006"),
        (ROUTE, "/v1}", "/a//b}", "M006"),
        (ROUTE, "backendRequest: 5s", "backendRequest: 20s", "M006"),
        (ROUTE, "10s", "ten", "M004"),
        (ROUTE, "group: inference.networking.k8s.io, kind: InferencePool", "kind: Service", "M006"),
        (ROUTE, "PathPrefix", "Prefix", "M004"),
        (ROUTE, "k8s.io/v1\n", "k8s.io/v1alpha2\n", "M002"),
        (GROUP, "size: 2", "sizes: 2", "M004"),
        (GROUP, "size: 2", 'size: "2"', "M004"),
        (GROUP, "containers: [{name: a,", "containers: [{nam: a,", "M004"),
        (SCALED, "minReplicaCount: 1", "minReplicaCount: 5", "M006"),
        (SCALED, "scaleTargetRef: {name: d}", "scaleTargetRef: {}", "M004"),
    ],
)
def test_real_definitions_judge_changed_objects(text: str, old: str, new: str, code: str) -> None:
    crds = Definitions([CRDS])

    def errors(given: str) -> set[str]:
        found = check_bundle(list(read_bytes(given.encode(), "x.yaml", scalar=kubernetes_scalar)), "1.36", crds=crds)
        return {d.code for d in found if d.level == "schema"}

    assert errors(text) == set()
    assert old in text
    assert code in errors(text.replace(old, new))
