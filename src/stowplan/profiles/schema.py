"""The JSON Schema of a kind of file, in draft-07, the newest draft that YAML editors read."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from stowplan.profiles.kinds import KINDS


def json_schema(kind: str) -> dict[str, Any]:
    """Draft-07 schema of the kind of that name (as in `kind:`)."""
    schema = KINDS[kind].model.model_json_schema(by_alias=True, schema_generator=_Described)
    draft7: dict[str, Any] = _to_draft7(schema)
    properties = draft7["properties"]
    properties["apiVersion"].setdefault("description", "Version of this file format.")
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"stowplan {kind}", **draft7}


class _Described(GenerateJsonSchema):
    """Takes the descriptions of fields from the texts below them, which only this command needs."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Pydantic's schema of a model with its fields described."""
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        texts = {k: v for base in reversed(model.__mro__) for k, v in _texts_of(base).items()}
        for name, field in model.model_fields.items():
            entry = made.get("properties", {}).get(field.alias or name)
            if entry is not None and name in texts:
                entry.setdefault("description", texts[name])
        return made


def _texts_of(model: type) -> dict[str, str]:
    module = inspect.getmodule(model)
    name = model.__name__.partition("[")[0]
    return _texts(module).get(name, {}) if module and issubclass(model, BaseModel) and model is not BaseModel else {}


@cache
def _texts(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class to field to the text below the field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                        found.setdefault(node.name, {})[name] = " ".join(words.split())
    return found


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
