"""Which keys of a plug-in's own configuration, and which variables, each of its releases reads.

    python scripts/engine_settings.py 0.23.0
    python scripts/engine_settings.py 0.23.0 --source path/to/checkout/or/wheel
    python scripts/engine_settings.py 0.23.0=one.whl 0.25.0=path/to/checkout --merge settings.yaml

The wheel of one release at a time is fetched by pip, or a checkout of a tag is read. Sources are parsed,
never imported or run: a key is what the package looks up in the mapping that the engine hands it, a
variable is what it asks the environment for. A key that it only looks for in order to refuse it is none.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from engine_flags import bounds, fetch, version_key

PACKAGE = "vllm-ascend"
FOLDER = "vllm_ascend/"
MAPPING = "additional_config"
"""Name under which the engine hands the plug-in its mapping."""
FLAG = "--additional-config"
PREFIX = "VLLM_ASCEND_"
"""Of the plug-in's own variables."""


@dataclass(frozen=True)
class Release:
    """What one release reads."""

    version: str
    file: str
    sha256: str
    keys: frozenset[str]
    variables: frozenset[str]


def texts(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of the package's Python files, in order."""
    if source.is_dir():
        for path in sorted((source / FOLDER).rglob("*.py")):
            yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(FOLDER) and name.endswith(".py"):
                yield name, archive.read(name)


def is_mapping(node: ast.expr) -> bool:
    """Whether an expression is the mapping, or the mapping with something in its place where it is empty."""
    if isinstance(node, ast.BoolOp):
        return any(map(is_mapping, node.values))
    return (isinstance(node, ast.Name) and node.id == MAPPING) or (
        isinstance(node, ast.Attribute) and node.attr == MAPPING
    )


def text_of(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def looked_for(node: ast.AST) -> Iterator[str]:
    """Keys that one expression looks up in the mapping."""
    if isinstance(node, ast.Call):
        function, given = node.func, node.args
        if isinstance(function, ast.Attribute) and function.attr in ("get", "pop") and is_mapping(function.value):
            yield from filter(None, map(text_of, given[:1]))
        for one, other in pairwise(given):  # a helper takes the mapping, then the key
            if is_mapping(one) and (key := text_of(other)):
                yield key
    elif isinstance(node, ast.Subscript) and is_mapping(node.value):
        yield from filter(None, [text_of(node.slice)])
    elif isinstance(node, ast.Compare) and any(is_mapping(c) for c in node.comparators):
        yield from filter(None, [text_of(node.left)])


def refused(tree: ast.Module) -> Iterator[str]:
    """Keys that are looked for only in order to raise."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
            yield from (key for inner in ast.walk(node.test) for key in looked_for(inner))


def asked_for(node: ast.AST) -> Iterator[str]:
    """Variables that one expression asks the environment for."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return
    owner, name = node.func.value, node.func.attr
    by_function = name == "getenv" and isinstance(owner, ast.Name) and owner.id == "os"
    by_mapping = name == "get" and isinstance(owner, ast.Attribute) and owner.attr == "environ"
    if by_function or by_mapping:
        yield from filter(None, [text_of(node.args[0])])


def read(files: Mapping[str, bytes]) -> tuple[frozenset[str], frozenset[str]]:
    """Keys and variables of a package's files."""
    keys, variables, never = set[str](), set[str](), set[str]()
    for data in files.values():
        tree = ast.parse(data)
        never |= {*refused(tree)}
        for node in ast.walk(tree):
            keys |= {*looked_for(node)}
            variables |= {name for name in asked_for(node) if name.startswith(PREFIX)}
    return frozenset(keys - never), frozenset(variables)


def read_release(version: str, source: Path | None) -> Release:
    if source is None:
        with tempfile.TemporaryDirectory() as folder:
            return read_release(version, fetch(PACKAGE, version, Path(folder)))
    files = dict(texts(source))
    keys, variables = read(files)
    if source.is_dir():
        listing = "".join(f"{hashlib.sha256(d).hexdigest()}  {name}\n" for name, d in files.items())
        return Release(version, f"{len(files)} files", hashlib.sha256(listing.encode()).hexdigest(), keys, variables)
    return Release(version, source.name, hashlib.sha256(source.read_bytes()).hexdigest(), keys, variables)


def ranges(releases: Sequence[Release], name: str, part: str) -> str:
    """Versions that know a name; empty: all that were read."""
    known = [i for i, release in enumerate(releases) if name in getattr(release, part)]
    return bounds([release.version for release in releases], known)


def to_yaml(releases: Sequence[Release]) -> str:
    lines = ["keys:", f"  {FLAG}:"]
    for part, indent in (("keys", "    "), ("variables", "    ")):
        if part == "variables":
            lines += ["variables:", f"  prefix: {PREFIX}", "  known:"]
        for name in sorted({name for release in releases for name in getattr(release, part)}):
            found = ranges(releases, name, part)
            lines.append(f"{indent}{name}: {json.dumps(found) if found else 'null'}")
    lines.append("settingsRead:")
    for release in releases:
        what = f"version: {json.dumps(release.version)}, file: {json.dumps(release.file)}"
        lines.append(f"  - {{{what}, sha256: {json.dumps(release.sha256)}}}")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION[=SOURCE]", help="a checkout or wheel; none: by pip")
    parser.add_argument("--merge", type=Path, metavar="OUT", help="write keys and variables with ranges")
    args = parser.parse_args(argv)
    releases = []
    for given in args.versions:
        version, _, source = given.partition("=")
        release = read_release(version, Path(source) if source else None)
        releases.append(release)
        print(f"{version}: {len(release.keys)} keys, {len(release.variables)} variables", file=sys.stderr)
    releases.sort(key=lambda release: version_key(release.version))
    if args.merge:
        args.merge.write_text(to_yaml(releases), encoding="utf-8")
    else:
        print(to_yaml(releases), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
