"""Laws of reading and writing YAML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS

from laws.strategies import CATALOG, documents, sources
from stowplan.canonical_yaml import dump, dump_stream
from stowplan.check.profiles import check_profile
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Refused
from stowplan.located_yaml import Document, read_bytes
from stowplan.plain_scalars import json_scalar, kubernetes_scalar

BREAKS = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML 1.1 readers, libyaml among them, count as the end of a line."""

keys = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20).filter(lambda t: t != "<<")
quick = settings(max_examples=300, deadline=None)
MANIFESTS = sorted((ROOT / "manifests").glob("pairings/*/serving/*.yaml"))
EVERY_FILE = [path for shelf in CATALOG.shelves.values() for path in shelf.files.values()]


@pytest.mark.parametrize("version", READERS)
@quick
@given(documents)
def test_what_is_written_reads_back_equal(version: str, document: Any) -> None:
    assert list(READERS[version](dump(document))) == [document]


@quick
@given(documents)
def test_what_is_written_breaks_lines_with_newlines_only(document: Any) -> None:
    assert {*BREAKS.findall(dump(document))} <= {"\n"}  # the others end a line in YAML 1.1 and not in 1.2


@pytest.mark.parametrize("scalar", [json_scalar, kubernetes_scalar])
@quick
@given(st.lists(documents, min_size=1, max_size=3))
def test_what_is_written_is_read_by_ourselves(scalar: Any, given_documents: list[Any]) -> None:
    assert [d.data for d in read_bytes(dump_stream(given_documents).encode(), "x", scalar=scalar)] == given_documents


@quick
@given(documents)
def test_the_same_data_is_the_same_bytes(document: Any) -> None:
    assert dump(document) == dump(json.loads(json.dumps(document)))


@pytest.mark.parametrize("scalar", [json_scalar, kubernetes_scalar])
@quick
@given(sources)
def test_a_text_is_read_or_refused(scalar: Any, source: bytes) -> None:
    try:
        list(read_bytes(source, "x", scalar=scalar))
    except Refused as refused:
        assert all(d.location for d in refused.report)


@quick
@given(sources)
def test_a_refusal_s_place_lies_inside_the_file(source: bytes) -> None:
    try:
        documents = list(read_bytes(source, "x"))
    except Refused as refused:
        places = [d.location for d in refused.report]
    else:
        places = [document.locate(path) for document in documents for path in paths(document.data)]
    lines = BREAKS.split(source.decode("utf-8-sig", "replace"))
    for place in places:
        assert place
        if place.line is not None:
            assert 1 <= place.line <= len(lines)
            assert place.column is not None
            assert 1 <= place.column <= len(lines[place.line - 1]) + 1
            assert place.text.rstrip("\r") == lines[place.line - 1]


def paths(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(found for key, value in items for found in paths(value, (*path, key)))]


@quick
@given(st.dictionaries(keys, st.integers(), min_size=1, max_size=4))
def test_a_key_is_found_where_it_stands(data: dict[str, int]) -> None:
    (document,) = read_bytes(json.dumps(data, indent=1).encode(), "x")
    for number, key in enumerate(data, start=2):
        place = document.locate((key,), key=True)
        assert (place.line, place.column) == (number, 2)
        assert place.text.startswith(f" {json.dumps(key)}: ")


def test_json_with_escaped_pairs_is_read_as_json() -> None:
    (document,) = read_bytes(json.dumps({"ship": "\U0001f6a2"}).encode(), "x.json")
    assert document.data == {"ship": "\U0001f6a2"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(EVERY_FILE), st.data())
def test_an_unknown_field_anywhere_is_one_finding_on_its_line(path: Any, data: st.DataObject) -> None:
    text = path.read_text(encoding="utf-8")
    (whole,) = read_bytes(text.encode(), path.name)
    target = data.draw(st.sampled_from(models_in(whole)))
    changed = json.loads(json.dumps(whole.data))
    node = changed
    for step in target:
        node = node[step]
    node["notAField"] = 1
    written = dump(changed)
    (document,) = read_bytes(written.encode(), "changed.yaml")
    findings = check_profile(document, CATALOG)
    line = next(i for i, row in enumerate(written.split("\n"), 1) if "notAField" in row)
    assert [(d.location and d.location.line, d.message) for d in findings] == [(line, "unknown field 'notAField'")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MANIFESTS), st.data(), documents)
def test_a_finding_on_a_broken_manifest_stands_inside_its_file(path: Path, data: st.DataObject, broken: Any) -> None:
    objects = [d.data for d in read_bytes(path.read_bytes(), path.name, scalar=kubernetes_scalar)]
    target = data.draw(st.sampled_from([p for p in paths(objects) if len(p) > 1]))
    value_at(objects, target[:-1])[target[-1]] = broken
    text = dump_stream(objects)
    found = check_bundle(list(read_bytes(text.encode(), "broken.yaml", scalar=kubernetes_scalar)), "1.37")
    lines = BREAKS.split(text)
    for place in (d.location for d in found):
        assert place and place.line and place.column
        assert place.text == lines[place.line - 1]
        assert place.column <= len(place.text) + 1


def models_in(document: Document) -> list[tuple[str | int, ...]]:
    """Paths of mappings whose fields are fixed: the envelope, `metadata`, `spec`, and every sourced statement."""
    sourced = [
        path
        for path in paths(document.data)
        if path
        and "conflicts" not in path
        and isinstance(value_at(document.data, path), dict)
        and {"source", "confidence"} <= {*value_at(document.data, path)}
    ]
    return [(), ("metadata",), ("spec",), *sourced]


def value_at(data: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        data = data[step]
    return data
