"""The catalogue in; a verdict for each variant x server x use case out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from stowplan.catalog import Catalog, Shelf
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.pairing import Pairing, resolve
from stowplan.plan.model import Plan
from stowplan.plan.planner import plan
from stowplan.profiles.pairing import PairingSpec


def cells(
    catalog: Catalog, variants: Collection[str], servers: Collection[str], use_cases: Collection[str], site: str
) -> Iterator[dict[str, Any]]:
    """One cell after another; an empty selection takes all.

    Raises:
        Refused: a selected name that does not exist.
    """
    chosen = {
        "--variant": _chosen(variants, catalog.variants, "variant"),
        "--server": _chosen(servers, catalog.servers, "server"),
        "--use-case": _chosen(use_cases, catalog.use_cases, "use-case"),
    }
    _chosen([site], catalog.sites, "site")
    for variant in chosen["--variant"]:
        for server in chosen["--server"]:
            for use_case in chosen["--use-case"]:
                yield _cell(plan(cell_pairing(catalog, variant, server, use_case, site)))


def cell_pairing(catalog: Catalog, variant: str, server: str, use_case: str, site: str = "default") -> Pairing:
    """The pairing that pins nothing."""
    spec = PairingSpec.model_validate({"variant": variant, "server": server, "useCase": use_case, "site": site})
    return resolve(f"{variant}.{server}.{use_case}", spec, catalog)


def fits(catalog: Catalog, variant: str, server: str) -> bool:
    """Whether a server carries a variant for any use case."""
    return fitting(catalog, {"variant": variant, "server": server})


def fitting(catalog: Catalog, known: Mapping[str, str]) -> bool:
    """Whether any pairing of what is known (by the keys of a pairing) with whatever is not fits."""
    variants, servers, use_cases = ([known[key]] if key in known else [] for key in ("variant", "server", "useCase"))
    found = cells(catalog, variants, servers, use_cases, "default")
    return any(cell["verdict"] in ("documented", "derived") for cell in found)


def _chosen(names: Collection[str], shelf: Shelf[Any], option: str) -> list[str]:
    unknown = [name for name in names if name not in shelf]
    if unknown:
        raise Refused(
            [
                Diagnostic("P010", f"unknown {option} '{n}'", Location(f"--{option}"), hint=shelf.unknown(n))
                for n in unknown
            ],
            unreadable=True,
        )
    return sorted(names) or list(shelf)


def _cell(made: Plan) -> dict[str, Any]:
    chosen, spec = made.chosen, made.pairing.spec
    return {
        "variant": spec.variant,
        "server": spec.server,
        "useCase": spec.use_case,
        "verdict": made.verdict,
        "devices": chosen.devices if chosen else None,
        "checkpoint": chosen.stack.checkpoint.id if chosen else None,
        "engine": f"{chosen.stack.engine_name}@{chosen.stack.version.version}" if chosen else None,
        "reasons": [reason.message for reason in made.reasons],
    }
