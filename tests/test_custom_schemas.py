"""Our schemas of custom kinds against the projects' own CustomResourceDefinitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stowplan.check.kubernetes_schema import MINORS, schemas
from stowplan.resources import folder

CRDS = Path(__file__).parent.parent.parent / "shared" / "crds"
CUSTOM = folder("schemas") / "custom"
FILES = sorted(CUSTOM.rglob("*.json"))
IDENTITY = {"apiVersion", "kind", "metadata"}

Schema = dict[str, Any]


def name_of(path: Path) -> str:
    """Spell `group/version/Kind`, the path being the identity."""
    return path.relative_to(CUSTOM).with_suffix("").as_posix()


def real_version(name: str) -> tuple[str, Schema] | None:
    """Read scope and schema of one version from the CRD, where the folder has it."""
    group, version, kind = name.split("/")
    for file in CRDS.rglob(f"{kind.lower()}s.{group}.yaml"):
        spec = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)["spec"]
        for served in spec["versions"]:
            if served["name"] == version:
                return spec["scope"], served["schema"]["openAPIV3Schema"]
    return None


def differences(ours: Schema, real: Schema, place: str, root: Schema) -> Iterator[str]:
    """Say where ours takes or demands something that the real one does not, or the reverse."""
    reference = ours.get("$ref", "")
    if reference.startswith("kubernetes:"):
        if real.get("type") != "object":
            yield f"{place}: the CRD has no object here"
        return
    if reference:
        ours = root["$defs"][reference.removeprefix("#/$defs/")]
    yield from unlike(ours, real, place)
    yield from unlike_fields(ours, real, place)
    for name, inner, other in parts(ours, real, place):
        if other is None:
            yield f"{name}: not in the CRD"
        else:
            yield from differences(inner, other, name, root)


def parts(ours: Schema, real: Schema, place: str) -> Iterator[tuple[str, Schema, Schema | None]]:
    """Pair what ours contains with what the real one has at that place."""
    for name, inner in ours.get("properties", {}).items():
        if place or name not in IDENTITY:
            yield f"{place}.{name}", inner, real.get("properties", {}).get(name)
    for keyword in ("items", "additionalProperties"):
        if isinstance(ours.get(keyword), dict):
            yield f"{place}[]", ours[keyword], real.get(keyword)


def unlike_fields(ours: Schema, real: Schema, place: str) -> Iterator[str]:
    """Compare what the two require in an object that ours describes."""
    left_out = set() if place else IDENTITY
    demanded = {*ours.get("required", ())} - left_out
    needed = {*real.get("required", ())} - left_out
    if "properties" in ours and demanded != needed:
        yield f"{place}: we require {sorted(demanded)}, the CRD {sorted(needed)}"


def unlike(ours: Schema, real: Schema, place: str) -> Iterator[str]:
    """Compare one node: its types, and that no value the CRD takes is refused."""
    types = {"integer", "string"} if real.get("x-kubernetes-int-or-string") else {real.get("type")}
    mine = ours.get("type", [])
    if not types <= ({mine} if isinstance(mine, str) else {*mine}):
        yield f"{place}: ours is {mine}, the CRD's {types}"
    if "enum" in ours and {*ours["enum"]} != {*real.get("enum", ())}:
        yield f"{place}: ours has {ours['enum']}, the CRD {real.get('enum')}"
    for lower in ("minimum", "minItems", "minLength"):
        if lower in ours and ours[lower] > real.get(lower, float("-inf")):
            yield f"{place}: {lower} {ours[lower]} is stricter than the CRD's {real.get(lower)}"
    for upper in ("maximum", "maxItems", "maxLength"):
        if upper in ours and ours[upper] < real.get(upper, float("inf")):
            yield f"{place}: {upper} {ours[upper]} is stricter than the CRD's {real.get(upper)}"


def objects(node: object) -> Iterator[Schema]:
    """Find every schema that lists properties."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_schema_agrees_with_the_real_definition(path: Path) -> None:
    if not CRDS.is_dir():
        pytest.skip("no folder with real CRDs beside the repository")
    if (found := real_version(name_of(path))) is None:
        pytest.skip(f"no CRD of {name_of(path)} in the folder")
    ours = json.loads(path.read_text(encoding="utf-8"))
    scope, real = found
    assert ours["x-stowplan-scope"] == scope
    assert list(differences(ours, real, "", ours)) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_schema_is_strict_and_named_by_its_path(path: Path) -> None:
    ours = json.loads(path.read_text(encoding="utf-8"))
    properties = ours["properties"]
    assert name_of(path) == f"{properties['apiVersion']['const']}/{properties['kind']['const']}"
    assert all(schema.get("additionalProperties") is False for schema in objects(ours))


@pytest.mark.parametrize("path", FILES, ids=name_of)
@pytest.mark.parametrize("minor", MINORS)
def test_a_schema_resolves_on_every_minor(path: Path, minor: str) -> None:
    api_version, kind = name_of(path).rsplit("/", 1)
    wrong = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "sepc": {}}
    errors = schemas(minor).validate(wrong)
    assert ("sepc",) in {error.path for error in errors if error.unknown_field}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            "nvidia.com/v1/ClusterPolicy",
            {"driver": {"rdma": {"enabled": True}, "upgradePolicy": {}}, "sandboxWorkloads": {}},
        ),
        ("amd.com/v1alpha1/DeviceConfig", {"driver": {"upgradePolicy": {}}, "metricsExporter": {"podAnnotations": {}}}),
    ],
)
def test_fields_of_an_operator_that_we_do_not_render_are_known(kind: str, spec: Schema) -> None:
    api_version, name = kind.rsplit("/", 1)
    item = {"apiVersion": api_version, "kind": name, "metadata": {"name": "a"}, "spec": {**spec, "drivers": {}}}
    unknown = [error.path for error in schemas("1.37").validate(item) if error.unknown_field]
    assert unknown == [("spec", "drivers")]
