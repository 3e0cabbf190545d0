"""One entry of the catalogue in, its page out: what its file says, what others say of it, what is computed from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from stowplan.catalog import Catalog
from stowplan.catalog.outline import Row, as_text, outline, record
from stowplan.catalog.relations import named_by, parsers, run_by, runs_on
from stowplan.cli.session import CHECKPOINTS
from stowplan.cli.tables import COLUMNS, folded, markdown_table, text_table
from stowplan.fit.inventory import LONG, caches, checkpoints, draft_bytes, precision
from stowplan.fit.units import GIB
from stowplan.profiles.recipe import EVIDENCE
from stowplan.profiles.variant import Architecture, Checkpoint

_COUNTED = {"engines": ("flags",)}
"""Tables that only programs read: what is shown is how many entries they have."""
_SHORT, _LONGEST_KEY, _LONGEST_FIELD, _INDENT = 4, 28, 60, 4
_COMPUTED = "computed from the tensors' shapes and storage formats"
_HEADERS = ("fact", "value", "unit", "source", "as of", "confidence", "notes and conflicts")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that have columns of their own."""

    title: str
    headers: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """All that is known of one entry."""

    name: str
    said: list[Row]
    """What its file says."""
    tables: list[Table]
    added: list[Row]
    """What other files say of it, and what is computed."""

    def text(self, *, fold: bool) -> str:
        """For a terminal."""
        width = COLUMNS if fold else None
        main, *others = _groups([Row(("name",), self.name), *self.said])
        parts = [_text(main[1], width)]
        parts += [[table.title.upper(), *text_table(table.headers, table.rows, width)] for table in self.tables]
        parts += [_text(rows, width) for _, rows in (*_groups(self.added), *others)]
        return "\n\n".join("\n".join(lines) for lines in parts) + "\n"

    def markdown(self) -> str:
        """As a section of a page."""
        main, *others = _groups(self.said)
        parts = [[f"## {self.name}"], _markdown(main[1])]
        parts += [[f"### {t.title}", "", *markdown_table(t.headers, t.rows)] for t in self.tables]
        for title, rows in (*_groups(self.added), *others):
            parts.append([f"### {title}", "", *_markdown(rows)] if title else _markdown(rows))
        return "\n\n".join("\n".join(lines) for lines in parts) + "\n"

    def computed(self) -> dict[str, Any]:
        """What the entry's own file does not say, as plain data."""
        tables = {t.title: [dict(zip(t.headers, row, strict=True)) for row in t.rows] for t in self.tables}
        return {**tables, "facts": [{"fact": row.key, **_without_path(row)} for row in self.added]}


def entry_page(kind: str, name: str, catalog: Catalog) -> Page:
    """The page of an entry of a shelf, or of a checkpoint by its id."""
    if kind == CHECKPOINTS:
        return _checkpoint_page(name, catalog)
    spec = catalog.shelves[kind][name]
    tables = list(_variant_tables(name, catalog)) if kind == "variants" else []
    added = [*_EXTRAS.get(kind, _nothing)(name, catalog), *named_by(catalog, kind, name)]
    return Page(name, list(outline(spec, _COUNTED.get(kind, ()))), tables, added)


def find_checkpoint(name: str, catalog: Catalog) -> tuple[str, Checkpoint] | None:
    """The variant and checkpoint of that id."""
    held = ((variant, checkpoint) for variant, spec in catalog.variants.items() for checkpoint in spec.checkpoints)
    return next(((variant, checkpoint) for variant, checkpoint in held if checkpoint.id == name), None)


def _checkpoint_page(name: str, catalog: Catalog) -> Page:
    found = find_checkpoint(name, catalog)
    if found is None:
        raise KeyError(name)
    variant, checkpoint = found
    first, *deeper = record(checkpoint, (name,))
    said = [Row(("variant",), variant), Row(("license",), catalog.variants[variant].license)]
    said += [Row((field,), value) for field, value in first.fields]
    said += [Row(("source",), first.source), Row(("as_of",), first.as_of)]
    said += [
        Row(row.path[1:], row.value, row.unit, row.fields, row.source, row.as_of, row.confidence, row.remarks)
        for row in deeper
    ]
    added = [_precision(catalog.architecture(variant), checkpoint, ("weights",)), *named_by(catalog, CHECKPOINTS, name)]
    return Page(name, said, [], added)


def _variant_tables(name: str, catalog: Catalog) -> Iterator[Table]:
    listed = [
        [c["name"], c["format"], c["computesIn"], c["draft"], f"{c['computedGb']:,}", _published(c)]
        for c in checkpoints(catalog, name)
    ]
    yield Table("checkpoints", ("checkpoint", "format", "computes in", "draft", "GB", "published"), listed)
    architecture, family = catalog.architecture(name), catalog.variants[name].family
    kept = [
        [
            made["main"],
            made["index"],
            f"{made['bytesPerToken']:,.2f}",
            f"{made['bytesPerToken'] * LONG / GIB:.3f}",
            f"{made['bytesOfLongSequence'] / GIB:.3f}",
            _keepers(made["main"], made["index"], family, catalog),
        ]
        for made in caches(architecture)
    ]
    headers = ("entries", "indexer", "B/token", f"GiB at {LONG:,}", "with windows and state", "kept by")
    yield Table("KV cache of one sequence", headers, kept)


def _published(row: dict[str, Any]) -> str:
    about = "about " if row["size"] != "published" else ""
    return "-" if row["size"] == "computed" else f"{about}{row['gb']:,}"


def _keepers(main: str, index: str, family: str, catalog: Catalog) -> str:
    """Engines whose profile has this pair of cache formats under some condition that does not exclude the family."""
    return ", ".join(
        name
        for name, engine in catalog.engines.items()
        if any(support.variant_family == family for support in engine.supports)
        and any(
            (kept.main, kept.index) == (main, index) and family in (kept.when.variant_family or (family,))
            for kept in engine.memory.kv_formats
        )
    )


def _variant(name: str, catalog: Catalog) -> Iterator[Row]:
    spec, architecture = catalog.variants[name], catalog.architecture(name)
    yield from run_by(catalog, spec.family)
    yield from parsers(catalog, name, spec)
    for draft, size in draft_bytes(architecture, spec.native).items():
        with_it = [c.id for c in spec.checkpoints if c.draft == draft]
        fields = (("checkpoints", as_text(with_it) or "none"),)
        yield Row(("draftModules", draft), f"{size / 1e9:.3f}", "GB in the native format", fields, _COMPUTED)
    for checkpoint in spec.checkpoints:
        yield _precision(architecture, checkpoint, ("weights", checkpoint.id))


def _precision(architecture: Architecture, checkpoint: Checkpoint, path: tuple[str, ...]) -> Row:
    classes = precision(architecture, checkpoint)
    total = sum(size for sizes in classes.values() for size in sizes.values())
    fields = tuple(
        (name, ", ".join(f"{storage} {size / 1e9:.3f}" for storage, size in sizes.items()))
        for name, sizes in classes.items()
    )
    return Row(path, f"{total / 1e9:,.3f}", "GB, by tensor class", fields, _COMPUTED)


def _chip(name: str, catalog: Catalog) -> Iterator[Row]:
    yield from runs_on(catalog, catalog.chips[name].families)


def _server(name: str, catalog: Catalog) -> Iterator[Row]:
    chip = catalog.servers[name].chip
    for row in outline(catalog.chips[chip], path=("chip",)):
        if row.path[1] in ("families", "memoryMib", "formats"):
            yield row
    for layer, spec in catalog.device_layers.items():
        if name in spec.servers:
            counts = as_text(spec.servers[name].pod_counts.single)
            yield Row(("devices", layer), spec.servers[name].resource, fields=(("of one pod", counts),))
    yield from _chip(chip, catalog)


def _nothing(_name: str, _catalog: Catalog) -> Iterator[Row]:
    yield from ()


def _engine(name: str, catalog: Catalog) -> Iterator[Row]:
    base = catalog.engines[name].extends
    if base:
        both = {**catalog.engines[base].flags, **catalog.engines[name].flags}
        read = as_text([release.version for release in catalog.engines[base].flags_read])
        yield Row(("flagsWithBase",), f"{len(both)} entries with those of {base}", source=f"{base} {read}")


def _recipe(name: str, catalog: Catalog) -> Iterator[Row]:
    yield Row(("evidenceMeans",), EVIDENCE[catalog.recipes[name].evidence])


_EXTRAS = {"chips": _chip, "engines": _engine, "recipes": _recipe, "servers": _server, "variants": _variant}


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows that stand alone or in twos and threes first, then each field with more of them under its name."""
    fields = [(field, list(found)) for field, found in groupby(rows, key=lambda row: row.path[0])]
    main = [row for _, found in fields if _is_short(found) for row in found]
    return [*([("", main)] if main else []), *(pair for pair in fields if not _is_short(pair[1]))]


def _is_short(rows: Sequence[Row]) -> bool:
    return len(rows) <= _SHORT and all(len(row.key) <= _LONGEST_KEY for row in rows)


def _text(rows: Sequence[Row], width: int | None) -> list[str]:
    """Keys on the left with what they say beside them, or below them where keys are long."""
    longest = max(len(row.key) for row in rows)
    beside = longest <= _LONGEST_KEY
    indent = longest + 2 if beside else _INDENT
    lines: list[str] = []
    for row in rows:
        told = [line for paragraph in _paragraphs(row) for line in folded(paragraph, width and width - indent)]
        first, rest = (told[:1], told[1:]) if beside else ([], told)
        lines.append(f"{row.key.ljust(indent)}{first[0] if first else ''}".rstrip())
        lines += [" " * indent + line for line in rest]
    return lines


def _paragraphs(row: Row) -> Iterator[str]:
    value = f"{row.value} {row.unit}".strip()
    how = ", ".join(part for part in (row.confidence, row.as_of) if part)
    source = f"[{how}] {row.source}" if how else row.source
    beside = bool(value and how)
    if value:
        yield f"{value} {source}" if beside else value
    short = all(len(text) <= _LONGEST_FIELD for _, text in row.fields)
    yield from ["; ".join(f"{name} {text}" for name, text in row.fields)] if short else _named(row.fields)
    if source and not beside:
        yield f"source: {source}"
    yield from row.remarks


def _named(fields: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name}: {text}" for name, text in fields]


def _markdown(rows: Sequence[Row]) -> list[str]:
    """A table without the columns that nothing stands in."""
    made = [
        [
            row.key,
            "; ".join(part for part in (row.value, *_named(row.fields)) if part),
            row.unit,
            row.source,
            row.as_of,
            row.confidence,
            "; ".join(row.remarks),
        ]
        for row in rows
    ]
    filled = [i for i in range(len(_HEADERS)) if any(row[i] for row in made)]
    return list(markdown_table([_HEADERS[i] for i in filled], [[row[i] for i in filled] for row in made]))


def _without_path(row: Row) -> dict[str, Any]:
    return {
        key: dict(value) if key == "fields" else value for key, value in asdict(row).items() if key != "path" and value
    }
