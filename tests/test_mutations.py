"""Every rule of mutations.py on the rendered objects: what is wrong is found with its code, on its line; what is legal is not.

Two objects of each kind, of different shapes (fields), and one place of each rule in them; STOWPLAN_ALL_MUTATIONS=1 takes every object and place.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from conftest import MANIFESTS, InSummary
from mutations import RULES, Mutation, Path, changed, places

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.registry import all_checks
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

MINOR = "1.36"
FEW = 2
"""Objects of a kind that a rule is tried on."""
ALL = bool(os.environ.get("STOWPLAN_ALL_MUTATIONS"))
CATALOG = Catalog([resources.folder("profiles")])
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
BESIDE = ("kustomization.yaml", "plan.yaml")
Data = dict[str, Any]


@cache
def folders() -> dict[str, list[Data]]:
    """The rendered objects by the folder that holds their kustomization."""
    found: dict[str, list[Data]] = {}
    roots = {file.parent for file in MANIFESTS.rglob("kustomization.yaml")}
    for file in sorted(MANIFESTS.rglob("*.yaml")):
        if file.name not in BESIDE:
            root = next((p for p in file.parents if p in roots), MANIFESTS)
            held = yaml.load_all(file.read_text(encoding="utf-8"), Loader=LOADER)
            found.setdefault(str(root), []).extend(d for d in held if isinstance(d, dict) and "kind" in d)
    return found


def fields(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The field paths of an object, whatever the index in a list."""
    yield path
    for key, child in (
        node.items() if isinstance(node, dict) else (("*", c) for c in node) if isinstance(node, list) else ()
    ):
        free = path[-1:] in (("labels",), ("annotations",), ("data",), ("limits",), ("requests",), ("matchLabels",))
        yield from fields(child, (*path, "*" if free else str(key)))


@cache
def objects() -> list[tuple[str, Data]]:
    """One object of each shape, with its folder."""
    kept: dict[Any, tuple[str, Data]] = {}
    for folder, held in folders().items():
        for number, data in enumerate(held):
            shape = (folder, number) if ALL else (data["apiVersion"], data["kind"], frozenset(fields(data)))
            kept.setdefault(shape, (folder, data))
    return list(kept.values())


def findings(text: str) -> list[Diagnostic]:
    return check_bundle(read_bytes(text.encode(), "a.yaml", scalar=kubernetes_scalar), MINOR, None, CATALOG)


def dumped(data: Data) -> str:
    text: str = yaml.dump(data, Dumper=DUMPER, sort_keys=False, width=10_000)
    return text


def lines_of(text: str, path: Path) -> range:
    """The lines on which a field stands, by PyYAML's own nodes."""
    node: Any = yaml.compose(text, Loader=LOADER)
    first = node.start_mark.line
    for step in path:
        if isinstance(node, yaml.MappingNode):
            first, node = next((k.start_mark.line, v) for k, v in node.value if k.value == step)
        else:
            node = node.value[step]
            first = node.start_mark.line
    last = node.end_mark.line if node.end_mark.column else node.end_mark.line - 1
    return range(first + 1, max(last, first) + 2)


def known(found: list[Diagnostic]) -> set[tuple[str, str]]:
    return {(d.code, d.message) for d in found}


SAID: dict[tuple[int, bool], set[tuple[str, str]]] = {}


def said_before(folder: str, data: Data, *, bundle: bool) -> set[tuple[str, str]]:
    """What is found on an object as it was rendered, alone or in its folder."""
    key = (id(folders()[folder] if bundle else data), bundle)
    if key not in SAID:
        text = "".join(f"---\n{dumped(d)}" for d in folders()[folder]) if bundle else dumped(data)
        SAID[key] = known(findings(text))
    return SAID[key]


def cases(rule: Mutation) -> Iterator[tuple[str, Data, Path, Data]]:
    kinds, tried = rule.kinds.split(), Counter[str]()
    for folder, data in objects():
        kind = data["kind"]
        if (kinds and kind not in kinds) or (tried[kind] >= FEW and not ALL):
            continue
        found = list(places(data, rule.tail))
        for path in found if ALL else found[-1:]:
            made = changed(data, path, rule.change)
            if made is not None:
                tried[kind] += 1
                yield folder, data, path, made


def judged(rule: Mutation, folder: str, data: Data, path: Path, made: Data) -> str:
    """What is wrong with the verdict; empty: nothing."""
    text = dumped(made)
    whole = text + "".join(f"---\n{dumped(d)}" for d in folders()[folder] if d is not data) if rule.bundle else text
    before = said_before(folder, data, bundle=rule.bundle)
    new = [d for d in findings(whole) if (d.code, d.message) not in before]
    where = f"{data['kind']} {data['metadata'].get('name')} {'.'.join(map(str, path))}"
    if rule.code is None:
        wrong = [d for d in new if d.severity == "error" and d.level in ("syntax", "schema", "admission")]
        return f"{where}: false alarm {wrong[0].code} {wrong[0].message}" if wrong else ""
    hits = [d for d in new if d.code == rule.code]
    if not hits:
        return f"{where}: missed, said {sorted({d.code for d in new})}"
    up = rule.seen_at if isinstance(rule.seen_at, int) else 0
    target = rule.seen_at if isinstance(rule.seen_at, tuple) else path[: len(path) - max(up, int(is_removal(rule)))]
    lines = lines_of(text, target)
    places_said = [d.location.line for d in hits if d.location]
    return "" if any(line in lines for line in places_said) else f"{where}: on line {places_said}, not in {lines}"


def is_removal(rule: Mutation) -> bool:
    return rule.change.__name__ == "gone"


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_change_is_judged_by_its_code_on_its_line(rule: Mutation) -> None:
    assert [wrong for case in cases(rule) if (wrong := judged(rule, *case))] == []


def test_the_rules_cover_what_rendered_objects_can_show(in_summary: InSummary) -> None:
    met = {rule.code for rule in RULES if rule.code and next(cases(rule), None)}
    assert [str(rule) for rule in RULES if not next(cases(rule), None) and rule.code not in met] == []
    levels = {level: {c.code for c in all_checks() if c.level == level} for level in ("admission", "bundle", "domain")}
    counts = ", ".join(f"{len(codes & met)} of {len(codes)} {level}" for level, codes in levels.items())
    in_summary(f"mutations of rendered objects: {len(RULES)} rules on {len(objects())} shapes; codes: {counts}")
    assert len(levels["admission"] & met) >= 75
