"""How well the estimate meets what is published, and the factors that meet it best.

    python scripts/calibration.py            # the measurements, the factors and the leave-one-out error
    python scripts/calibration.py --check    # whether the engine profiles hold these factors
    python scripts/calibration.py --write    # rewrite `efficiency:` of the engine profiles

One set of factors for all, and for each engine and chip family one factor on every time, which a prior holds
near 1: where few runs are published, little is learnt. Least squares of log ratios (Gauss-Newton, residuals
weighted down where they are large, as Huber did), so that half and double count alike. Engines that extend
one another share their runs. The band holds four of five figures of runs that the fit had not seen.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp, log, sqrt
from pathlib import Path
from statistics import median

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.estimate import Demands, Load, Pair, Point, aggregated, demands, disaggregated
from stowplan.estimate.roofline import Shares, Station
from stowplan.fit.cache import cache
from stowplan.plan.model import Recipe, Stack
from stowplan.plan.settings import Origin, apply_rules, put_set
from stowplan.plan.speed import links, station, work
from stowplan.profiles.benchmark import BenchmarkSpec
from stowplan.profiles.engine import EngineSpec
from stowplan.profiles.measurement import Measurement
from stowplan.profiles.recipe import RecipeSpec
from stowplan.profiles.rule import Context, most_special

NAMES = ("compute", "bandwidth", "link", "layer floor", "chunk floor", "stall")
START = (0.25, 0.5, 0.5, 150e-6, 0.05, 0.15)
"""Where the priors of the common factors lie: shares of the peak, seconds, seconds, share."""
SPREAD = (1.0, 0.3, 0.3, 0.7, 1.0, 0.7)
"""Standard deviations of their logarithms; memory and links are known best."""
OWN_SPREAD = 0.4
"""Of the factor that an engine and chip family has for itself."""
WEIGHTS = {"TTFT": 0.5, "TPOT": 1.0, "tok/s": 0.7}
"""TTFT varies most from run to run; the rate repeats what TPOT says."""
NOISE, LARGE = 0.35, 0.5
"""Log ratio of one figure that is expected, and from which on it is weighted down."""
SATURATED = 0.6
"""Below this share of the requests in flight, by Little's law, the rest only queued."""
COVERED, QUANTILE = 0.8, 1.28
"""Share of unseen figures that a band is to hold, and the normal quantile of it."""
DEFAULT_CHUNK = 8192
STEP = 1e-3


@dataclass(frozen=True)
class Run:
    """One published run with all that its prediction takes."""

    deployment: str
    engine: str
    family: str
    station: Station | Pair
    load: Load
    measured: Measurement
    decode_only: bool = False

    @property
    def key(self) -> str:
        return f"{self.engine} / {self.family}"

    @cached_property
    def published(self) -> dict[str, float]:
        """Figures that the model speaks of: no TTFT where requests only queued, no rate beside an offline TPOT."""
        figures = {"TTFT": None if self.saturated else self.measured.ttft_ms, "TPOT": self.measured.tpot_ms}
        figures["tok/s"] = None if self.decode_only else self.measured.output_rate
        return {name: value for name, value in figures.items() if value}

    @cached_property
    def saturated(self) -> bool:
        return self.in_flight < SATURATED * self.load.concurrency

    @cached_property
    def in_flight(self) -> float:
        """Requests that decode at once, by Little's law, where rate and latency are both published."""
        measured, placed = self.measured, self.station
        if self.decode_only or not (measured.tpot_ms and measured.output_rate and measured.ttft_ms):
            return self.load.concurrency
        devices = placed.devices if isinstance(placed, Pair) else placed.layout.devices
        return measured.output_rate * devices * measured.tpot_ms / 1e3

    @cached_property
    def _load(self) -> Load:
        return replace(self.load, concurrency=self.in_flight) if self.saturated else self.load

    @cached_property
    def _demands(self) -> Demands | None:
        return None if isinstance(self.station, Pair) else demands(self.station, self._load)

    def predict(self, shares: Shares) -> dict[str, float]:
        if isinstance(self.station, Pair):
            point = disaggregated(self.station, self._load, (shares, shares))
        elif self._demands and self.decode_only:
            point = Point(0.0, self._demands[0].seconds(shares) / self.station.accepted, 0.0)
        elif self._demands:
            point = aggregated(self.station, self._load, self._demands, shares)
        return {"TTFT": point.ttft * 1e3, "TPOT": point.tpot * 1e3, "tok/s": point.rate}

    def misses(self, factors: Sequence[float], own: float) -> list[float]:
        """Log ratio of prediction to publication, figure by figure."""
        found = self.predict(shares_of(factors, own))
        return [log(found[name] / value) for name, value in self.published.items()]


@dataclass(frozen=True)
class Fitted:
    """Logarithms of the common factors, and of the one of each engine and family."""

    factors: tuple[float, ...] = tuple(map(log, START))
    own: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    """How many were fitted."""


def shares_of(factors: Sequence[float], own: float, faster: float = 0.0) -> Shares:
    """Common factors, every time of which is multiplied by the family's own."""
    compute, bandwidth, link, layer, chunk, stall = map(exp, factors)
    by = exp(own - faster)
    return Shares(
        min(compute / by, 1), min(bandwidth / by, 1), min(link / by, 1), layer * by, chunk * by, min(stall, 1)
    )


# --- runs ---------------------------------------------------------------------------------------


def runs(catalog: Catalog) -> list[Run]:
    """Every published run whose load is known."""
    found = [*_of_recipes(catalog), *_of_benchmarks(catalog)]
    return [run for run in found if run.published]


def _of_recipes(catalog: Catalog) -> Iterator[Run]:
    for name, spec in catalog.recipes.items():
        for measured in spec.published.measurements if spec.published else ():
            load = _load(measured)
            if load is None:
                continue
            stack = _stack(catalog, spec)
            placed = {role: _station(catalog, spec, stack, role, (name, spec)) for role in spec.roles}
            station: Station | Pair = next(iter(placed.values()))
            if spec.mode == "disaggregated":
                counts = {role: spec.roles[role].instances for role in placed}
                station = Pair(placed["prefill"], counts["prefill"], placed["decode"], counts["decode"])
            yield Run(name, *_family(catalog, spec.engine, spec.servers[0]), station, load, measured)


def _of_benchmarks(catalog: Catalog) -> Iterator[Run]:
    for name, spec in catalog.benchmarks.items():
        stack = _stack(catalog, spec)
        station = replace(
            _station(catalog, spec, stack, "server", None), draft_tokens=spec.draft_tokens, accepted=spec.accepted
        )
        for measured in spec.published.measurements:
            load = _load(measured)
            if load is not None:
                family = _family(catalog, spec.engine, spec.server)
                yield Run(name, *family, station, load, measured, spec.decode_only)


def _load(measured: Measurement) -> Load | None:
    given, answered, concurrency = measured.input_tokens, measured.output_tokens, measured.concurrency
    if not (given and answered and concurrency):
        return None
    return Load(given, given, answered, measured.prefix_reuse, concurrency)


def _stack(catalog: Catalog, spec: RecipeSpec | BenchmarkSpec) -> Stack:
    engine = catalog.engines[spec.engine]
    version = next(v for v in engine.versions if v.version == engine.default_version)
    checkpoint = next(c for c in catalog.variants[spec.variant].checkpoints if c.id == spec.checkpoint)
    return Stack(spec.engine, engine, version, checkpoint, checkpoint.draft)


def _station(
    catalog: Catalog, spec: RecipeSpec | BenchmarkSpec, stack: Stack, role: str, recipe: Recipe | None
) -> Station:
    """As the plan would place it: the engine's rules, then what the recipe says."""
    server_name = spec.servers[0] if isinstance(spec, RecipeSpec) else spec.server
    server = catalog.servers[server_name]
    chip, variant = catalog.chips[server.chip], catalog.variants[spec.variant]
    placed = spec.roles[role] if isinstance(spec, RecipeSpec) else spec
    context = Context(
        role=role,
        mode=spec.mode if isinstance(spec, RecipeSpec) else "aggregated",
        chip=server.chip,
        chip_family=chip.families,
        server=server_name,
        variant=spec.variant,
        variant_family=variant.family,
        checkpoint_format=stack.checkpoint.format,
        draft=stack.draft or "none",
        use_case="",
        version=stack.version.version,
        tp=placed.layout.tp,
        dp=placed.layout.dp,
        ep=placed.layout.ep,
        nodes=placed.nodes,
    )
    settings = apply_rules(stack.engine.rules, context, stack.engine_name)
    if recipe:
        put_set(settings, recipe[1].roles[role].set, Origin("recipe", recipe[0], "", ""))
    architecture = catalog.architecture(spec.variant)
    formats = most_special(stack.engine.memory.kv_formats, context)
    kept = cache(architecture, main=formats.main, index=formats.index, draft=stack.draft)
    limit = stack.engine.fields["maxNumBatchedTokens"]
    chunk = int(settings.get("flags", limit.flag) or DEFAULT_CHUNK) // (placed.layout.dp if limit.over_group else 1)
    asked = work(stack, architecture, chip)
    return station(stack, settings, placed.layout, asked, links(server, chip), kept, max(chunk, 1))


def _family(catalog: Catalog, engine: str, server: str) -> tuple[str, str]:
    """The engine that others extend, and the chip family of the profile's entry."""
    families = catalog.chips[catalog.servers[server].chip].families
    return _root(catalog, engine), _entry_family(catalog.engines[engine], families)


def _root(catalog: Catalog, engine: str) -> str:
    extended = catalog.engines[engine].extends
    return _root(catalog, extended) if extended else engine


def _entry_family(engine: EngineSpec, families: Sequence[str]) -> str:
    named = [str(family) for entry in engine.efficiency for family in entry.when.chip_family or ()]
    return next((family for family in named if family in families), "any")


# --- fit ----------------------------------------------------------------------------------------


@dataclass
class Equations:
    """Normal equations of one Gauss-Newton step, the priors included."""

    matrix: list[list[float]]
    right: list[float]

    def add(self, columns: Sequence[int], slopes: Sequence[float], miss: float, weight: float) -> None:
        for i, slope in zip(columns, slopes, strict=True):
            self.right[i] -= weight * slope * miss
            for j, other in zip(columns, slopes, strict=True):
                self.matrix[i][j] += weight * slope * other

    def solve(self) -> list[float]:
        """Gaussian elimination; the priors keep the matrix positive definite, so that no pivot is sought."""
        size = len(self.right)
        rows = [[*row, value] for row, value in zip(self.matrix, self.right, strict=True)]
        for i in range(size):
            for r in range(i + 1, size):
                factor = rows[r][i] / rows[i][i]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
        found = [0.0] * size
        for i in reversed(range(size)):
            found[i] = (rows[i][size] - sum(rows[i][j] * found[j] for j in range(i + 1, size))) / rows[i][i]
        return found


def fit(known: Sequence[Run], start: Fitted | None = None, steps: int = 10) -> Fitted:
    """The factors that meet these runs best; `start` shortens the way."""
    start = start or Fitted()
    keys = sorted({run.key for run in known})
    now = [*start.factors, *(start.own.get(key, 0.0) for key in keys)]
    count = len(NAMES)
    for _ in range(steps):
        equations = Equations([[0.0] * len(now) for _ in now], [0.0] * len(now))
        for i, value in enumerate(now):
            prior, spread = (log(START[i]), SPREAD[i]) if i < count else (0.0, OWN_SPREAD)
            equations.add([i], [1.0], value - prior, spread**-2)
        for run in known:
            _add(equations, run, now, count + keys.index(run.key))
        change = equations.solve()
        most = max(map(abs, change))
        now = [value + by * min(1.0, 1.0 / most) for value, by in zip(now, change, strict=True)]
        if most < STEP:
            break
    told = Counter(run.key for run in known)
    return Fitted(tuple(now[:count]), dict(zip(keys, now[count:], strict=True)), told)


def _add(equations: Equations, run: Run, now: Sequence[float], own: int) -> None:
    columns = [*range(len(NAMES)), own]
    at = [now[i] for i in columns]
    misses = run.misses(at[:-1], at[-1])
    moved = []
    for i in range(len(columns)):
        shifted = [value + STEP * (i == j) for j, value in enumerate(at)]
        moved.append(run.misses(shifted[:-1], shifted[-1]))
    for k, (name, miss) in enumerate(zip(run.published, misses, strict=True)):
        weight = WEIGHTS[name] / NOISE**2 * min(1.0, LARGE / max(abs(miss), STEP))
        equations.add(columns, [(column[k] - miss) / STEP for column in moved], miss, weight)


def left_out(known: Sequence[Run], whole: Fitted, *, deployments: bool = False) -> list[tuple[Run, Fitted]]:
    """Each run with factors fitted without it, or without all runs of its deployment."""
    found = []
    for name in dict.fromkeys(run.deployment for run in known):
        own = [run for run in known if run.deployment == name]
        for gone in [own] if deployments else [[run] for run in own]:
            fitted = fit([run for run in known if run not in gone], whole, steps=2)
            found += [(run, fitted) for run in gone]
    return found


# --- bands --------------------------------------------------------------------------------------


def width(errors: Sequence[float]) -> float:
    """Log half-width that holds the share of unseen figures."""
    ordered = sorted(errors)
    return ordered[min(int(COVERED * len(ordered)), len(ordered) - 1)]


def band(fitted: Fitted, key: str, half: float) -> tuple[Shares, Shares, Shares]:
    """Slow, middle, fast; the wider, the fewer runs of the family tell its own factor."""
    unsure = OWN_SPREAD / sqrt(1 + fitted.runs.get(key, 0) * (OWN_SPREAD / NOISE) ** 2)
    half = sqrt(half**2 + (QUANTILE * unsure) ** 2)
    slow, middle, fast = (shares_of(fitted.factors, fitted.own.get(key, 0.0), faster) for faster in (-half, 0.0, half))
    return slow, middle, fast


def entries(catalog: Catalog, known: Sequence[Run], fitted: Fitted, half: float) -> dict[str, list[str]]:
    """The lines of `efficiency:` for each engine profile."""
    written = {}
    for name, engine in catalog.engines.items():
        lines = []
        for entry in engine.efficiency:
            families = [str(family) for family in entry.when.chip_family or ()]
            key = f"{_root(catalog, name)} / {families[0] if families else 'any'}"
            lines.append(_entry(families, band(fitted, key, half), [run for run in known if run.key == key]))
        written[name] = lines
    return written


def _entry(families: Sequence[str], levels: Sequence[Shares], own: Sequence[Run]) -> str:
    slow, middle, fast = levels

    def ascending(values: Iterator[float], digits: int) -> str:
        return "[" + ", ".join(f"{value:.{digits}g}" for value in values) + "]"

    parts = [f"when: {{chipFamily: {families[0]}}}"] if families else []
    parts += [f"{n}: {ascending((getattr(level, n) for level in levels), 3)}" for n in ("compute", "bandwidth", "link")]
    parts.append(f"layerFloorUs: {ascending((level.layer_floor * 1e6 for level in (fast, middle, slow)), 3)}")
    parts.append(f"chunkFloorMs: {ascending((level.chunk_floor * 1e3 for level in (fast, middle, slow)), 3)}")
    parts.append(f"stall: {middle.stall:.3g}")
    if own:
        figures, names = sum(len(run.published) for run in own), sorted({run.deployment for run in own})
        told = f"fitted by scripts/calibration.py to {figures} figures of {len(own)} published runs: {', '.join(names)}"
    else:
        told = "fitted: the common factors of scripts/calibration.py; no run of this engine on such a chip is published, so the band is wide"
    return f'    - {{{", ".join(parts)}, source: "{told}", as_of: {AS_OF}, confidence: estimate}}'


AS_OF = "2026-11-23"
"""Date of the newest source that was read."""


def rewrite(text: str, lines: Sequence[str]) -> str:
    """A profile's text with these entries."""
    made = "  efficiency:\n" + "".join(f"{line}\n" for line in lines)
    return re.sub(r"^  efficiency:\n(?:    .*\n)+", lambda _: made, text, count=1, flags=re.MULTILINE)


# --- what is printed ----------------------------------------------------------------------------


def table(fitted: Fitted, known: Sequence[Run], half: float) -> Iterator[str]:
    yield f"{'deployment':40} {'input':>8} {'output':>6} {'load':>6} {'figure':6} {'published':>10} {'estimate':>32} {'ratio':>6}"
    for run in known:
        slow, middle, fast = (run.predict(shares) for shares in band(fitted, run.key, half))
        for name, value in run.published.items():
            low, high = sorted((slow[name], fast[name]))
            inside = "" if low <= value <= high else "  outside"
            shown = f"{middle[name]:,.1f} ({low:,.1f} to {high:,.1f})"
            load = f"{run.load.input_tokens:>8,.0f} {run.load.output_tokens:>6,.0f} {run.load.concurrency:>6,.0f}"
            yield f"{run.deployment:40} {load} {name:6} {value:>10,.1f} {shown:>32} {middle[name] / value:>6.2f}{inside}"


def factors(fitted: Fitted, known: Sequence[Run]) -> Iterator[str]:
    yield "common factors: " + ", ".join(f"{n} {exp(v):.3g}" for n, v in zip(NAMES, fitted.factors, strict=True))
    for key, own in fitted.own.items():
        names = sorted({run.deployment for run in known if run.key == key})
        yield f"{key}: times x {exp(own):.2f}, set by {len([r for r in known if r.key == key])} runs of {', '.join(names)}"


@dataclass(frozen=True)
class Error:
    """How far unseen figures are from their prediction."""

    misses: tuple[float, ...]
    """Absolute log ratios."""

    @property
    def median(self) -> float:
        return median(self.misses)

    @property
    def p90(self) -> float:
        return sorted(self.misses)[min(int(0.9 * len(self.misses)), len(self.misses) - 1)]


def errors(tested: Sequence[tuple[Run, Fitted]]) -> dict[str, Error]:
    """By engine and family, by figure, and over all."""
    found: dict[str, list[float]] = {}
    for run, fitted in tested:
        missed = run.misses(fitted.factors, fitted.own.get(run.key, 0.0))
        for name, miss in zip(run.published, missed, strict=True):
            for key in (run.key, name, "all"):
                found.setdefault(key, []).append(abs(miss))
    return {key: Error(tuple(misses)) for key, misses in sorted(found.items())}


def covered(tested: Sequence[tuple[Run, Fitted]], half: float) -> float:
    """Share of unseen figures inside the band that their factors give."""
    inside = total = 0
    for run, fitted in tested:
        ends = [run.predict(shares) for shares in band(fitted, run.key, half)]
        for name, value in run.published.items():
            low, *_, high = sorted(end[name] for end in ends)
            inside, total = inside + (low <= value <= high), total + 1
    return inside / total


def error_table(title: str, tested: Sequence[tuple[Run, Fitted]], half: float) -> Iterator[str]:
    yield f"{title:44} {'figures':>7} {'median':>7} {'p90':>6}   |log ratio| of figures that the fit had not seen"
    for key, error in errors(tested).items():
        yield f"  {key:42} {len(error.misses):>7} {error.median:>7.2f} {error.p90:>6.2f}"
    yield f"  inside the band: {covered(tested, half):.0%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    folder = resources.folder("profiles")
    catalog = Catalog([folder])
    known = runs(catalog)
    fitted = fit(known)
    single = left_out(known, fitted)
    half = width(errors(single)["all"].misses)
    stale = []
    for name, lines in entries(catalog, known, fitted, half).items():
        path = Path(folder) / "engines" / f"{name}.yaml"
        text = path.read_text()
        made = rewrite(text, lines)
        if made != text:
            stale.append(path.name)
            if asked.write:
                path.write_text(made)
    if asked.check or asked.write:
        print(f"{'rewritten' if asked.write else 'not what the runs give'}: {', '.join(stale) or 'none'}")
        return 1 if stale and asked.check else 0
    whole = left_out(known, fitted, deployments=True)
    for line in (*table(fitted, known, half), "", *factors(fitted, known), ""):
        print(line)
    print(f"band: a factor of {exp(half):.2f} to both sides, more where few runs tell a family's own factor")
    print(*error_table("one run left out", single, half), "", sep="\n")
    print(*error_table("all runs of a deployment left out", whole, half), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
