"""Labels and annotations that every rendered object carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

_TEMPLATES = (
    ("spec", "template"),
    ("spec", "leaderWorkerTemplate", "leaderTemplate"),
    ("spec", "leaderWorkerTemplate", "workerTemplate"),
)
_PART_OF = "app.kubernetes.io/part-of"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_DIGITS = 8


def stamp(data: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    """The object with its metadata completed; pod templates get the labels too, and no annotation that changes."""
    labels = {**labels, _PART_OF: "stowplan", _MANAGED_BY: "stowplan"}
    stamped = {**data, "metadata": _merge(data["metadata"], labels, annotations)}
    for path in _TEMPLATES:
        stamped = _stamp_template(stamped, path, labels)
    return stamped


def name_by_content(data: Mapping[str, Any]) -> dict[str, Any]:
    """A Job named by what it does: a Job cannot be changed, so a changed one is another that runs again."""
    if data["kind"] != "Job":
        return dict(data)
    text = json.dumps(data["spec"], sort_keys=True, ensure_ascii=False)
    name = f"{data['metadata']['name']}-{sha256(text.encode()).hexdigest()[:_DIGITS]}"
    return {**data, "metadata": {**data["metadata"], "name": name}}


def _stamp_template(data: dict[str, Any], path: tuple[str, ...], labels: Mapping[str, str]) -> dict[str, Any]:
    head, *rest = path
    if not isinstance(data.get(head), Mapping):
        return data
    if rest:
        return {**data, head: _stamp_template(dict(data[head]), tuple(rest), labels)}
    template = data[head]
    if "spec" not in template:  # the spec alone, as some kinds have it
        return data
    return {**data, head: {**template, "metadata": _merge(template.get("metadata", {}), labels, {})}}


def _merge(metadata: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    merged = dict(metadata)
    merged["labels"] = dict(sorted({**labels, **metadata.get("labels", {})}.items()))
    notes = {**annotations, **metadata.get("annotations", {})}
    if notes:
        merged["annotations"] = dict(sorted(notes.items()))
    order = [key for key in ("name", "generateName", "namespace", "labels", "annotations") if key in merged]
    return {key: merged[key] for key in (*order, *(k for k in merged if k not in order))}
