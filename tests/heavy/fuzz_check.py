"""Bytes by chance, guided by what code they reach, into `check`: it answers or refuses, within limits of time and memory.

    pip install -e '.[fuzz]'
    python tests/heavy/fuzz_check.py CORPUS [-max_total_time=300]

Arguments are those of libFuzzer; `CORPUS` keeps the inputs that reached something new. Every run begins with rendered objects.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["stowplan"]):
    from stowplan import resources
    from stowplan.catalog import Catalog
    from stowplan.check.ignores import without_ignored
    from stowplan.check.registry import all_checks
    from stowplan.check.runner import check_bundle, objects_of
    from stowplan.diagnostics import Refused, Report
    from stowplan.located_yaml import read_bytes
    from stowplan.plain_scalars import json_scalar, kubernetes_scalar

    all_checks()

ROOT = Path(__file__).parents[2]
SMALL = 6_000
LIMITS = ["-max_len=20000", "-timeout=10", "-rss_limit_mb=1500", "-print_final_stats=1"]
CATALOG = Catalog([resources.folder("profiles")])


def judge(raw: bytes) -> None:
    """What the command does with a file, without the file."""
    for scalar in (kubernetes_scalar, json_scalar):
        try:
            documents = list(read_bytes(raw, "fuzzed.yaml", scalar=scalar))
        except Refused as refused:
            assert len(refused.report)
            continue
        for document in documents:
            place = document.locate(())
            assert place.line
        found = check_bundle(documents, "1.36", None, CATALOG)
        for diagnostic in Report.of(without_ignored(found, documents, objects_of(documents))):
            assert diagnostic.location
            assert diagnostic.message


def seed(folder: Path) -> None:
    """One rendered file of each size and kind, and the texts of the recorded verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted((ROOT / "manifests").rglob("*.yaml")) + sorted((ROOT / "tests" / "verdicts").glob("*.yaml"))
    for number, file in enumerate(files):
        for index, part in enumerate(file.read_bytes().split(b"\n---\n")):
            if len(part) < SMALL and (number + index) % 3 == 0:
                (folder / f"seed-{number}-{index}").write_bytes(part)


def main() -> None:
    """Seed the corpus, and fuzz until the time is over or something breaks."""
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if not given:
        raise SystemExit(__doc__)
    seed(Path(given[0]))
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
