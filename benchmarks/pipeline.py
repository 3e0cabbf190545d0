"""What the tool costs, as ratios of CPU time against a yardstick measured in the same run.

    python benchmarks/pipeline.py

Ratios travel between machines, seconds do not. Targets: start-up at most 2, rendering and checking at most 5.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.runner import check_bundle
from stowplan.located_yaml import read_bytes
from stowplan.pairing import read_pairing
from stowplan.plain_scalars import kubernetes_scalar
from stowplan.plan.planner import plan
from stowplan.render.artifact import Artifact
from stowplan.render.pairing import render_all

STARTS, ROUNDS = 15, 7
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def child_seconds(*arguments: str) -> float:
    """CPU time of one child process, from the kernel's own accounts."""
    null = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], dict(os.environ), file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    os.close(null)
    if status:
        raise SystemExit(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def alternating(*commands: tuple[str, ...]) -> list[float]:
    """Median CPU time of each command, run in turns so that a slow moment hits all of them."""
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(STARTS):
        for kept, command in zip(times, commands, strict=True):
            kept.append(child_seconds(*command))
    return [statistics.median(kept) for kept in times]


def best(act: Callable[[], object], rounds: int = ROUNDS) -> float:
    """CPU time of the best of several runs."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        act()
        found.append(time.process_time() - start)
    return min(found)


def check_all(artifacts: list[Artifact], minor: str) -> None:
    """Every check on every bundle and against its plan, from the text as it was rendered."""
    roots = {a.path.removesuffix("/kustomization.yaml"): a for a in artifacts if a.path.endswith("/kustomization.yaml")}
    bundles: dict[str, list[Artifact]] = {root: [] for root in roots}
    plans = {a.path.removesuffix("/plan.yaml"): a for a in artifacts if a.path.endswith("/plan.yaml")}
    for artifact in artifacts:
        if artifact.objects:
            bundles[max((root for root in roots if artifact.path.startswith(f"{root}/")), key=len)].append(artifact)
    for root, bundle in bundles.items():
        documents = [d for a in bundle for d in read_bytes(a.text.encode(), a.path, scalar=kubernetes_scalar)]
        found = next(read_bytes(plans[root].text.encode(), "plan.yaml")).data if root in plans else None
        errors = [d for d in check_bundle(documents, minor, found) if d.severity == "error"]
        if errors:
            raise SystemExit(f"{root}: {errors[0].message}")


def main() -> None:
    """Measure and print."""
    bare, typer, ours = alternating(("-c", "pass"), ("-c", "import typer"), ("-m", "stowplan", "--help"))
    print(
        f"start-up   stowplan --help {ours * 1e3:.0f} ms, import typer {typer * 1e3:.0f} ms, interpreter {bare * 1e3:.0f} ms"
    )
    print(f"           ratio to import typer: {ours / typer:.2f} (at most 2)")

    catalog = Catalog([resources.folder("profiles")])
    pairings = [read_pairing(path, catalog) for path in catalog.pairings.files.values()]
    plans = [plan(pairing) for pairing in pairings]
    artifacts = render_all(plans)
    texts = [artifact.text for artifact in artifacts if artifact.objects]
    count = sum(len(artifact.objects) for artifact in artifacts)
    minor = pairings[0].site.kubernetes
    check_all(artifacts, minor)

    library = best(lambda: [yaml.dump_all(list(yaml.load_all(t, Loader=Loader)), Dumper=Dumper) for t in texts])
    rendering = best(lambda: render_all(plans))
    checking = best(lambda: check_all(artifacts, minor))
    print(f"objects    {count} of {len(plans)} pairings; PyYAML (C) parse and dump {library * 1e3:.0f} ms")
    print(
        f"           render {rendering * 1e3:.0f} ms = {rendering / library:.2f}, check {checking * 1e3:.0f} ms = {checking / library:.2f}"
    )
    print(f"           ratio of both to parse and dump: {(rendering + checking) / library:.2f} (at most 5)")


if __name__ == "__main__":
    main()
