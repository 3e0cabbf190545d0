"""Documents in, quantization files out: which quantizer's each is, and its rules in one form whatever the program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from stowplan.catalog import Catalog
from stowplan.check.objects import Object
from stowplan.check.quantization.dialects import DIALECTS
from stowplan.check.quantization.rules import QuantizationFile
from stowplan.located_yaml import Document
from stowplan.profiles.quantizer import Foreign, QuantizerSpec

_ENVELOPE = ("apiVersion", "kind")


def quantization_files(documents: Iterable[Document], catalog: Catalog | None) -> Iterator[QuantizationFile]:
    """The quantization files among documents; Kubernetes objects and files of ours are none."""
    for document in documents:
        found = _whose(document.data, catalog) if catalog else None
        if found:
            name, spec, foreign = found
            item = Object(document.data, document)
            yield QuantizationFile(item, name, spec, foreign, DIALECTS[foreign.dialect](document.data, spec, foreign))


def is_quantization_file(data: object, catalog: Catalog) -> bool:
    """Whether a quantizer or a loader would read this."""
    return _whose(data, catalog) is not None


def _whose(data: object, catalog: Catalog) -> tuple[str, QuantizerSpec, Foreign] | None:
    if not isinstance(data, Mapping) or any(key in data for key in _ENVELOPE):
        return None
    for name, spec in catalog.quantizers.items():
        for foreign in spec.foreign:
            recognised = any(all(has(data, path) for path in group) for group in foreign.recognised_by)
            if recognised and not any(has(data, path) for path in foreign.not_with):
                return name, spec, foreign
    return None


def has(data: object, path: str) -> bool:
    """Whether there is something at a dotted path; a step may be a pattern of keys."""
    step, _, rest = path.partition(".")
    if not isinstance(data, Mapping):
        return False
    below: list[Any] = [value for key, value in data.items() if fnmatchcase(str(key), step)]
    return any(has(value, rest) for value in below) if rest else bool(below)
