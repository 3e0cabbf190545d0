"""The verdicts of a real API server (1.36.2, strict dry run) on changed manifests, as recorded; benchmarks/verdicts.py records them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

FOLDER = Path(__file__).parent / "verdicts"
MANIFESTS = list(yaml.safe_load_all((FOLDER / "manifests.yaml").read_text(encoding="utf-8")))
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LEVELS = ("syntax", "schema", "admission")
KNOWN = [
    ("ConfigMap", ["binaryData", "blob.bin"], "numbers in a list are read as bytes"),
    ("PersistentVolumeClaim", ["spec", "dataSource"], "an empty data source is dropped before it is validated"),
    ("Secret", ["apiVersion"], "any group with a dot may be that of a custom kind"),
]
"""Verdicts that are known to differ, and why."""


def refusals(text: str) -> list[str]:
    try:
        found = check_bundle(read_bytes(text.encode(), "file.yaml", scalar=kubernetes_scalar), "1.36")
    except Refused as refused:
        found = list(refused.report)
    return [d.code for d in found if d.severity == "error" and d.level in LEVELS]


def changed(base: int, path: list[Any], value: list[Any]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(MANIFESTS[base])
    node: Any = document
    for step in path[:-1]:
        node = node[step]
    if not value:
        del node[path[-1]]
    elif isinstance(node, list) and path[-1] == len(node):
        node.append(value[0])
    else:
        node[path[-1]] = value[0]
    return document


def test_the_manifests_are_right() -> None:
    assert [d["metadata"] for d in MANIFESTS if refusals(yaml.dump(d, Dumper=DUMPER))] == []


def test_changes_are_judged_as_the_api_server_judged_them() -> None:
    differ = []
    for base, path, value, refused in json.loads((FOLDER / "changes.json").read_text(encoding="utf-8")):
        said = refusals(yaml.dump(changed(base, path, value), Dumper=DUMPER))
        if bool(said) != bool(refused):
            differ.append((MANIFESTS[base]["kind"], path, f"{value}: server {refused!r}, check {said}"))
    assert sorted(d[:2] for d in differ) == [k[:2] for k in KNOWN], differ


def test_texts_are_read_as_the_api_server_read_them() -> None:
    texts = yaml.safe_load((FOLDER / "texts.yaml").read_text(encoding="utf-8"))
    assert [t for t in texts["taken"] if refusals(t)] == []
    assert [t for t in texts["refused"] if not refusals(t)] == []
