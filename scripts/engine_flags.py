"""Which command-line flags each release of a serving engine knows, read from its Python sources.

    python scripts/engine_flags.py vllm 0.25.0 0.25.1
    python scripts/engine_flags.py vllm 0.25.0 0.33.0 --merge flags.yaml
    python scripts/engine_flags.py vllm 0.33.0 --source path/to/checkout

The wheel of one release at a time is fetched by pip, read from the archive and deleted. Sources
are parsed, never imported or run: a small reader follows the function that builds the parser,
keeps what it can know without running anything, and reports the flags whose type it could not
tell. With --merge the releases become the `flags:` mapping of an engine profile.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

Kind = Literal["switch", "int", "float", "text", "json"]
KINDS: Mapping[str, Kind] = {"bool": "switch", "int": "int", "float": "float", "str": "text"}
LONGEST_CHAIN = 12
"""Longest chain of imports and aliases that is followed."""


# --- sources ------------------------------------------------------------------------------------


@dataclass
class Module:
    """One parsed file, with what its top level defines."""

    name: str
    package: str
    tree: ast.Module
    names: dict[str, ast.stmt]


@dataclass
class Sources:
    """The Python files of one release."""

    read: Callable[[str], bytes | None]
    seen: dict[str, Module | None] = field(default_factory=dict)
    digest: dict[str, str] = field(default_factory=dict)

    def module(self, name: str) -> Module | None:
        if name not in self.seen:
            self.seen[name] = self._load(name)
        return self.seen[name]

    def _load(self, name: str) -> Module | None:
        stem = name.replace(".", "/")
        for path, package in (
            (f"{stem}.py", name.rpartition(".")[0]),
            (f"{stem}/__init__.py", name),
        ):
            text = self.read(path)
            if text is not None:
                self.digest[path] = hashlib.sha256(text).hexdigest()
                tree = ast.parse(text)
                return Module(name, package, tree, dict(_definitions(tree.body)))
        return None

    def resolve(self, module: Module, name: str, depth: int = 0) -> tuple[Module, ast.stmt] | None:
        """Where `name` is defined, through imports and re-exports."""
        stmt = module.names.get(name)
        if depth > LONGEST_CHAIN:
            return None
        if stmt is None:
            return self._starred(module, name, depth)
        if not isinstance(stmt, ast.ImportFrom):
            return module, stmt
        target = _absolute(module, stmt)
        original = next(a.name for a in stmt.names if name in (a.asname, a.name))
        found = self.module(target)
        return self.resolve(found, original, depth + 1) if found else None

    def _starred(self, module: Module, name: str, depth: int) -> tuple[Module, ast.stmt] | None:
        for stmt in module.tree.body:
            if isinstance(stmt, ast.ImportFrom) and stmt.names[0].name == "*":
                target = self.module(_absolute(module, stmt))
                found = self.resolve(target, name, depth + 1) if target else None
                if found:
                    return found
        return None


def _absolute(module: Module, stmt: ast.ImportFrom) -> str:
    if not stmt.level:
        return stmt.module or ""
    parts = module.package.split(".")
    base = parts[: len(parts) - stmt.level + 1]
    return ".".join([*base, stmt.module] if stmt.module else base)


def _definitions(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names that a module's top level binds; what runs wins over what only type checkers see."""
    found: dict[str, ast.stmt] = {}
    for stmt in body:
        if isinstance(stmt, ast.If | ast.Try):
            inner = [*stmt.body, *stmt.orelse, *(s for s in getattr(stmt, "finalbody", ()))]
            found.update(_definitions(inner))
        elif isinstance(stmt, ast.ClassDef | ast.FunctionDef):
            found[stmt.name] = stmt
        elif isinstance(stmt, ast.ImportFrom):
            found.update({a.asname or a.name: stmt for a in stmt.names})
        elif isinstance(stmt, ast.Assign):
            names = [t.id for t in stmt.targets if isinstance(t, ast.Name)]
            found.update({n: stmt for n in names if not isinstance(found.get(n), ast.ClassDef)})
        elif isinstance(stmt, ast.AnnAssign) and isinstance(stmt.target, ast.Name):
            found[stmt.target.id] = stmt
    yield from found.items()


def wheel_sources(path: Path) -> Sources:
    archive = zipfile.ZipFile(path)
    members = frozenset(archive.namelist())
    return Sources(lambda name: archive.read(name) if name in members else None)


def tree_sources(root: Path) -> Sources:
    def read(name: str) -> bytes | None:
        for base in (root, root / "python", root / "src"):
            if (base / name).is_file():
                return (base / name).read_bytes()
        return None

    return Sources(read)


# --- types of annotations -----------------------------------------------------------------------


@dataclass(frozen=True)
class Hint:
    """One member of a (union) annotation."""

    kind: str
    """bool int float str none dict record literal many other"""
    values: tuple[str | int, ...] = ()
    items: frozenset[Hint] = frozenset()


OTHER = frozenset({Hint("other")})
ATOMS = {"bool": "bool", "int": "int", "float": "float", "str": "str", "None": "none"}
COLLECTIONS = {"list", "List", "tuple", "Tuple", "set", "Set", "frozenset", "Sequence"}
MAPPINGS = {"dict", "Dict", "Mapping"}
WRAPPERS = {"Annotated", "A", "SkipValidation", "Final"}
NOT_FIELDS = {"ClassVar", "InitVar"}


@dataclass
class Annotations:
    """Turns annotations into hints."""

    sources: Sources

    def hints(self, module: Module, node: ast.expr, depth: int = 0) -> frozenset[Hint]:
        if depth > LONGEST_CHAIN:
            return OTHER
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                return self.hints(module, ast.parse(node.value, mode="eval").body, depth + 1)
            return frozenset({Hint("none")}) if node.value is None else OTHER
        if isinstance(node, ast.BinOp):
            return self.hints(module, node.left, depth) | self.hints(module, node.right, depth)
        if isinstance(node, ast.Subscript):
            return self._subscript(module, node, depth)
        return self._name(module, node, depth)

    def _subscript(self, module: Module, node: ast.Subscript, depth: int) -> frozenset[Hint]:
        base = _last(node.value)
        args = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base == "Literal":
            return frozenset({Hint("literal", tuple(self._literals(module, args)))})
        if base in {"Optional", "Union"}:
            none = {Hint("none")} if base == "Optional" else set()
            return frozenset(none).union(*(self.hints(module, a, depth) for a in args))
        if base in WRAPPERS:
            return self.hints(module, args[0], depth)
        if base in COLLECTIONS:
            return frozenset({Hint("many", items=self.hints(module, args[0], depth))})
        return frozenset({Hint("dict")}) if base in MAPPINGS else OTHER

    def _literals(self, module: Module, args: Sequence[ast.expr]) -> Iterator[str | int]:
        for arg in args:
            if isinstance(arg, ast.Constant) and isinstance(arg.value, str | int):
                yield arg.value
            elif isinstance(arg, ast.Name | ast.Attribute | ast.Subscript):
                for hint in self.hints(module, arg):
                    yield from hint.values

    def _name(self, module: Module, node: ast.expr, depth: int) -> frozenset[Hint]:
        last = _last(node)
        if last in ATOMS:
            return frozenset({Hint(ATOMS[last])})
        if last in MAPPINGS:
            return frozenset({Hint("dict")})
        if last in COLLECTIONS:
            return frozenset({Hint("many", items=frozenset({Hint("str")}))})
        found = self.sources.resolve(module, last) if isinstance(node, ast.Name) else None
        if found is None:
            return OTHER
        where, stmt = found
        if isinstance(stmt, ast.ClassDef):
            return frozenset({Hint(self._class_kind(where, stmt))})
        value = stmt.value if isinstance(stmt, ast.Assign | ast.AnnAssign) else None
        return self.hints(where, value, depth + 1) if value else OTHER

    def _class_kind(self, module: Module, cls: ast.ClassDef) -> str:
        marks = {_last(d.func if isinstance(d, ast.Call) else d) for d in cls.decorator_list}
        if marks & {"config", "dataclass"}:
            return "record"
        bases = {_last(b.value if isinstance(b, ast.Subscript) else b) for b in cls.bases}
        if "IntEnum" in bases:
            return "int"
        return "dict" if bases & {"dict", "UserDict"} else "other"

    def bases(self, module: Module, cls: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
        for base in cls.bases:
            found = self.sources.resolve(module, base.id) if isinstance(base, ast.Name) else None
            if found and isinstance(found[1], ast.ClassDef):
                yield found[0], found[1]

    def fields(self, module: Module, cls: ast.ClassDef) -> dict[str, tuple[Module, ast.expr]]:
        """Dataclass fields with the module that each annotation is read in."""
        found: dict[str, tuple[Module, ast.expr]] = {}
        for where, base in self.bases(module, cls):
            found.update(self.fields(where, base))
        for stmt in cls.body:
            if isinstance(stmt, ast.AnnAssign) and isinstance(stmt.target, ast.Name):
                note = stmt.annotation
                wrapper = _last(note.value) if isinstance(note, ast.Subscript) else ""
                if wrapper not in NOT_FIELDS:
                    found[stmt.target.id] = (module, note)
        return found


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and node.value is None:
        return "None"
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


# --- flags --------------------------------------------------------------------------------------


@dataclass
class Spec:
    """What is known of one option."""

    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    negative: bool = False
    """The option has a --no- twin."""
    many: bool = False
    """Several values follow it, so that it is text to us."""
    unread: bool = False
    """Its definition could not be read."""

    def entry(self) -> Flag:
        if self.many:
            return Flag("text")
        return Flag(self.kind, self.choices if self.kind in ("int", "text") else ())


@dataclass(frozen=True)
class Flag:
    """One row of the result."""

    type: Kind
    choices: tuple[str, ...] = ()


def spec_of(hints: frozenset[Hint]) -> Spec:
    """The option that a configuration field becomes: the first kind that its annotation has."""
    kinds = {h.kind: h for h in hints}
    if "record" in kinds:
        return Spec("json")
    if "bool" in kinds:
        return Spec("text") if "str" in kinds else Spec("switch", negative=True)
    if "literal" in kinds:
        every = [h.values for h in hints if h.kind == "literal"]
        spec = _literal_spec(every)
        return replace(spec, choices=()) if "str" in kinds else spec
    if "many" in kinds:
        return replace(spec_of(kinds["many"].items), negative=False, many=True)
    for name in ("int", "float"):
        if name in kinds:
            return Spec(KINDS[name])
    return Spec("json") if "dict" in kinds else Spec("text")


def _literal_spec(groups: Sequence[tuple[str | int, ...]]) -> Spec:
    values = [v for group in groups for v in group]
    whole = bool(values) and all(isinstance(v, int) for v in values)
    return Spec("int" if whole else "text", _ordered({str(v) for v in values}))


def _ordered(values: Iterable[str]) -> tuple[str, ...]:
    """Numbers by value, then text."""
    return tuple(sorted(values, key=lambda v: (0, int(v), v) if v.isdecimal() else (1, 0, v)))


# --- the reader of parser-building functions ----------------------------------------------------


@dataclass
class Cls:
    module: Module
    node: ast.ClassDef


@dataclass
class Table:
    """Options by field, as the engine's own helper makes them from a configuration class."""

    specs: dict[str, Spec]


class Unknown:
    """A value that cannot be known without running the engine."""


UNKNOWN = Unknown()
Value = None | bool | int | str | list[str] | Cls | Table | Spec | Unknown
Env = dict[str, Value]


@dataclass
class Reader:
    """Follows the functions that build the parser and collects the options they add."""

    sources: Sources
    inverses: Mapping[str, str] = field(default_factory=dict)
    """Prefixes of switches that also exist with another prefix: --enable- to --disable-."""
    flags: dict[str, Flag] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notes = Annotations(self.sources)

    # functions and statements

    def function(self, module: Module, fn: ast.FunctionDef, env: Env) -> Value:
        return self._block(module, fn.body, dict(env))

    def method(self, cls: Cls, name: str, env: Env, skip_own: bool = False) -> Value:
        own = next((s for s in cls.node.body if isinstance(s, ast.FunctionDef) and s.name == name), None)
        if own is not None and not skip_own:
            return self.function(cls.module, own, {"cls": cls, **env, "__class__": cls})
        for where, base in self.notes.bases(cls.module, cls.node):
            found = self.method(Cls(where, base), name, {"cls": cls, **env})
            if found is not UNKNOWN:
                return found
        return UNKNOWN

    def _block(self, module: Module, body: Sequence[ast.stmt], env: Env) -> Value:
        result: Value = UNKNOWN
        for stmt in body:
            if isinstance(stmt, ast.Return):
                returned = self.eval(module, stmt.value, env) if stmt.value else None
                result = result if isinstance(returned, Unknown) else returned
            elif isinstance(stmt, ast.If | ast.With | ast.Try):
                inner = self._block(module, [*stmt.body, *getattr(stmt, "orelse", ())], env)
                result = result if isinstance(inner, Unknown) else inner
            else:
                self._statement(module, stmt, env)
        return result

    def _statement(self, module: Module, stmt: ast.stmt, env: Env) -> None:
        if isinstance(stmt, ast.Expr):
            self.eval(module, stmt.value, env)
        elif isinstance(stmt, ast.Assign):
            self._assign(module, stmt.targets[0], stmt.value, env)
        elif isinstance(stmt, ast.AnnAssign) and stmt.value is not None:
            self._assign(module, stmt.target, stmt.value, env)
        elif isinstance(stmt, ast.Delete):
            for target in stmt.targets:
                self._override(module, target, ast.Constant(value=None), env)
        elif isinstance(stmt, ast.AugAssign):
            self._override(module, stmt.target, ast.Constant(value=None), env)
        elif isinstance(stmt, ast.For):
            self._loop(module, stmt, env)
        elif isinstance(stmt, ast.ImportFrom):
            found = self.sources.module(_absolute(module, stmt))
            for alias in stmt.names if found else ():
                env[alias.asname or alias.name] = self._global(cast(Module, found), alias.name)

    def _loop(self, module: Module, stmt: ast.For, env: Env) -> None:
        """Only `for name, options in TABLE.items()` can add options."""
        call = stmt.iter
        table = (
            self.eval(module, call.func.value, env)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            else UNKNOWN
        )
        names = [t.id for t in getattr(stmt.target, "elts", ()) if isinstance(t, ast.Name)]
        if isinstance(table, Table) and len(names) == 2:
            for key, spec in table.specs.items():
                self._block(module, stmt.body, {**env, names[0]: key, names[1]: spec})

    def _assign(self, module: Module, target: ast.expr, value: ast.expr, env: Env) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = self.eval(module, value, env)
        else:
            self._override(module, target, value, env)

    def _override(self, module: Module, target: ast.expr, value: ast.expr, env: Env) -> None:
        """`options["type"] = ...`, `del options["nargs"]`, `options["choices"] += ...`."""
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            spec = self.eval(module, target.value, env)
            if isinstance(spec, Spec):
                self._overlay(module, spec, str(target.slice.value), value, env)

    # expressions

    def eval(self, module: Module, node: ast.expr, env: Env) -> Value:
        if isinstance(node, ast.Constant):
            known = isinstance(node.value, str | int) or node.value is None
            return cast(Value, node.value) if known else UNKNOWN
        if isinstance(node, ast.Name):
            return env[node.id] if node.id in env else self._global(module, node.id)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return self._listing(module, node.elts, env)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.BitOr):
            left, right = (self.eval(module, n, env) for n in (node.left, node.right))
            both = isinstance(left, list) and isinstance(right, list)
            return [*cast("list[str]", left), *cast("list[str]", right)] if both else UNKNOWN
        if isinstance(node, ast.Dict):
            return self._dict(module, node, env)
        if isinstance(node, ast.Subscript):
            return self._item(module, node, env)
        if isinstance(node, ast.Attribute):
            return self._attribute(module, node, env)
        if isinstance(node, ast.JoinedStr):
            parts = [self._part(module, v, env) for v in node.values]
            return "".join(cast("list[str]", parts)) if None not in parts else UNKNOWN
        return self._call(module, node, env) if isinstance(node, ast.Call) else UNKNOWN

    def _part(self, module: Module, node: ast.expr, env: Env) -> str | None:
        inner = node.value if isinstance(node, ast.FormattedValue) else node
        value = self.eval(module, inner, env)
        return value if isinstance(value, str) else None

    def _global(self, module: Module, name: str) -> Value:
        found = self.sources.resolve(module, name)
        if found is None:
            return UNKNOWN
        where, stmt = found
        if isinstance(stmt, ast.ClassDef):
            return Cls(where, stmt)
        value = stmt.value if isinstance(stmt, ast.Assign | ast.AnnAssign) else None
        return self.eval(where, value, {}) if value is not None else UNKNOWN

    def _listing(self, module: Module, nodes: Sequence[ast.expr], env: Env) -> Value:
        out: list[str] = []
        for node in nodes:
            inner = node.value if isinstance(node, ast.Starred) else node
            value = self.eval(module, inner, env)
            if isinstance(value, list):
                out.extend(value)
            elif isinstance(value, str | int) and not isinstance(value, bool):
                out.append(str(value))
            elif value is not None:
                return UNKNOWN
        return out

    def _dict(self, module: Module, node: ast.Dict, env: Env) -> Value:
        """`{**options, "default": None}`, or a plain mapping, of which only the keys matter."""
        spec: Spec | None = None
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                base = self.eval(module, value, env)
                spec = replace(base) if isinstance(base, Spec) else Spec(unread=True)
            elif spec is not None and isinstance(key, ast.Constant):
                self._overlay(module, spec, str(key.value), value, env)
        return spec or self._listing(module, [k for k in node.keys if k], env)

    def _item(self, module: Module, node: ast.Subscript, env: Env) -> Value:
        base = self.eval(module, node.value, env)
        key = self.eval(module, node.slice, env)
        if isinstance(base, Table) and isinstance(key, str):
            return base.specs.get(key, UNKNOWN)
        if isinstance(base, Spec) and key == "choices":
            return list(base.choices)
        return UNKNOWN

    def _attribute(self, module: Module, node: ast.Attribute, env: Env) -> Value:
        base = self.eval(module, node.value, env)
        if isinstance(base, Cls):
            for stmt in base.node.body:
                target = stmt.targets[0] if isinstance(stmt, ast.Assign) else None
                target = stmt.target if isinstance(stmt, ast.AnnAssign) else target
                if isinstance(target, ast.Name) and target.id == node.attr:
                    value = cast("ast.Assign | ast.AnnAssign", stmt).value
                    return self.eval(base.module, value, {}) if value else UNKNOWN
        return UNKNOWN

    # calls

    def _call(self, module: Module, node: ast.Call, env: Env) -> Value:
        func = node.func
        name = _last(func)
        if name == "add_argument":
            return self._add(module, node, env)
        if name in {"get_kwargs", "_compute_kwargs"} and node.args:
            return self._table(self.eval(module, node.args[0], env))
        if name == "add_cli_args_from_dataclass":
            return self._annotated(module, self.eval(module, node.args[1], env))
        if name == "get_args" and node.args:
            hints = self.notes.hints(module, node.args[0])
            return [str(v) for hint in hints for v in hint.values] or UNKNOWN
        if name in {"list", "sorted", "set", "tuple", "frozenset", "deepcopy"} and node.args:
            return self.eval(module, node.args[0], env)
        if isinstance(func, ast.Attribute):
            return self._method_call(module, node, func, env)
        found = self.sources.resolve(module, name)
        if found and isinstance(found[1], ast.FunctionDef) and not node.args:
            return self.function(found[0], found[1], {})
        return UNKNOWN

    def _method_call(self, module: Module, node: ast.Call, func: ast.Attribute, env: Env) -> Value:
        if isinstance(func.value, ast.Call) and _last(func.value.func) == "super":
            owner = env.get("__class__", UNKNOWN)
            args = {"cls": env.get("cls", UNKNOWN), **self._arguments(module, node, env)}
            known = isinstance(owner, Cls)
            return self.method(cast(Cls, owner), func.attr, args, True) if known else UNKNOWN
        base = self.eval(module, func.value, env)
        if isinstance(base, Cls) and func.attr not in {"keys", "values"}:
            return self.method(base, func.attr, self._arguments(module, node, env))
        if isinstance(base, list):
            self._list_method(module, node, func, env)
            return base
        if isinstance(base, str) and func.attr == "replace" and len(node.args) == 2:
            old, new = (self._part(module, a, env) for a in node.args)
            return base.replace(old, new) if old is not None and new is not None else UNKNOWN
        return UNKNOWN

    def _list_method(self, module: Module, node: ast.Call, func: ast.Attribute, env: Env) -> None:
        """`options["choices"].remove(VALUE)` and `.append(VALUE)`."""
        if not isinstance(func.value, ast.Subscript) or func.attr not in {"remove", "append"}:
            return
        spec = self.eval(module, func.value.value, env)
        value = self.eval(module, node.args[0], env)
        if isinstance(spec, Spec) and isinstance(value, str):
            kept = set(spec.choices) - {value}
            more = {value} if func.attr == "append" else set()
            spec.choices = _ordered(kept | more)

    def _arguments(self, module: Module, node: ast.Call, env: Env) -> Env:
        """Arguments by the parameter names that both engines use for them."""
        values = [self.eval(module, arg, env) for arg in node.args]
        tables = [v for v in values if isinstance(v, Table)]
        return {"frontend_kwargs": tables[0], "kwargs": tables[0]} if tables else {}

    def _table(self, cls: Value) -> Value:
        if not isinstance(cls, Cls):
            return UNKNOWN
        fields = self.notes.fields(cls.module, cls.node)
        return Table({n: spec_of(self.notes.hints(*where)) for n, where in fields.items()})

    # options

    def _add(self, module: Module, node: ast.Call, env: Env) -> Value:
        names = [
            value
            for arg in node.args
            if isinstance(value := self.eval(module, arg, env), str) and value.startswith("--")
        ]
        spec = Spec()
        for word in (k for k in node.keywords if k.arg is None):
            base = self.eval(module, word.value, env)
            spec = replace(base) if isinstance(base, Spec) else Spec(unread=True)
        words = {k.arg: k.value for k in node.keywords if k.arg}
        for key in ("action", "type", "nargs", "choices"):
            if key in words:
                self._overlay(module, spec, key, words[key], env)
        self._record(names, spec)
        return UNKNOWN

    def _record(self, names: Sequence[str], spec: Spec) -> None:
        self.unread.extend(n for n in names if spec.unread)
        for name in names:
            self.flags[name] = spec.entry()
        if spec.kind == "switch" and spec.negative:
            for name in names:
                self.flags.setdefault(f"--no-{name[2:]}", Flag("switch"))
                for prefix, other in self.inverses.items():
                    if name.startswith(prefix):
                        twin = other + name.removeprefix(prefix)
                        self.flags.setdefault(twin, Flag("switch"))

    def _overlay(self, module: Module, spec: Spec, key: str, value: ast.expr, env: Env) -> None:
        if key == "action":
            self._action(module, spec, value)
        elif key == "type":
            spec.kind = self._parser(module, value)
            spec.negative = False
            spec.choices = spec.choices if spec.kind in ("int", "text") else ()
        elif key == "choices":
            values = self.eval(module, value, env)
            spec.choices = _ordered(set(values)) if isinstance(values, list) else ()
        elif key == "nargs":
            count = value.value if isinstance(value, ast.Constant) else None
            spec.many = count in ("+", "*") or (isinstance(count, int) and count > 1)
            if spec.kind == "switch" and count != 0:
                spec.kind = "text"

    def _action(self, module: Module, spec: Spec, value: ast.expr) -> None:
        name = str(value.value) if isinstance(value, ast.Constant) else _last(value)
        spec.negative = name == "BooleanOptionalAction"
        if spec.negative or name in {"store_true", "store_false", "store_const", "count"}:
            spec.kind = "switch"
        elif name in {"append", "extend"}:
            spec.many = True
        elif isinstance(found := self._global(module, name), Cls) and _takes_nothing(found.node):
            spec.kind = "switch"

    def _parser(self, module: Module, node: ast.expr) -> Kind:
        """What a `type=` callable makes of its text."""
        if isinstance(node, ast.Call) and node.args:
            return self._parser(module, node.args[0])
        text = ast.unparse(node)
        if "json" in text:
            return "json"
        if text in KINDS and text != "bool":
            return KINDS[text]
        found = self.sources.resolve(module, text) if isinstance(node, ast.Name) else None
        fn = found[1] if found else None
        if found and isinstance(fn, ast.FunctionDef) and fn.returns is not None:
            kind = spec_of(self.notes.hints(found[0], fn.returns)).kind
            return "text" if kind == "switch" else kind
        return "text"

    # options declared in annotations: `name: Annotated[T, Arg(...)]`

    def _annotated(self, module: Module, cls: Value) -> Value:
        if isinstance(cls, Cls):
            for owner in [cls, *self._collected(cls.module)]:
                for name, (where, note) in self.notes.fields(owner.module, owner.node).items():
                    self._annotated_field(where, name, note)
        return UNKNOWN

    def _collected(self, module: Module) -> Iterator[Cls]:
        """Classes of the list that the module hands to `collect_input_fields`."""
        for call in ast.walk(module.tree):
            if isinstance(call, ast.Call) and _last(call.func) == "collect_input_fields":
                names = call.args[0]
                stmt = module.names.get(_last(names))
                listing = stmt.value if isinstance(stmt, ast.Assign) else names
                for item in getattr(listing, "elts", ()):
                    found = self.eval(module, item, {})
                    if isinstance(found, Cls):
                        yield found

    def _annotated_field(self, module: Module, name: str, note: ast.expr) -> None:
        if not isinstance(note, ast.Subscript) or _last(note.value) not in {"A", "Annotated"}:
            return
        inner, *marks = cast(ast.Tuple, note.slice).elts
        arg = next((m for m in marks if isinstance(m, ast.Call) and _last(m.func) == "Arg"), None)
        words = {k.arg: k.value for k in arg.keywords} if arg else {}
        hidden = words.get("no_cli")
        texts = any(isinstance(m, ast.Constant | ast.JoinedStr | ast.BinOp) for m in marks)
        if not (arg or texts) or (isinstance(hidden, ast.Constant) and hidden.value is True):
            return
        spec = replace(spec_of(self.notes.hints(module, inner)), negative=False)
        spec = Spec("text") if spec.kind == "json" else spec
        actions = words.get("action_kwargs")
        pairs = zip(actions.keys, actions.values, strict=True) if isinstance(actions, ast.Dict) else ()
        words |= {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
        for key, word in (("action", "action"), ("type", "type_parser"), ("type", "type")):
            if word in words:
                spec.many = False
                self._overlay(module, spec, key, words[word], {})
        for key in ("nargs", "choices"):
            if key in words:
                self._overlay(module, spec, key, words[key], {})
        own = self.eval(module, words["cli_name"], {}) if "cli_name" in words else None
        more = self.eval(module, words["aliases"], {}) if "aliases" in words else []
        first = own if isinstance(own, str) else f"--{name.replace('_', '-')}"
        self._record([first, *(more if isinstance(more, list) else [])], spec)


def _takes_nothing(cls: ast.ClassDef) -> bool:
    """An action class whose constructor has `nargs=0`."""
    for stmt in cls.body:
        if isinstance(stmt, ast.FunctionDef) and stmt.name == "__init__":
            names = [a.arg for a in stmt.args.args][-len(stmt.args.defaults) or None :]
            pairs = dict(zip(names, stmt.args.defaults, strict=False))
            default = pairs.get("nargs")
            return isinstance(default, ast.Constant) and default.value == 0
    return False


# --- engines ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Engine:
    """Where an engine builds the parser of its server; the first module that exists counts."""

    modules: tuple[str, ...]
    function: str
    parser_module: str = ""
    """Module of the engine's own parser class, if it adds spellings of switches."""


ENGINES: Mapping[str, Engine] = {
    "vllm": Engine(
        (
            "vllm.entrypoints.common.cli_args",
            "vllm.entrypoints.launchers.cli_args",
            "vllm.entrypoints.openai.cli_args",
        ),
        "make_arg_parser",
        "vllm.utils.argparse_utils",
    ),
    "sglang": Engine(("sglang.srt.server_args",), "ServerArgs.add_cli_args"),
}


def inverses(module: Module | None) -> dict[str, str]:
    """Prefix pairs that a subclass of argparse's BooleanOptionalAction declares."""
    found: dict[str, str] = {}
    for cls in module.tree.body if module else ():
        bases = {_last(b) for b in cls.bases} if isinstance(cls, ast.ClassDef) else set()
        if isinstance(cls, ast.ClassDef) and "BooleanOptionalAction" in bases:
            for node in (n for s in cls.body for n in ast.walk(s) if isinstance(n, ast.Dict)):
                pairs = ast.literal_eval(node)
                found.update({k: v for k, v in pairs.items() if k.startswith("--")})
    return found


def extract(engine: Engine, sources: Sources) -> tuple[dict[str, Flag], list[str]]:
    """Flags of one release, sorted, and those whose definition could not be read."""
    module = next((m for n in engine.modules if (m := sources.module(n))), None)
    if module is None:
        raise SystemExit(f"none of {', '.join(engine.modules)} in these sources")
    reader = Reader(sources, inverses(sources.module(engine.parser_module)))
    owner, _, name = engine.function.rpartition(".")
    stmt = module.names.get(owner or name)
    if isinstance(stmt, ast.ClassDef):
        reader.method(Cls(module, stmt), name, {})
    elif isinstance(stmt, ast.FunctionDef):
        reader.function(module, stmt, {})
    if not reader.flags:
        raise SystemExit(f"no flags in {module.name}: {engine.function} was not understood")
    return dict(sorted(reader.flags.items())), sorted(set(reader.unread))


# --- releases -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Release:
    """One release that was read."""

    version: str
    file: str
    sha256: str
    flags: dict[str, Flag]
    unread: list[str]


def fetch(engine: str, version: str, folder: Path) -> Path:
    """The release's wheel, by pip with its own configuration."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), f"{engine}=={version}"]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def read_release(engine: str, version: str, source: Path | None) -> Release:
    if source is None:
        with tempfile.TemporaryDirectory() as folder:
            return read_release(engine, version, fetch(engine, version, Path(folder)))
    if source.is_dir():
        sources = tree_sources(source)
        flags, unread = extract(ENGINES[engine], sources)
        listing = "".join(f"{d}  {p}\n" for p, d in sorted(sources.digest.items()))
        digest = hashlib.sha256(listing.encode()).hexdigest()
        return Release(version, f"{len(sources.digest)} files", digest, flags, unread)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    flags, unread = extract(ENGINES[engine], wheel_sources(source))
    return Release(version, source.name, digest, flags, unread)


# --- merging ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One flag over all releases."""

    flag: Flag
    versions: str
    """Empty: all of them."""
    remarks: tuple[str, ...] = ()


def version_key(version: str) -> tuple[tuple[int, ...], int]:
    numbers, _, post = version.partition(".post")
    return tuple(int(n) for n in numbers.split(".")), int(post or 0)


def merge(releases: Sequence[Release]) -> dict[str, Row]:
    ordered = sorted(releases, key=lambda r: version_key(r.version))
    names = sorted({name for release in ordered for name in release.flags})
    return {name: _row(name, ordered) for name in names}


def bounds(versions: Sequence[str], known: Sequence[int]) -> str:
    """The range from the first to the last place at which a name is known; empty: all versions."""
    first, last = known[0], known[-1]
    found = [f">={versions[first]}"] if first else []
    found += [f"<{versions[last + 1]}"] if last + 1 < len(versions) else []
    return ",".join(found)


def _row(name: str, ordered: Sequence[Release]) -> Row:
    known = [i for i, release in enumerate(ordered) if name in release.flags]
    first, last = known[0], known[-1]
    every = [ordered[i].flags[name] for i in known]
    remarks = []
    if len(known) <= last - first:
        missing = [ordered[i].version for i in range(first, last) if i not in known]
        remarks.append(f"not in {', '.join(missing)}")
    if len({flag.type for flag in every}) > 1:
        kinds = ", ".join(f"{ordered[i].version} {ordered[i].flags[name].type}" for i in known)
        remarks.append(f"type differs: {kinds}")
    if len({flag.choices for flag in every}) > 1:
        remarks.append("choices differ")
    choices = _ordered({c for flag in every for c in flag.choices})
    shown = choices if all(flag.choices for flag in every) else ()
    return Row(Flag(every[-1].type, shown), bounds([release.version for release in ordered], known), tuple(remarks))


PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _scalar(text: str) -> str:
    plain = PLAIN.fullmatch(text) and text.lower() not in WORDS
    return text if plain else json.dumps(text)


def to_yaml(releases: Sequence[Release]) -> str:
    lines = ["flags:"]
    for name, row in merge(releases).items():
        parts = [f"type: {row.flag.type}"]
        parts += [f"versions: {json.dumps(row.versions)}"] if row.versions else []
        if row.flag.choices:
            parts.append(f"choices: [{', '.join(map(_scalar, row.flag.choices))}]")
        lines.append(f"  {name}: {{{', '.join(parts)}}}")
    lines.append("read:")
    for release in sorted(releases, key=lambda r: version_key(r.version)):
        what = f"version: {json.dumps(release.version)}, file: {json.dumps(release.file)}"
        lines.append(f"  - {{{what}, sha256: {json.dumps(release.sha256)}}}")
    return "\n".join(lines) + "\n"


def to_json(releases: Sequence[Release]) -> str:
    def row(flag: Flag) -> dict[str, object]:
        return {"type": flag.type, **({"choices": list(flag.choices)} if flag.choices else {})}

    data = {r.version: {name: row(f) for name, f in r.flags.items()} for r in releases}
    return json.dumps(data, indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("engine", choices=sorted(ENGINES))
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--source", type=Path, help="checkout or wheel of the one VERSION")
    parser.add_argument("--merge", type=Path, metavar="OUT", help="write flags with ranges")
    args = parser.parse_args(argv)
    if args.source and len(args.versions) > 1:
        parser.error("--source holds one version")
    releases = []
    for version in args.versions:
        release = read_release(args.engine, version, args.source)
        releases.append(release)
        print(f"{version}: {len(release.flags)} flags", file=sys.stderr)
        if release.unread:
            print(f"  not understood: {', '.join(release.unread)}", file=sys.stderr)
    if args.merge is None:
        print(to_json(releases))
        return 0
    args.merge.write_text(to_yaml(releases), encoding="utf-8")
    for name, row in merge(releases).items():
        for remark in row.remarks:
            print(f"{name}: {remark}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
