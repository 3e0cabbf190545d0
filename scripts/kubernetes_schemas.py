"""The published Kubernetes JSON Schemas in, one small strict file per minor version out.

Maintainer's tool: `python scripts/kubernetes_schemas.py` rewrites src/stowplan/schemas/kubernetes,
`--check` only compares. The source is the package named below; `--wheel PATH` saves the download.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = "kubernetes-validate"
VERSION = "1.37.0"
MINORS = ("1.33", "1.34", "1.35", "1.36", "1.37")
OUTPUT = Path(__file__).parent.parent / "src" / "stowplan" / "schemas" / "kubernetes"
REFERENCE = "#/$defs/"

Schema = dict[str, Any]

# Kinds that carry a request or an answer, that only subresources take, or that the API server keeps
# for itself: nobody applies them.
NOT_APPLIED = re.compile(
    r"v1/(APIGroup|APIResourceList|APIVersions|Binding|ComponentStatus|Status)"
    r"|authentication\.k8s\.io/.*|authorization\.k8s\.io/.*|internal\.apiserver\.k8s\.io/.*"
    r"|policy/v1/Eviction|autoscaling/v1/Scale|.*(List|Options|WatchEvent)"
)

# Kinds without a namespace. The schemas do not say it; it is read from the paths of the official
# Python client (36.0.2 and 37.0.2), in which `POST /apis/...` has no namespace for exactly these.
CLUSTER_SCOPED = re.compile(
    r"v1/(Namespace|Node|PersistentVolume)"
    r"|(admissionregistration|apiextensions|apiregistration|flowcontrol\.apiserver)\.k8s\.io/.*"
    r"|certificates\.k8s\.io/.*/(CertificateSigningRequest|ClusterTrustBundle)"
    r"|networking\.k8s\.io/.*/(IngressClass|IPAddress|ServiceCIDR)"
    r"|node\.k8s\.io/.*/RuntimeClass|rbac\.authorization\.k8s\.io/.*/Cluster.*"
    r"|resource\.k8s\.io/.*/(DeviceClass|DeviceTaintRule|ResourceSlice|ResourcePoolStatusRequest)"
    r"|scheduling\.k8s\.io/.*/PriorityClass"
    r"|storage\.k8s\.io/.*/(CSIDriver|CSINode|StorageClass|VolumeAttachment|VolumeAttributesClass)"
    r"|storagemigration\.k8s\.io/.*/StorageVersionMigration"
)

# Groups that Kubernetes served once and no longer does: an object of one is an error, not a kind
# that some add-on might bring.
FORMER_GROUPS = ("auditregistration.k8s.io", "extensions", "settings.k8s.io")

INT32 = {"minimum": -(2**31), "maximum": 2**31 - 1}
INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
JSON_SCHEMA = f"{APIEXTENSIONS}.JSONSchemaProps"
LAX = f"{JSON_SCHEMA}.lax"

# Where the published schema says less, or something else, than the API server does.
CORRECTED: dict[str, Schema] = {
    # Published as "exactly one of" two types that both admit null, which refuses null.
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "type": ["number", "string", "null"],
        "pattern": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?\z",
        "x-stowplan-form": "a quantity such as 500m, 2, 64Mi or 1.5Gi",
    },
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["integer", "string", "null"], **INT32},
    # Raw JSON: the API server stores whatever stands there, an array or a text as well.
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {},
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {},
    # Published as anything: a schema, or another form of it. What stands there is read by a decoder of
    # its own, which does not know of strictness.
    f"{JSON_SCHEMA}OrArray": {
        "anyOf": [{"$ref": f"{REFERENCE}{LAX}"}, {"type": ["array", "null"], "items": {"$ref": f"{REFERENCE}{LAX}"}}]
    },
    f"{JSON_SCHEMA}OrBool": {"anyOf": [{"$ref": f"{REFERENCE}{LAX}"}, {"type": ["boolean", "null"]}]},
    f"{APIEXTENSIONS}.CustomResourceSubresourceStatus": {
        "type": ["object", "null"],
        "additionalProperties": False,
    },
    f"{JSON_SCHEMA}OrStringArray": {"type": ["object", "array", "null"]},
}

# Published as required (to this day) though the API server takes them for empty when absent.
NOT_REQUIRED = {
    ("io.k8s.api.core.v1.HTTPHeader", "value"),
    ("io.k8s.api.core.v1.SleepAction", "seconds"),
    ("io.k8s.api.batch.v1.PodFailurePolicy", "rules"),
    *((f"{APIEXTENSIONS}.CustomResourceDefinitionVersion", field) for field in ("served", "storage")),
    *((f"{APIEXTENSIONS}.CustomResourceDefinitionNames", field) for field in ("kind", "plural")),
}

_KEPT = {"additionalProperties", "enum", "format", "items", "properties", "required", "type"}
_LIST_KEYS = ("x-kubernetes-list-type", "x-kubernetes-list-map-keys")


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with `--check` say which of them differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, help=f"a local copy of {PACKAGE} {VERSION}")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(options.wheel or download(Path(scratch)))
    if options.check:
        stale = differing(files)
        print("\n".join(f"stale: {name}" for name in stale) or "up to date")
        return 1 if stale else 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # mtime 0 and the fixed level keep the bytes the same from run to run.
        data = gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content
        (OUTPUT / name).write_bytes(data)
    return 0


def download(folder: Path) -> Path:
    """Fetch the wheel with pip."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    subprocess.run([*pip, "--dest", folder, f"{PACKAGE}=={VERSION}"], check=True)
    return next(folder.glob("*.whl"))


def generate(wheel: Path) -> dict[str, bytes]:
    """Every file by name, before compression."""
    inputs = {minor: _published(wheel, minor) for minor in MINORS}
    published = {minor: json.loads(text)["$defs"] for minor, text in inputs.items()}
    _correct_required(published)
    groups = sorted({*FORMER_GROUPS, *(g for d in published.values() for g in _groups(d))})
    files = {f"{m}.json.gz": _compact(_minor(d, groups)) for m, d in published.items()}
    source = {
        "package": PACKAGE,
        "version": VERSION,
        "sha256": _sha256(wheel.read_bytes()),
        "minors": {
            minor: {"input": _sha256(inputs[minor]), "output": _sha256(files[f"{minor}.json.gz"])} for minor in MINORS
        },
    }
    return {**files, "SOURCE.json": json.dumps(source, indent=2).encode() + b"\n"}


def differing(files: dict[str, bytes]) -> list[str]:
    """Names of the committed files whose content is not this one."""
    return [name for name, content in files.items() if _committed(OUTPUT / name) != content]


def _committed(path: Path) -> bytes:
    if not path.is_file():
        return b""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _published(wheel: Path, minor: str) -> bytes:
    folder = f"kubernetes_validate/kubernetes-json-schema/v{minor}.0-local"
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"{folder}/_definitions.json")


def _compact(data: object) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _minor(published: dict[str, Schema], groups: list[str]) -> Schema:
    kinds = {key: name for key, name in _kinds(published) if not NOT_APPLIED.fullmatch(key)}
    definitions = {name: _definition(name, published) for name in published}
    definitions[LAX] = _lax(definitions[JSON_SCHEMA])
    _relax_status(kinds.values(), definitions)
    used = _reachable(kinds.values(), definitions)
    return {
        "groups": groups,
        "kinds": kinds,
        "stability": {key: _stability(key) for key in kinds},
        "scopes": {k: "Cluster" if CLUSTER_SCOPED.fullmatch(k) else "Namespaced" for k in kinds},
        "definitions": {name: definitions[name] for name in used},
    }


def _correct_required(published: dict[str, dict[str, Schema]]) -> None:
    """Take what is required from the newest minor that has the definition.

    Up to 1.35 the schemas derive it from Go's `omitempty`; since then the wrong ones (a role
    reference's group, a priority class's value) were marked optional, and objects that every
    server refuses (a Deployment without a spec) were marked as such. The servers did not change.
    """
    newest = {n: d.get("required", []) for minor in MINORS for n, d in published[minor].items()}
    for definitions in published.values():
        for name, definition in definitions.items():
            known = definition.get("properties", {})
            left = [f for f in newest[name] if f in known and (name, f) not in NOT_REQUIRED]
            definition["required"] = left


def _kinds(published: dict[str, Schema]) -> Iterator[tuple[str, str]]:
    """`group/version/Kind` and the definition's name; the core group has no group part."""
    for name, definition in published.items():
        named = definition.get("x-kubernetes-group-version-kind", [])
        if len(named) == 1:  # types of meta/v1 are listed under every group
            parts = (named[0]["group"], named[0]["version"], named[0]["kind"])
            yield "/".join(part for part in parts if part), name


def _groups(published: dict[str, Schema]) -> Iterator[str]:
    for key, _ in _kinds(published):
        *group, _, _ = key.split("/")
        yield "".join(group)


def _stability(key: str) -> str:
    """By the version's name; a cluster serves neither alpha nor new beta versions by default."""
    version = key.split("/")[-2]
    return next((word for word in ("alpha", "beta") if word in version), "ga")


def _definition(name: str, published: dict[str, Schema]) -> Schema:
    if name in CORRECTED:
        return CORRECTED[name]
    schema = _schema(published[name], published)
    if "x-kubernetes-group-version-kind" in published[name]:
        # The caller has chosen the definition by these two; embedded objects may leave them out.
        for field in ("apiVersion", "kind"):
            schema["properties"].get(field, {}).pop("enum", None)
    return schema


def _lax(strict: Schema) -> Schema:
    """The same schema of schemas with unknown fields, at every depth."""
    text = json.dumps(strict).replace(f'"{REFERENCE}{JSON_SCHEMA}"', f'"{REFERENCE}{LAX}"')
    schema: Schema = {**json.loads(text), "additionalProperties": True}
    rules = {"type": ["array", "null"], "items": {"type": ["object", "null"]}}
    schema["properties"]["x-kubernetes-validations"] = rules
    return schema


def _schema(source: Schema, published: dict[str, Schema]) -> Schema:
    """One schema without its prose: strict about field names, as tolerant of null as the server."""
    if "$ref" in source:
        return {"$ref": source["$ref"]}
    schema = {key: value for key, value in source.items() if key in _KEPT and value != []}
    if source.get("x-kubernetes-list-type", "atomic") != "atomic":
        schema |= {key: source[key] for key in _LIST_KEYS if key in source}
    schema |= _bounds(schema)
    if "items" in schema:
        schema["items"] = _items(_schema(schema["items"], published), published)
    if isinstance(values := schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _schema(values, published)
    if "properties" in schema:
        schema["properties"] = _properties(source, published)
        if not source.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    return schema


def _items(schema: Schema, published: dict[str, Schema]) -> Schema:
    """Refuse null only for an object that requires a field: elsewhere the server takes it for an empty one."""
    name = schema.get("$ref", "").removeprefix(REFERENCE)
    if name and published.get(name, {}).get("required"):
        return _without_null(schema, published)
    return _with_null(schema, published)


def _properties(source: Schema, published: dict[str, Schema]) -> Schema:
    """Refuse null only where a value is required: elsewhere the server takes it for absent."""
    required = source.get("required", ())
    properties = {name: _schema(part, published) for name, part in source["properties"].items()}
    return {
        name: (_without_null if name in required else _with_null)(part, published) for name, part in properties.items()
    }


def _bounds(schema: Schema) -> Schema:
    """Go's int32 and int64 as bounds; of the formats, validators know only those of texts."""
    kind = schema.get("format")
    if kind not in {"byte", "date-time"}:
        schema.pop("format", None)
    return {"int32": INT32, "int64": INT64}.get(str(kind), {})


def _with_null(schema: Schema, _published: dict[str, Schema]) -> Schema:
    """Admit null beside the type; a referred definition does so itself."""
    types = schema.get("type")
    return {**schema, "type": [types, "null"]} if isinstance(types, str) else schema


def _without_null(schema: Schema, published: dict[str, Schema]) -> Schema:
    """Refuse null; beside a reference, the type takes back what the definition admits."""
    name = schema.get("$ref", "").removeprefix(REFERENCE)
    types = CORRECTED.get(name, published.get(name, schema)).get("type")
    left = [t for t in types if t != "null"] if isinstance(types, list) else types
    if not left:
        return schema
    return {**schema, "type": left[0] if len(left) == 1 else left}


def _relax_status(names: Iterable[str], definitions: dict[str, Schema]) -> None:
    """Require nothing in a `status`: a client's is ignored, and `status: {}` is common."""
    for name in names:
        reference = definitions[name]["properties"].get("status", {}).get("$ref", "")
        definitions.get(reference.removeprefix(REFERENCE), {}).pop("required", None)


def _reachable(names: Iterable[str], definitions: dict[str, Schema]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(definitions[name])
    return found


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix(REFERENCE)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


if __name__ == "__main__":
    sys.exit(main())
