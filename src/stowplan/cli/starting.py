"""`stowplan init` and `stowplan new pairing`: a repository to start from, and a pairing that fits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan.cli.session import ProfilesOption, load_catalog, name_of, own_pairings, pairing_from_options

if TYPE_CHECKING:
    from stowplan.catalog import Catalog
    from stowplan.pairing import Pairing
    from stowplan.plan.model import Plan

VariantOption = Annotated[str | None, typer.Option(help="Model variant.", show_default=False)]
ServerOption = Annotated[str | None, typer.Option(help="Server.", show_default=False)]
UseCaseOption = Annotated[str | None, typer.Option(help="Use case.", show_default=False)]
_FIRST = "first"
_ASKED = {"server": "Server", "variant": "Model variant", "useCase": "Use case"}
"""In the order in which they are asked: people know their hardware."""

new = typer.Typer(name="new", help="Write a file that is new.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.add_typer(new)


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; it is made where it is missing.")] = Path(),
    variant: VariantOption = None,
    server: ServerOption = None,
    use_case: UseCaseOption = None,
) -> int:
    """Start a GitOps repository: profiles with one pairing that renders, a site, schemas, CI; no file is overwritten."""
    from stowplan.cli.schema import schema_files
    from stowplan.render.artifact import Artifact
    from stowplan.render.repository import SITE, repository_files
    from stowplan.write import add

    catalog = _shipped()
    given = {"variant": variant, "server": server, "useCase": use_case}
    options = given if any(given.values()) else _shipped_example(catalog)
    _fitting(pairing_from_options(catalog, options))
    schemas = [Artifact(f"schemas/{a.path}", a.text) for a in schema_files(catalog)]
    done = add(folder, [*repository_files(_FIRST, {**options, "site": SITE}, catalog), *schemas])
    sys.stderr.write(f"{folder}: {len(done.written)} written, {done.same} kept as they were\n")
    sys.stdout.writelines(f"{folder / path}\n" for path in done.written)
    return 0


@new.callback()
def _one_of_several() -> None:
    """A group, though it has one command yet."""


@new.command()
def pairing(
    variant: VariantOption = None,
    server: ServerOption = None,
    use_case: UseCaseOption = None,
    site: Annotated[str | None, typer.Option(help="Site.", show_default=False)] = None,
    name: Annotated[
        str | None, typer.Option(help="Name; default: made of the three above.", show_default=False)
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder to write it to.")] = Path("profiles/pairings"),
    profiles: ProfilesOption = None,
) -> int:
    """Write a pairing that fits; on a terminal, what is not given is asked, and only what fits is offered."""
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.render.artifact import Artifact
    from stowplan.render.repository import pairing_text
    from stowplan.write import add

    catalog = load_catalog(profiles)
    options: dict[str, Any] = {"variant": variant, "server": server, "useCase": use_case}
    options["site"] = site or _only_site(catalog)
    if _is_asked():
        _ask(options, catalog)
    found = pairing_from_options(catalog, options)
    planned = _fitting(found)
    called = name or name_of(options)
    spec = {key: value for key, value in options.items() if value is not None}
    _refuse_name(called, spec)
    done = add(folder, [Artifact(f"{called}.yaml", pairing_text(called, spec, folder))])
    if not done.written:
        message, hint = "is there already, and stays as it is", "give another --name"
        raise Refused(
            [Diagnostic("W004", message, Location(str(folder / f"{called}.yaml")), hint=hint)], unreadable=True
        )
    _tell(planned)
    sys.stdout.write(f"{folder / done.written[0]}\n")
    return 0


def _shipped() -> Catalog:
    """The shipped catalogue alone: the new repository begins with nothing of its own."""
    from stowplan import resources
    from stowplan.catalog import Catalog

    return Catalog([resources.folder("profiles")])


def _shipped_example(catalog: Catalog) -> dict[str, Any]:
    """Variant, server and use case of the first shipped pairing that needs nothing of its site."""
    specs = (catalog.pairings[name] for name in own_pairings(catalog))
    spec = next(spec for spec in specs if spec.site == "default")
    return {"variant": spec.variant, "server": spec.server, "useCase": spec.use_case}


def _only_site(catalog: Catalog) -> str | None:
    """The site of a user who describes one; None: the default."""
    folder = catalog.folders[-1] / "sites"
    own = [name for name in catalog.sites if catalog.sites.files[name].parent == folder]
    return own[0] if len(own) == 1 else None


def _fitting(found: Pairing) -> Plan:
    """Its plan, which is feasible.

    Raises:
        Refused: nothing fits, with the reasons and what was found to fit instead.
    """
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.plan.planner import plan

    planned = plan(found)
    if planned.chosen is None:
        place = Location(found.name)
        raise Refused([Diagnostic(r.code, f"{planned.verdict}: {r.message}", place) for r in planned.reasons])
    return planned


def _refuse_name(name: str, spec: dict[str, Any]) -> None:
    """A name is judged as in a file: none leads out of the folder."""
    from stowplan.diagnostics import Diagnostic, Location, Refused
    from stowplan.located_yaml import read_bytes
    from stowplan.profiles.reading import read_profile
    from stowplan.render.repository import pairing_text

    try:
        read_profile(next(read_bytes(pairing_text(name, spec).encode(), "--name")), kind="Pairing")
    except Refused as refused:
        found = [Diagnostic(d.code, d.message, Location("--name"), hint=d.hint) for d in refused.report]
        raise Refused(found, unreadable=True) from None


def _is_asked() -> bool:
    """Whether someone is there to answer."""
    return sys.stdin.isatty()


def _ask(options: dict[str, Any], catalog: Catalog) -> None:
    """What is missing, one after another; each answer narrows what is offered next."""
    from stowplan.cli.progress import shown
    from stowplan.plan.matrix import fitting

    for key, words in _ASKED.items():
        if options[key] is not None:
            continue
        known = {k: options[k] for k in _ASKED if options[k] is not None}
        names = list(catalog.of_kind(key[0].upper() + key[1:]))
        found = [name for name in shown(names, f"{words}s that fit") if fitting(catalog, {**known, key: name})]
        sys.stderr.write("".join(f"  {name}\n" for name in found))
        options[key] = typer.prompt(
            f"{words} (of those above)", default=found[0] if len(found) == 1 else None, err=True
        )


def _tell(planned: Plan) -> None:
    """The plan on standard error: standard output has the path."""
    from stowplan.cli.summary import summary
    from stowplan.render.pairing import full_document

    sys.stderr.write(summary(full_document(planned)))
