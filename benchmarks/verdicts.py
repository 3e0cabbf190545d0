"""How often `check` and a real API server say the same of manifests with one change each.

    python benchmarks/verdicts.py tests/verdicts/manifests.yaml --seed 7 --count 5000

A session for maintainers, not a test: it needs an API server that may be asked anything (KUBECONFIG; everything is a dry
run, but namespaces that the manifests name are created). Each change is one of: a field deleted, null, of another type, at
a bound, misspelt, unknown, taken from elsewhere, or added by the server's own OpenAPI document. Verdicts that depend on what
else the cluster holds are left out. `--record FILE` keeps the verdicts on a sample, for tests/test_verdicts.py.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from urllib3.exceptions import HTTPError

from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Refused
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

LEVELS = ("syntax", "schema", "admission")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DEPENDS = re.compile(
    r"no PriorityClass with name|RuntimeClass .*not found|already exists|integer value of priority|service account .*not found"
    r"|admin access to devices requires|not configured for dual-stack|is not in the valid range|serviceAccountName is not set"
)
"""Refusals by what the cluster holds or how it is set up."""

Doc = dict[str, Any]
Place = tuple[Any, ...]


class Mutant(NamedTuple):
    """A manifest with one change, and where that is."""

    kind: str
    base: int
    path: Place
    document: Doc


class Server:
    """An API server, asked for dry runs of creations with strict validation."""

    def __init__(self) -> None:
        """Connect as KUBECONFIG says, and ask what there is."""
        from kubernetes import client, config  # noqa: PLC0415 - heavy

        config.load_kube_config()
        api = client.ApiClient()
        self._host, self._pool = api.configuration.host, api.rest_client.pool_manager
        auth = api.configuration.auth_settings().get("BearerToken", {})
        self._headers = {auth["key"]: auth["value"]} if auth else {}
        self._known = {"default"}
        self.schemas: dict[str, Any] = self._json("GET", "/openapi/v2")["definitions"]
        self._paths = dict(self._resources())

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {**self._headers, "Accept": "application/json", "Content-Type": "application/yaml"}
        answer = self._pool.request(method, self._host + path, body=body, headers=headers)
        return answer.status, answer.data

    def _json(self, method: str, path: str) -> Any:
        return json.loads(self._request(method, path)[1])

    def _resources(self) -> Iterator[tuple[tuple[str, str], tuple[str, str, bool]]]:
        versions = [v["groupVersion"] for group in self._json("GET", "/apis")["groups"] for v in group["versions"]]
        for version in ("v1", *versions):
            root = "/api/v1" if version == "v1" else f"/apis/{version}"
            for item in self._json("GET", root)["resources"]:
                if "/" not in item["name"] and "create" in item["verbs"]:
                    yield (version, item["kind"]), (root, item["name"], item["namespaced"])

    def judge(self, text: str, api_version: object, kind: object, namespace: object) -> str | None:
        """Why the server refuses a text; empty where it takes it, None where that depends on the cluster."""
        known = self._paths.get((str(api_version), str(kind)))
        if known is None:
            return f"no such kind: {api_version} {kind}"
        root, name, namespaced = known
        if namespaced:
            namespace = namespace or "default"
            if not isinstance(namespace, str) or not NAMESPACE.fullmatch(namespace):
                return "no such namespace"
            if namespace not in self._known:
                made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                self._request("POST", "/api/v1/namespaces", json.dumps(made).encode())
                self._known.add(namespace)
            root = f"{root}/namespaces/{namespace}"
        try:
            status, data = self._request("POST", f"{root}/{name}?dryRun=All&fieldValidation=Strict", text.encode())
        except HTTPError:
            return None  # the server hung up
        if status < 300:  # noqa: PLR2004 - HTTP: taken
            return ""
        message = str(json.loads(data).get("message", data)) if data[:1] == b"{" else data.decode(errors="replace")
        return None if status == 409 or DEPENDS.search(message) else message or str(status)  # noqa: PLR2004 - HTTP: conflict


def ours(text: str, minor: str) -> list[str]:
    """What `check` says against a text, as an API server might."""
    try:
        found = check_bundle(read_bytes(text.encode(), "file.yaml", scalar=kubernetes_scalar), minor)
    except Refused as refused:
        found = list(refused.report)
    return [f"{d.code} {d.message}" for d in found if d.severity == "error" and d.level in LEVELS]


class Mutator:
    """Single changes by chance, of values that stand there and of fields that could."""

    def __init__(self, schemas: dict[str, Any], seed: int) -> None:
        """Index the server's schemas by kind."""
        self.schemas, self.random = schemas, random.Random(seed)  # noqa: S311 - no secret
        self.roots: dict[tuple[str, str], str] = {}
        for name, schema in schemas.items():
            for kind in schema.get("x-kubernetes-group-version-kind", [])[:1]:
                version = "/".join(part for part in (kind["group"], kind["version"]) if part)
                self.roots.setdefault((version, kind["kind"]), name)
        self.ways: list[tuple[Callable[[Doc], Place | None], int]] = [
            (self._delete, 3), (self._other_type, 3), (self._value, 13), (self._repeat, 2), (self._misspell, 1),
            (self._unknown, 1), (self._add, 9), (self._swap, 2), (self._take, 2), (self._key, 1),
        ]  # fmt: skip

    def mutant(self, base: int, document: Doc) -> Mutant | None:
        """One change, or none where the way that was drawn finds no place."""
        made = copy.deepcopy(document)
        way = self.random.choices([w for w, _ in self.ways], [n for _, n in self.ways])[0]
        path = way(made)
        return None if path is None or made == document else Mutant(document["kind"], base, path, made)

    def _nodes(self, document: Doc) -> list[tuple[Place, Any, Doc]]:
        root = {"$ref": self.roots.get((str(document.get("apiVersion")), str(document.get("kind"))), "")}
        found = list(self._walk(document, root, ()))[1:]
        weights = [
            0.3 if path[0] == "metadata" else 0.2 if path[0] in ("data", "stringData") else 1.0 for path, *_ in found
        ]
        return self.random.choices(found, weights, k=12)

    def _resolved(self, schema: Doc) -> Doc:
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        return self.schemas.get(name, {}) | {"name": name} if "$ref" in schema else schema

    def _walk(self, node: Any, schema: Doc, path: Place) -> Iterator[tuple[Place, Any, Doc]]:
        schema = self._resolved(schema)
        yield path, node, schema
        if isinstance(node, dict):
            others = schema.get("additionalProperties")
            for key, value in node.items():
                inner = schema.get("properties", {}).get(key) or (others if isinstance(others, dict) else {})
                yield from self._walk(value, inner, (*path, key))
        elif isinstance(node, list):
            for index, value in enumerate(node):
                yield from self._walk(value, schema.get("items", {}), (*path, index))

    def _first(self, document: Doc, wanted: Callable[[Any, Doc], bool]) -> tuple[Place, Any, Doc] | None:
        return next((node for node in self._nodes(document) if wanted(node[1], node[2])), None)

    def _delete(self, document: Doc) -> Place | None:
        path = self._nodes(document)[0][0]
        del _at(document, path[:-1])[path[-1]]
        return path

    def _other_type(self, document: Doc) -> Place:
        path, node, _ = self._nodes(document)[0]
        others = (None, "text", 7, True, [], {}, ["x"], {"a": "b"}, 1.5, "", [None], [node], {"a": node})
        _at(document, path[:-1])[path[-1]] = self.random.choice(others)
        return path

    def _value(self, document: Doc) -> Place | None:
        found = self._first(document, lambda node, _: node is not None and not isinstance(node, dict | list))
        if found is None:
            return None
        path, node, schema = found
        if isinstance(node, bool):
            changed: Any = not node
        elif isinstance(node, int | float):
            edges = (
                0,
                -1,
                1,
                2,
                node + 1,
                node - 1,
                node * 10,
                100,
                101,
                65536,
                2**31,
                2**63,
                1.5,
                str(node),
                -node,
                512,
                1801,
            )
            changed = self.random.choice(edges)
        else:
            changed = self.random.choice(list(self._texts(node, schema)))
        _at(document, path[:-1])[path[-1]] = changed
        return path

    def _texts(self, text: str, schema: Doc) -> Iterator[str]:
        words = re.findall(r'`"?([A-Za-z]\w+)"?`|"([A-Z]\w+)"', schema.get("description", ""))
        yield from [one or other for one, other in words] * 2
        if re.fullmatch(r"[0-9.]+[a-zA-Z%]*", text):
            yield from (
                "0",
                "-1",
                "1.5",
                "100m",
                "1GB",
                "1gi",
                "1e3",
                "999999Ei",
                f"{text}i",
                "0.5m",
                "101%",
                "50%",
                "",
                "+1",
                "1K",
            )
            return
        yield from (
            "",
            text.upper(),
            f"{text}_x",
            f"{text}-",
            f"-{text}",
            f"{text} ",
            text * 40,
            f"{text}/b",
            f"{text}.b",
        )
        yield from (
            f"{text}..",
            "x" * 63,
            "x" * 64,
            "x" * 253,
            "x" * 254,
            f"{text}\u00e9",
            "123",
            f"1{text}",
            text[:-1],
        )
        yield from (
            f"{text}s",
            f"../{text}",
            f"/{text}",
            f"{text}\n",
            "a b",
            "None",
            text.replace(".", "_", 1),
            f"{text}:x",
            "x" * 16,
        )

    def _repeat(self, document: Doc) -> Place | None:
        found = self._first(document, lambda node, _: isinstance(node, list) and bool(node))
        if found is None:
            return None
        path, node, _ = found
        again = copy.deepcopy(self.random.choice(node))
        if isinstance(again, dict) and again and self.random.random() < 0.5:  # noqa: PLR2004 - half of them
            key = self.random.choice(list(again))
            again[key] = f"{again[key]}x" if isinstance(again[key], str) else again[key]
        node.append(again)
        return path

    def _misspell(self, document: Doc) -> Place | None:
        return self._rename(
            document, lambda key: self.random.choice((key.upper(), f"{key}s", key[:-1] or "x", key.capitalize()))
        )

    def _key(self, document: Doc) -> Place | None:
        return self._rename(document, lambda key: self.random.choice(list(self._texts(key, {}))), free=True)

    def _rename(self, document: Doc, spelt: Callable[[str], str], *, free: bool = False) -> Place | None:
        found = self._first(
            document, lambda node, s: isinstance(node, dict) and bool(node) and free != bool(s.get("properties"))
        )
        if found is None:
            return None
        key = self.random.choice(list(found[1]))
        found[1][spelt(str(key))] = found[1].pop(key)
        return found[0]

    def _unknown(self, document: Doc) -> Place | None:
        found = self._first(document, lambda node, _: isinstance(node, dict))
        if found is None:
            return None
        found[1][self.random.choice(("foo", "replicas", "name", "enabled", "spec", "image"))] = self.random.choice(
            ("a", 1, True)
        )
        return found[0]

    def _add(self, document: Doc) -> Place | None:
        found = self._first(
            document, lambda node, s: isinstance(node, dict) and bool(set(s.get("properties", {})) - set(node))
        )
        if found is None or found[0][0] == "status":
            return None
        path, node, schema = found
        name = self.random.choice(sorted(set(schema["properties"]) - set(node)))
        node[name] = self._sample(schema["properties"][name], 0)
        return (*path, name)

    def _sample(self, schema: Doc, depth: int) -> Any:  # noqa: PLR0911 - one answer for each type
        schema = self._resolved(schema)
        name, draw = str(schema.get("name", "")), self.random.choice
        if name.endswith("Quantity"):
            return draw(("1Gi", "500m", 1, "0", "-1", "1.5", 0.5))
        if name.endswith("IntOrString"):
            return draw((1, "50%", "http", 0, 8080, "8080"))
        match schema.get("type"):
            case "string":
                words = [
                    w
                    for pair in re.findall(r'`"?([A-Za-z]\w+)"?`|"([A-Z]\w+)"', schema.get("description", ""))
                    for w in pair
                    if w
                ]
                return draw(
                    (
                        *words,
                        *words,
                        "a",
                        "example.com/a",
                        "A",
                        "10.0.0.1",
                        "/a",
                        "1",
                        "",
                        "10.0.0.0/8",
                        "fd00::1",
                        "x_y",
                    )
                )
            case "integer" | "number":
                return draw((0, 1, 2, 10, 100, 1000, 8080, -1, 65536, 420))
            case "boolean":
                return draw((True, False))
            case "array":
                return [self._sample(schema.get("items", {}), depth + 1) for _ in range(draw((0, 1, 1, 2)))]
        needed, known = schema.get("required", ()), schema.get("properties", {})
        chosen = [n for n in known if n in needed or self.random.random() < (0.3 if depth < 2 else 0.1)]  # noqa: PLR2004
        return {n: self._sample(known[n], depth + 1) for n in chosen} if depth < 6 else {}  # noqa: PLR2004

    def _swap(self, document: Doc) -> Place | None:
        found = self._first(document, lambda node, _: isinstance(node, dict) and len(node) > 1)
        if found is None:
            return None
        one, other = self.random.sample(list(found[1]), 2)
        found[1][one], found[1][other] = found[1][other], found[1][one]
        return found[0]

    def _take(self, document: Doc) -> Place | None:
        (path, node, _), *rest = self._nodes(document)
        others = [value for _, value, _ in rest if type(value) is type(node) and value != node]
        if not others:
            return None
        _at(document, path[:-1])[path[-1]] = copy.deepcopy(self.random.choice(others))
        return path


def _at(document: Any, path: Place) -> Any:
    for step in path:
        document = document[step]
    return document


def documents(paths: list[Path]) -> list[Doc]:
    """Objects of files and folders."""
    files = [f for path in paths for f in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    found = [d for file in files for d in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return [d for d in found if isinstance(d, dict) and isinstance(d.get("kind"), str)]


def main() -> int:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--kubernetes-version", default="1.36")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    server = Server()

    def judge(document: Doc) -> tuple[str, str | None]:
        text, metadata = yaml.safe_dump(document), document.get("metadata")
        space = metadata.get("namespace") if isinstance(metadata, dict) else None
        return text, server.judge(text, document.get("apiVersion"), document.get("kind"), space)

    bases = [(i, d) for i, d in enumerate(documents(options.paths)) if judge(d)[1] == ""]
    mutator, mutants = Mutator(server.schemas, options.seed), []
    while len(mutants) < options.count:
        if (mutant := mutator.mutant(*mutator.random.choice(bases))) is not None:
            mutants.append(mutant)
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda m: judge(m.document), mutants))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    recorded = []
    for mutant, (text, refused) in zip(mutants, verdicts, strict=True):
        if refused is None:
            continue
        said = ours(text, options.kubernetes_version)
        same = bool(said) == bool(refused)
        counts[mutant.kind]["same" if same else "missed" if refused else "false alarm"] += 1
        if not same:
            print(
                f"{mutant.kind} {'.'.join(map(str, mutant.path))}: {'missed: ' + refused[:300] if refused else said[0]}"
            )
        recorded.append(_record(mutant, refused))
    for kind, found in sorted(counts.items()):
        print(f"{kind:28}{100 * found['same'] / found.total():7.2f} % of {found.total()}")
    whole: Counter[str] = sum(counts.values(), Counter())
    print(f"agreement {100 * whole['same'] / whole.total():.2f} % of {whole.total()}: {dict(whole)}")
    if options.record:
        lines = [line for line in dict.fromkeys(recorded) if line]
        options.record.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    return 0


def _record(mutant: Mutant, refused: str) -> str:
    """A change as one line of JSON: which manifest, where, what (nothing: deleted), and the server's verdict."""
    try:
        changed = [_at(mutant.document, mutant.path)]
    except (KeyError, IndexError, TypeError):
        changed = []
    line = json.dumps([mutant.base, mutant.path, changed, refused.partition("\n")[0][:90]], default=str)
    return line if len(line) < 300 else ""  # noqa: PLR2004 - a sample that people can read


if __name__ == "__main__":
    sys.exit(main())
