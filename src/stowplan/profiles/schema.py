"""The JSON Schema of a kind of file, in draft-07, the newest draft that YAML editors read."""

from __future__ import annotations

from typing import Any

from stowplan.profiles.kinds import KINDS


def json_schema(kind: str) -> dict[str, Any]:
    """Draft-07 schema of the kind of that name (as in `kind:`)."""
    schema = KINDS[kind].model.model_json_schema(by_alias=True)
    draft7: dict[str, Any] = _to_draft7(schema)
    properties = draft7["properties"]
    properties["apiVersion"].setdefault("description", "Version of this file format.")
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"stowplan {kind}", **draft7}


def _to_draft7(node: Any) -> Any:
    if isinstance(node, list):
        return [_to_draft7(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:  # draft-07 ignores what stands beside a reference
        siblings = {k: v for k, v in node.items() if k != "$ref"}
        reference = {"$ref": node["$ref"].replace("#/$defs/", "#/definitions/")}
        return {**_to_draft7(siblings), "allOf": [reference]} if siblings else reference
    renamed = {"definitions" if key == "$defs" else key: value for key, value in node.items()}
    return {key: _to_draft7(value) for key, value in renamed.items()}
