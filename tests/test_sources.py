"""Every statement of the catalogue has a source that can be opened, its date and its confidence."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from conftest import Run
from pydantic import BaseModel, TypeAdapter, ValidationError

from stowplan.canonical_yaml import dump
from stowplan.catalog import Catalog
from stowplan.profiles.fact import Said, Sourced
from stowplan.profiles.kinds import KINDS
from stowplan.profiles.source import FORMS, Source, is_told

SOURCE = TypeAdapter(Source)
WHERE = {"source", "sources"}
OWN = {"pairings", "sites"}
"""Kinds in which people say what they want and have: nothing in them needs a source."""

CHOICES = {
    ("Server", "unit.devicesPerCard"): "how people count cards; the devices are a fact of their own",
    ("DeviceLayer", "priority"): "which layer is taken where several serve a server",
    ("DeviceLayer", "servers.*.priority"): "the same, for one server",
    ("Platform", "port"): "the port that its operator expects, under the platform's source",
    ("Platform", "frontEnd.port"): "as port",
    ("UseCase", "contextLimit"): "where requests are cut, which the use case itself decides",
    ("Recipe", "roles.*.nodes"): "under the recipe's sources and evidence",
    ("Recipe", "roles.*.instances"): "as nodes",
    ("Recipe", "roles.*.layout.tp"): "as nodes",
    ("Recipe", "roles.*.layout.dp"): "as nodes",
    ("Recipe", "roles.*.layout.ep"): "as nodes",
    ("Recipe", "roles.*.layout.pp"): "as nodes",
    ("Benchmark", "nodes"): "under the benchmark's own source",
    ("Benchmark", "draftTokens"): "as nodes",
    ("Benchmark", "accepted"): "as nodes",
    ("Benchmark", "layout.tp"): "as nodes",
    ("Benchmark", "layout.dp"): "as nodes",
    ("Benchmark", "layout.ep"): "as nodes",
    ("Benchmark", "layout.pp"): "as nodes",
}
"""Numbers that stand under no source, with why."""


@pytest.mark.parametrize("example", FORMS)
def test_what_can_be_opened_is_a_source(example: str) -> None:
    assert SOURCE.validate_python(f"as in {example}, read twice")


@pytest.mark.parametrize(
    "source",
    [
        "computed from 28 matrix cores",
        "computed: half of the rate in FP4",
        "fitted to 34 figures of 12 published runs",
        "assumption",
        "estimate: between two others",
        "no public source found",
        "measured by us, 2026-11-01, nvidia-smi on one host",
        "stated by the platform team, 2026-11, inventory",
        "agreed with the users, 2026-11",
    ],
)
def test_what_nobody_can_open_has_its_own_words(source: str) -> None:
    assert SOURCE.validate_python(source) == source


@pytest.mark.parametrize(
    "source",
    [
        "press",
        "vendor's data sheet",
        "Hugging Face listing",
        "public user log of a host of eight",
        "2026 press (genztech, silicontales)",
        "commands in profiles/recipes",
        "owner/repo@0123abc docs and component code (2026-08-21)",
        "owner/repo@0123abc: the 0.25.0 line",
        "wheel 0.33.0",
        "vendor.example.com, its pages",
        "read and computed from two others",
        "computed",
        "measured by us",
        "recall, https://example.com/page",
        "",
    ],
)
def test_a_vague_source_is_refused(source: str) -> None:
    with pytest.raises(ValidationError):
        SOURCE.validate_python(source)


def test_no_shipped_source_is_somebody_s_own_word(catalog: Catalog) -> None:
    found = [
        (word, entry.name, path)
        for word, shelf in catalog.shelves.items()
        for entry in shelf.entries()
        for path, node in mappings(entry.document.data["spec"])
        if is_told(str(node.get("source", "")))
    ]
    assert found == []


def test_every_model_with_a_source_has_date_and_confidence() -> None:
    lacking = {
        model.__qualname__
        for kind in KINDS.values()
        for model in models_below(kind.model)
        if WHERE & model.model_fields.keys()
        and not issubclass(model, Said)
        and not {"sources", "as_of", "evidence"} <= model.model_fields.keys()
    }
    assert lacking == set()


def test_every_source_of_these_models_is_of_the_form() -> None:
    loose = {
        model.__qualname__
        for kind in KINDS.values()
        for model in models_below(kind.model)
        for name in WHERE & model.model_fields.keys()
        if accepts(model, name, "press")
    }
    assert loose == set()


def test_every_number_of_these_kinds_stands_under_a_source() -> None:
    bare = {
        (kind.name, path)
        for kind in KINDS.values()
        if kind.folder not in {*OWN, "engines"}
        for path in bare_numbers(kind.model.model_fields["spec"].annotation)
    }
    assert bare == CHOICES.keys()


def shipped_statements(catalog: Catalog) -> Iterator[Any]:
    """One shipped statement of each place of each kind, as (kind, name, path in the file)."""
    seen = set()
    for word, shelf in catalog.shelves.items():
        for entry in shelf.entries():
            for path, node in mappings(entry.document.data["spec"], ("spec",)):
                place = (word, *(step if isinstance(step, str) else "*" for step in path))
                if "source" in node and "confidence" in node and place not in seen:
                    seen.add(place)
                    yield word, entry.name, path


MUTATIONS: dict[str, dict[str, object]] = {
    "no source": {"source": None},
    "no date": {"as_of": None},
    "no confidence": {"confidence": None},
    "a vague source": {"source": "press"},
    "from memory": {"source": "recall"},
    "computed, and said to be primary": {"source": "computed from two others", "confidence": "primary"},
    "a date that is none": {"as_of": "recently"},
    "a confidence that is none": {"confidence": "high"},
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_statement_without_its_provenance_is_refused(mutation: str, catalog: Catalog) -> None:
    passed = []
    for word, name, path in shipped_statements(catalog):
        document = changed(catalog.shelves[word].entry(name).document.data, path, MUTATIONS[mutation])
        kind = next(k for k in KINDS.values() if k.folder == word)
        if valid(kind.model, document):
            passed.append((word, name, path))
    assert passed == []


def test_a_value_without_a_source_is_refused(catalog: Catalog) -> None:
    document = catalog.chips.entry("h200-sxm").document.data
    for path in (("spec", "memoryMib"), ("spec", "formats"), ("spec", "denseRates", "bf16")):
        assert not valid(KINDS["Chip"].model, changed(document, path, {"source": "no public source found"})), path
    nothing = {"value": None, "settledBy": "a log", "source": "no public source found", "confidence": "estimate"}
    assert valid(KINDS["Chip"].model, changed(document, ("spec", "memoryMib"), nothing, drop=False))


def test_a_vague_source_of_one_s_own_is_told_at_its_place(catalog: Catalog, tmp_path: Path, run: Run) -> None:
    data = changed(catalog.chips.entry("h200-sxm").document.data, ("spec", "link"), {"source": "press"})
    path = tmp_path / "profiles" / "chips" / "h200-sxm.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(dump(data), encoding="utf-8")
    ended = run("check", tmp_path / "profiles")
    assert ended.code == 1
    assert "nothing in the source 'press' can be opened" in ended.out
    assert "'measured by WHO, DATE'" in ended.out


def mappings(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    if isinstance(data, dict):
        yield path, data
    items: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from mappings(value, (*path, key))


def changed(data: Any, path: tuple[str | int, ...], keys: Mapping[str, object], *, drop: bool = True) -> Any:
    """A copy with those keys at that place; None takes a key away."""
    copied = copy.deepcopy(data)
    node = copied
    for step in path:
        node = node[step]
    for key, value in keys.items():
        node[key] = value
        if drop and value is None:
            del node[key]
    return copied


def valid(model: type[BaseModel], document: Any) -> bool:
    try:
        model.model_validate(document)
    except ValidationError:
        return False
    return True


def accepts(model: type[BaseModel], name: str, source: str) -> bool:
    """Whether the field of a model takes that source."""
    given = [source] if name == "sources" else source
    try:
        model.model_validate({name: given})
    except ValidationError as error:
        return not any(detail["loc"][:1] == (name,) for detail in error.errors())
    return True


def parts(annotation: object) -> Iterator[tuple[str, object]]:
    """What an annotation is made of, with `*.` before what stands in a mapping or a list."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, Annotated):
        for argument in get_args(annotation)[: 1 if origin is Annotated else None]:
            yield from parts(argument)
    elif origin in (dict, tuple, list):
        for inner, found in parts(get_args(annotation)[1 if origin is dict else 0]):
            yield f"*.{inner}", found
    else:
        yield "", annotation


def models_below(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> set[type[BaseModel]]:
    found = set() if seen is None else seen
    if model not in found:
        found.add(model)
        for field in model.model_fields.values():
            for _, inner in parts(field.annotation):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    models_below(inner, found)
    return found


def bare_numbers(model: Any) -> Iterator[str]:
    """Fields with a number in a model, and below it where no source stands."""
    for name, field in model.model_fields.items():
        for inner, found in parts(field.annotation):
            path = f"{field.alias or name}.{inner}".rstrip(".")
            if isinstance(found, type) and issubclass(found, BaseModel):
                if not issubclass(found, Sourced):
                    yield from (f"{path}.{below}" for below in bare_numbers(found))
            elif found in (int, float):
                yield path
