"""Objects that a bundle holds twice."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import thing
from stowplan.check.objects import Bundle, Object
from stowplan.check.registry import Found, check


@check(
    "M201",
    level="bundle",
    whole_bundle=True,
    reason="Of two objects with one kind, namespace and name, only the one applied last takes effect.",
    source="https://kubernetes.io/docs/concepts/overview/working-with-objects/names/",
    bad=f"{thing('v1', 'ConfigMap')}---\n{thing('v1', 'ConfigMap')}",
    good=f"{thing('v1', 'ConfigMap')}---\n{thing('v1', 'ConfigMap', name='other')}",
)
def objects_differ(bundle: Bundle) -> Iterator[Found]:
    """A bundle holds an object once."""
    seen: dict[tuple[str, str, str, str], Object] = {}
    for item in bundle.objects:
        if not item.name or not item.kind:
            continue
        first = seen.setdefault((item.group, item.kind, item.namespace, item.name), item)
        if first is not item:
            place = first.at(("metadata", "name"))
            message = f"{item} is given twice, first in {place.file} on line {place.line}"
            yield Found(item, ("metadata", "name"), message, "keep one of them")
