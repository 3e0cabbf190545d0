"""What planning costs: one plan, a cell of the whole matrix, how that grows, and the memory of it all.

    python benchmarks/planning.py

CPU time after start-up. Targets: a plan at most 50 ms, a cell at most 12 ms on average, twice the cells at most
2.2 times the time, all within 300 MiB.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Collection

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.pairing import read_pairing
from stowplan.plan.matrix import cells
from stowplan.plan.planner import plan

ROUNDS = 3


def plan_ms(path: object, catalog: Catalog) -> float:
    """The best of several runs."""
    pairing, found = read_pairing(path, catalog), []  # type: ignore[arg-type]
    for _ in range(ROUNDS):
        start = time.process_time()
        plan(pairing)
        found.append(time.process_time() - start)
    return min(found) * 1e3


def matrix_seconds(catalog: Catalog, servers: Collection[str]) -> tuple[float, Counter[str]]:
    """CPU time of all variants and use cases on these servers, and how often each verdict comes."""
    start = time.process_time()
    verdicts = Counter(cell["verdict"] for cell in cells(catalog, (), servers, (), "default"))
    return time.process_time() - start, verdicts


def main() -> None:
    """Measure and print."""
    catalog = Catalog([resources.folder("profiles")])
    for name, path in catalog.pairings.files.items():
        print(f"plan    {name:44} {plan_ms(path, catalog):6.1f} ms")

    every = list(catalog.servers)
    some, all_ = every[::2], every
    matrix_seconds(catalog, every[:1])  # reads the profiles
    part, whole = matrix_seconds(catalog, some), matrix_seconds(catalog, all_)
    seconds, verdicts = whole
    count, fewer = verdicts.total(), part[1].total()
    print(f"matrix  {count} cells, {seconds / count * 1e3:.1f} ms each: {dict(sorted(verdicts.items()))}")
    print(f"        {count / fewer:.2f} times the cells took {seconds / part[0]:.2f} times the time")
    print(f"memory  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")


if __name__ == "__main__":
    main()
