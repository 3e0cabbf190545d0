"""The program in, its reference pages out: schemas, commands, checks, the catalogue and its gaps.

Maintainer's tool: `python scripts/reference.py` rewrites docs/reference and schemas, `--check` only says what is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import typer.main
from typer.testing import CliRunner

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.pages import Page
from stowplan.check.pages import pages as check_pages
from stowplan.cli import app
from stowplan.cli.entry import entry_page
from stowplan.cli.schema import schema_files
from stowplan.cli.session import CHECKPOINTS
from stowplan.cli.tables import markdown_table
from stowplan.profiles.kinds import KINDS

ROOT = Path(__file__).parent.parent
DOCS, SCHEMAS = "docs/reference", "schemas"
GENERATED = "<!-- Written by scripts/reference.py; change the program, not this page. -->"
LONGEST_LINE, MOST_LINES = 160, 40  # examples about size limits are themselves that large


def pages() -> dict[str, str]:
    """Path in the repository to text."""
    catalog = Catalog([resources.folder("profiles")])
    told = {f"catalogue/{kind}.md": _page(kind.capitalize(), _entries(kind, catalog)) for kind in catalog.shelves}
    told |= {
        "commands.md": _page("Commands", _commands()),
        "checks.md": _page("Checks", _checks(list(check_pages().values()))),
        "catalogue.md": _page("Catalogue", _catalogue()),
        "gaps.md": _page("Facts that are unknown", _gaps()),
    }
    made = {f"{DOCS}/{name}": text for name, text in told.items()}
    return made | {f"{SCHEMAS}/{artifact.path}": artifact.text for artifact in schema_files(catalog)}


def _page(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"# {title}", "", GENERATED, "", *lines]).rstrip() + "\n"


def _commands() -> Iterator[str]:
    names = list(getattr(typer.main.get_command(app), "commands", {}))
    for name in ("", *names):
        arguments = [name, "--help"] if name else ["--help"]
        told = CliRunner().invoke(app, arguments, prog_name="stowplan", env={"COLUMNS": "80"})
        yield from (f"## stowplan {name}".rstrip(), "", "```text", told.output.rstrip(), "```", "")


def _checks(checks: Sequence[Page]) -> Iterator[str]:
    yield f"{len(checks)} checks, in order of the code. `stowplan explain CODE` prints the same."
    yield ""
    yield from markdown_table(
        ["Code", "Level", "Severity", "Title"],
        ([f"[{c.code}](#{c.code.lower()})", c.level, c.severity, c.title] for c in checks),
    )
    for found in checks:
        kinds = ", ".join(found.kinds) or "every object"
        yield from ("", f"## {found.code}", "", f"**{found.title}**", "", found.reason, "")
        yield f"Level {found.level}, severity {found.severity}; looks at {kinds}. Source: {found.source}"
        yield from ("", "Found in:", "", *_yaml(found.bad), "", "Write instead:", "", *_yaml(found.good))


def _yaml(text: str) -> tuple[str, ...]:
    lines = text.strip("\n").splitlines()
    shown = [
        line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ... ({len(line):,} characters)" for line in lines
    ]
    cut = [f"# ... {len(lines) - MOST_LINES:,} more lines"] if len(lines) > MOST_LINES else []
    return ("```yaml", *shown[:MOST_LINES], *cut, "```")


def _catalogue() -> Iterator[str]:
    yield (
        "What `stowplan list KIND -o wide` prints for the shipped facts. Each kind has a page with every value, its unit, source, date and"
        " confidence, and what other sources say; `stowplan show KIND NAME` prints the same."
    )
    for word in sorted([*(kind.folder for kind in KINDS.values()), CHECKPOINTS]):
        link = [] if word == CHECKPOINTS else [f"[Every value with its source](catalogue/{word}.md)", ""]
        yield from ("", f"## {word}", "", *link, *_listed(word))
    yield from ("", "## images", "", "Every image that a site may need to mirror; (site): the site names its own.", "")
    yield from _listed("images")


def _entries(kind: str, catalog: Catalog) -> Iterator[str]:
    yield f"What `stowplan show {kind} NAME -o markdown` prints, entry by entry; [the list](../catalogue.md#{kind})."
    for name in catalog.shelves[kind]:
        yield from ("", *entry_page(kind, name, catalog).markdown().rstrip().splitlines())


def _gaps() -> Iterator[str]:
    yield "Unknown is a legal value: the plan says so where one decides. `stowplan list gaps` prints the same."
    yield from ("", *_listed("gaps"))


def _listed(kind: str) -> Iterator[str]:
    shipped = str(resources.folder("profiles"))
    told = CliRunner().invoke(app, ["list", kind, "-o", "json", "--profiles", shipped], catch_exceptions=False)
    found = json.loads(told.stdout)
    if found:
        yield from markdown_table(list(found[0]), (list(row.values()) for row in found))


def stale(made: Mapping[str, str]) -> list[str]:
    """Pages that differ, are missing, or are no longer made."""
    files = (path for folder in (DOCS, SCHEMAS) for path in (ROOT / folder).rglob("*") if path.is_file())
    there = {path.relative_to(ROOT).as_posix(): path for path in files}
    differing = [name for name, text in made.items() if name not in there or there[name].read_text("utf-8") != text]
    return sorted([*differing, *(there.keys() - made.keys())])


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    made = pages()
    found = stale(made)
    for name in found:
        path = ROOT / name
        print(f"{'stale' if check else 'written' if name in made else 'removed'}: {name}")
        if check:
            continue
        if name in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
