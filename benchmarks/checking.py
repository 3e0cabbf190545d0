"""What `check` costs at all levels, against merely parsing the same files with PyYAML's C library, and what it holds.

    python benchmarks/checking.py [CRDS]

Start-up apart, CPU time, best of several runs; `CRDS` is a folder of CustomResourceDefinitions that no document needs.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from pipeline import best

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.tree import check_paths

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
COPIES, ROUNDS, MOST_MIB = 5, 3, 200
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parsed(files: list[Path]) -> int:
    """How many documents PyYAML makes of the files."""
    return sum(1 for file in files for _ in yaml.load_all(file.read_bytes(), Loader=Loader))


def compared(name: str, path: Path, crds: list[Path]) -> None:
    """Print the cost of checking a file or folder."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.suffix in (".yaml", ".json")]
    catalog = Catalog([resources.folder("profiles")])
    check_paths([str(path)], catalog, None, io.BytesIO())
    library = best(lambda: parsed(files), ROUNDS)
    ours = best(lambda: check_paths([str(path)], catalog, None, io.BytesIO()), ROUNDS)
    print(
        f"{name:8} {parsed(files)} documents: PyYAML (C) {library:.2f} s, check {ours:.2f} s = {ours / library:.2f} (at most 2)"
    )
    if crds:
        needed = best(lambda: check_paths([str(path)], catalog, None, io.BytesIO(), crds), ROUNDS)
        print(f"{'':8} with a folder of definitions: {needed / ours:.2f} of that")


def main() -> None:
    """Measure and print."""
    from test_streams import measured, stream  # noqa: PLC0415 - of the tests' folder

    crds = [Path(argument) for argument in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(COPIES):
            shutil.copytree(ROOT / "manifests", Path(folder, "tree", str(number)))
        for name, count in (("two.yaml", 2_000), ("ten.yaml", 10_000)):
            Path(folder, name).write_text(stream(count), encoding="utf-8")
        held = measured(
            "check", "-", stdin=Path(folder, "ten.yaml")
        ).mib  # first: a child begins as large as its parent
        print(f"memory   10,000 documents through standard input: {held:.0f} MiB (at most {MOST_MIB})")
        compared("stream", Path(folder, "two.yaml"), crds)
        compared("tree", Path(folder, "tree"), [])


if __name__ == "__main__":
    main()
