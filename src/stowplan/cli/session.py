"""What several commands need: the catalogue, and pairings by name, path or options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stowplan.catalog import Catalog
    from stowplan.diagnostics import Diagnostic
    from stowplan.pairing import Pairing
    from stowplan.profiles.site import SiteSpec

CHECKPOINTS = "checkpoints"
"""A kind of its own on the command line, though the files of variants hold them."""
_OPTIONS = "options"
ProfilesOption = Annotated[
    Path | None,
    typer.Option(
        "--profiles",
        help="Folder of profiles laid over the shipped ones, file by file (default: ./profiles where it exists).",
        show_default=False,
    ),
]


def load_catalog(profiles: Path | None) -> Catalog:
    """The shipped catalogue with the user's folder over it."""
    from stowplan import resources
    from stowplan.catalog import Catalog
    from stowplan.diagnostics import Diagnostic, Location, Refused

    if profiles is not None and not (exists(profiles) and profiles.is_dir()):
        raise Refused([Diagnostic("P001", "is not a folder", Location(str(profiles)))], unreadable=True)
    if profiles is not None:
        _refuse_other_folders(profiles)
    own = profiles or Path("profiles")
    shipped = resources.folder("profiles")
    overlay = [own] if own.is_dir() and own.resolve() != shipped.resolve() else []
    return Catalog([_shown(shipped), *overlay])


def _refuse_other_folders(profiles: Path) -> None:
    """A folder with files of which none would be read is a mistake, most often by one level."""
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.profiles.kinds import KINDS

    folders = [kind.folder for kind in KINDS.values()]
    if any((profiles / folder).is_dir() for folder in folders) or not any(profiles.glob("*")):
        return
    hint = f"it has folders such as {', '.join(folders[1:4])}"
    if profiles.resolve().name in folders:
        hint = "give the folder above it"
    elif (profiles / "profiles").is_dir():
        hint = f"did you mean '{profiles / 'profiles'}'?"
    message = "is no folder of profiles: nothing in it would be read"
    raise Refused([Diagnostic("P001", message, Location(str(profiles)), hint=hint)], unreadable=True)


def _shown(folder: Path) -> Path:
    """A folder below the working directory by its short name, so that messages and editors agree."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def find_pairing(given: str, catalog: Catalog) -> Pairing:
    """A pairing by the path of its file, or by its name in the catalogue.

    Raises:
        Refused: there is none, or it is not valid.
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.pairing import read_pairing

    path = Path(given)
    if exists(path) or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return read_pairing(path, catalog)
    if given not in catalog.pairings:
        message = f"there is no file and no pairing '{given}'"
        raise Refused(
            [Diagnostic("P011", message, Location(given), hint=catalog.pairings.unknown(given))], unreadable=True
        )
    return read_pairing(catalog.pairings.files[given], catalog)


def own_pairings(catalog: Catalog) -> list[str]:
    """Names of the pairings of the user's own folder, or of the shipped one where there is none."""
    folders = [folder / "pairings" for folder in catalog.folders if (folder / "pairings").is_dir()]
    return [name for name in catalog.pairings if catalog.pairings.files[name].parent == folders[-1]]


def at_site(pairing: Pairing, site: str) -> Pairing:
    """The pairing on another cluster: with its facts, and with what its file says of the pairing.

    Raises:
        Refused: there is no such site.
    """
    from stowplan.pairing import resolve

    listed = known_site(pairing.catalog, site).pairings.get(pairing.name)
    differs = listed.model_dump(exclude_none=True) if listed else {}
    spec = pairing.spec.model_copy(update={"site": site, **differs})
    return resolve(pairing.name, spec, pairing.catalog, pairing.document)


def pairings_at(catalog: Catalog, site: str) -> list[str]:
    """Names of the user's own pairings that are of a site, or that it lists.

    Raises:
        Refused: there is no such site.
    """
    listed = known_site(catalog, site).pairings
    return sorted({*(name for name in own_pairings(catalog) if catalog.pairings[name].site == site), *listed})


def known_site(catalog: Catalog, site: str) -> SiteSpec:
    """The site that `--site` names.

    Raises:
        Refused: there is no such site.
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused

    if site not in catalog.sites:
        hint = catalog.sites.unknown(site)
        raise Refused([Diagnostic("P010", f"unknown site '{site}'", Location("--site"), hint=hint)], unreadable=True)
    return catalog.sites[site]


def own_sites(catalog: Catalog) -> list[str]:
    """Names of the sites of that folder that list servers."""
    folder = catalog.folders[-1] / "sites"
    own = [name for name in catalog.sites if catalog.sites.files[name].parent == folder]
    return [name for name in own if catalog.sites[name].servers]


def pairing_from_options(catalog: Catalog, options: dict[str, Any], base: Pairing | None = None) -> Pairing:
    """A pairing from command-line options (over those of a file, if any), checked as a file is.

    Raises:
        Refused: an option names what does not exist (exit 2: usage).
    """
    from stowplan.canonical_yaml import dump
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.located_yaml import read_bytes
    from stowplan.pairing import key_option, resolve
    from stowplan.profiles.reading import read_profile

    given = {key: value for key, value in options.items() if value is not None}
    spec = {**(base.spec.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True) if base else {}), **given}
    missing = [key for key in ("variant", "server", "useCase") if not spec.get(key)]
    if missing:
        names = ", ".join(f"--{key_option(key)}" for key in missing)
        raise Refused(
            [Diagnostic("P012", f"without a PAIRING, {names} must be given", Location("plan"))], unreadable=True
        )
    name = base.name if base else name_of(spec)
    envelope = {"apiVersion": "stowplan/v1", "kind": "Pairing", "metadata": {"name": name}, "spec": spec}
    text = dump(envelope)
    try:
        profile = read_profile(next(read_bytes(text.encode(), _OPTIONS)), kind="Pairing")
        return resolve(profile.metadata.name, profile.spec, catalog)
    except Refused as refused:
        raise Refused([_at_option(d, text.splitlines()) for d in refused.report], unreadable=True) from None


def _at_option(diagnostic: Diagnostic, lines: list[str]) -> Diagnostic:
    """A finding on the text that options make, placed at the option that made the line."""
    from stowplan.diagnostics import Location
    from stowplan.pairing import key_option

    place = diagnostic.location
    if place is None or place.line is None or place.file != _OPTIONS:
        return diagnostic
    keys = [line for line in lines[: place.line] if line.startswith("  ") and line[2] not in " -"]
    return replace(diagnostic, location=Location(f"--{key_option(keys[-1].partition(':')[0].strip())}"))


def exists(path: Path) -> bool:
    """Whether there is such a path; a name that no file system takes is none."""
    try:
        return path.exists()
    except OSError:
        return False


def name_of(spec: dict[str, Any]) -> str:
    """A pairing's name made of its variant, server and use case."""
    parts = [str(spec[key]).removeprefix("deepseek-") for key in ("variant", "server", "useCase")]
    return ".".join(
        "".join(c if c.isalnum() or c in "-." else "-" for c in part.lower()).strip("-.") or "x" for part in parts
    )
