"""ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import CORE, Context, Problem, object_check
from stowplan.check.admission._syntax import config_key, short, text
from stowplan.check.objects import Object, mapping

_SOURCE = f"{CORE}: ValidateConfigMap and ValidateSecret."
_LIMIT = 1024 * 1024
_FIELDS = ("data", "binaryData", "stringData")
_BOTH = "both data and binaryData"
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


@object_check(
    "M197",
    "ConfigMap Secret",
    reason="The API server refuses a ConfigMap or Secret with a key that could be no file name, or that is given twice.",
    source=_SOURCE,
    bad=thing("v1", "ConfigMap", "data:\n  conf/engine.yaml: x"),
    good=thing("v1", "ConfigMap", "data:\n  engine.yaml: x"),
)
def keys(item: Object, _context: Context) -> Iterator[Problem]:
    """Keys are possible file names and differ."""
    for field in _FIELDS:
        for key in mapping(item.data.get(field)):
            if wrong := config_key(key):
                yield Problem((field, key), f"the key {short(key)} {wrong}", key=True)
    if item.kind == "ConfigMap":
        for key in mapping(item.data.get("binaryData")):
            if key in mapping(item.data.get("data")):
                yield Problem(("binaryData", key), f"the key {short(key)} is in {_BOTH}", key=True)


def _bytes(field: str, value: str, kind: str) -> int:
    if field == "binaryData" or (field == "data" and kind == "Secret"):
        kept = len(value) - value.count("\n") - value.count("\r")
        return kept * 3 // 4 - (2 if value.rstrip().endswith("==") else value.rstrip().endswith("="))
    return len(value.encode())


@object_check(
    "M198",
    "ConfigMap Secret",
    reason="The API server refuses a ConfigMap or Secret whose values together are larger than 1 MiB.",
    source=_SOURCE,
    bad=thing("v1", "ConfigMap", f"data:\n  text: {'x' * (_LIMIT + 1)}"),
    good=thing("v1", "ConfigMap", "data:\n  text: xxx"),
)
def size(item: Object, _context: Context) -> Iterator[Problem]:
    """Values together are at most 1 MiB."""
    sizes: dict[str, int] = {}
    for field in _FIELDS if item.kind == "Secret" else _FIELDS[:2]:
        for key, value in mapping(item.data.get(field)).items():
            name = key if item.kind == "Secret" else f"{field}/{key}"
            sizes[name] = _bytes(field, text(value), item.kind)
    total = sum(sizes.values())
    if total > _LIMIT:
        field = next(field for field in _FIELDS if mapping(item.data.get(field)))
        hint = "mount large files from a volume"
        yield Problem(
            (field,),
            f"the values of this {item.kind} hold {total:,} bytes, at most {_LIMIT:,} are allowed",
            hint,
            key=True,
        )


@object_check(
    "M199",
    "Secret",
    reason="The API server refuses a Secret that lacks the keys of its type.",
    source=f"{CORE}: ValidateSecret; https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    bad=thing("v1", "Secret", "type: kubernetes.io/tls\nstringData: {tls.crt: x}"),
    good=thing("v1", "Secret", "type: kubernetes.io/tls\nstringData: {tls.crt: abc, tls.key: def}"),
)
def keys_of_type(item: Object, _context: Context) -> Iterator[Problem]:
    """A Secret has the keys of its type."""
    kind = text(item.data.get("type"))
    data, plain = mapping(item.data.get("data")), mapping(item.data.get("stringData"))
    needed = _NEEDED.get(kind, ())
    for key in needed:
        if key not in data and key not in plain:
            yield Problem(("type",), f"a Secret of type {kind} needs the key {key}")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & {*data, *plain}:
        yield Problem(("type",), f"a Secret of type {kind} needs the key username or password")
    annotations = mapping(item.metadata.get("annotations"))
    if kind == "kubernetes.io/service-account-token" and not annotations.get("kubernetes.io/service-account.name"):
        yield Problem(
            ("type",),
            f"a Secret of type {kind} needs the annotation kubernetes.io/service-account.name",
        )
    if kind.startswith("kubernetes.io/dockerc") and needed:
        value = text(plain.get(needed[0])) or _decoded(text(data.get(needed[0])))
        if value is not None and needed[0] in {*data, *plain} and not _is_json(value):
            field = "stringData" if needed[0] in plain else "data"
            yield Problem((field, needed[0]), f"the key {needed[0]} holds no JSON")


def _decoded(value: str) -> str | None:
    try:
        return base64.b64decode(value, validate=False).decode(errors="replace")
    except (binascii.Error, ValueError):
        return None


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True
