"""A comparison in; text, Markdown or JSON out: what an operator decides by first, YAML last."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from stowplan.cli.tables import COLUMNS, cell, folded, markdown_table
from stowplan.diff import Comparison, PairingChange
from stowplan.diff.engine_versions import Upgrade
from stowplan.diff.objects import ObjectChange
from stowplan.diff.rollout import Effect

_LARGEST = 60_000
"""Characters of a comment: GitHub takes 65,536, and something is around it."""
_NOTHING = (None, "-")
_ONE_SIDE = 2
"""Cells of a row of a pairing that has no other side."""


class _Part(NamedTuple):
    """A table (with headers) or a list under a title."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]


def text(found: Comparison) -> str:
    """For a terminal."""
    return "\n".join(_text(found)) + "\n"


def _text(found: Comparison) -> Iterator[str]:
    if not found:
        yield f"{found.old} and {found.new} are the same"
        return
    for change in found.pairings:
        yield from (_heading(change), "")
        for part in _parts(change):
            yield from _text_part(part)
    if found.effects:
        yield from ("shared by pairings", "", *_text_part(_effects(found.effects)))
    yield _counts(found)
    for item in _with_lines(found):
        yield from ("", f"{item.title}: {item.change}", *item.diff)


def _text_part(part: _Part) -> Iterator[str]:
    if part.title:
        yield f"  {part.title}"
    indent = "    " if part.title else "  "
    width = max((len(str(row[0])) for row in part.rows), default=0) + 2 if part.headers else 2
    for row in part.rows:
        label, told = (str(row[0]), _sentence(row)) if part.headers else ("*", str(row[0]))
        first, *rest = folded(told, COLUMNS - len(indent) - width) or [""]
        yield f"{indent}{label.ljust(width)}{first}"
        yield from (f"{indent}{' ' * width}{line}" for line in rest)
    yield ""


def _sentence(row: Sequence[Any]) -> str:
    """Before and after, and why: on a terminal a table of long values is hard to read."""
    if len(row) == _ONE_SIDE:
        return cell(row[1])
    _, before, after, *why = row
    reason = f"  ({why[0]})" if why and why[0] else ""
    if before in _NOTHING or after in _NOTHING:
        return (
            f"{cell(after)}, which is new{reason}" if before in _NOTHING else f"no longer; was {cell(before)}{reason}"
        )
    return f"{cell(before)} -> {cell(after)}{reason}"


def markdown(found: Comparison) -> str:
    """For a comment on a pull request: YAML is folded away, and left out where the comment would be too long."""
    head = "\n".join(_markdown(found)) + "\n"
    left_out = []
    for item in _with_lines(found):
        block = "\n".join(_folded_away(item)) + "\n"
        if len(head) + len(block) > _LARGEST:
            left_out.append(item.title)
        else:
            head += block
    if left_out:
        head += f"\nToo long for a comment, and left out: {', '.join(left_out[:20])}{' ...' if len(left_out) > 20 else ''}.\n"  # noqa: PLR2004
    return head


def _markdown(found: Comparison) -> Iterator[str]:
    if not found:
        yield f"`{found.old}` and `{found.new}` are the same."
        return
    for change in found.pairings:
        yield from (f"### {_heading(change)}", "")
        for part in _parts(change):
            yield from _markdown_part(part)
    if found.effects:
        yield from ("### shared by pairings", "", *_markdown_part(_effects(found.effects)))
    yield from (_counts(found), "")


def _markdown_part(part: _Part) -> Iterator[str]:
    if part.title:
        yield from (f"**{part.title[0].upper()}{part.title[1:]}**", "")
    if part.headers:
        yield from markdown_table(part.headers, part.rows)
    else:
        yield from (f"* {' '.join(str(row[0]).split())}" for row in part.rows)
    yield ""


def _folded_away(item: ObjectChange) -> Iterator[str]:
    fence = "`" * max(3, 1 + max((_ticks(line) for line in item.diff), default=0))
    summary = f"{item.title}: {item.change}".replace("<", "&lt;")
    yield from (f"<details><summary>{summary}</summary>", "", f"{fence}diff", *item.diff, fence, "", "</details>", "")


def _ticks(line: str) -> int:
    """The longest run of backquotes, which would end a shorter fence."""
    longest = run = 0
    for character in line:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def json(found: Comparison) -> str:
    """For programs."""
    data = {
        "old": found.old,
        "new": found.new,
        "pairings": [_pairing(change) for change in found.pairings],
        "effects": [effect._asdict() for effect in found.effects],
        "objects": [
            {"object": o.title, "pairing": o.pairing or None, "change": o.change, "diff": list(o.diff)}
            for o in found.objects
        ],
    }
    return json_.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _pairing(change: PairingChange) -> dict[str, Any]:
    return {
        "name": change.name,
        "was": change.was or None,
        "change": change.change,
        "rows": [
            {
                "key": row.key,
                "label": row.label,
                "old": row.old.value if row.old else None,
                "new": row.new.value if row.new else None,
            }
            for row in change.rows
        ],
        "settings": [asdict(setting) for setting in change.settings],
        "upgrade": _upgrade(change.upgrade) if change.upgrade else None,
        "gained": list(change.gained),
        "lost": list(change.lost),
        "steps": list(change.steps),
        "effects": [effect._asdict() for effect in change.effects],
        "unrendered": change.unrendered or None,
        "otherwise": list(change.otherwise),
    }


def _upgrade(upgrade: Upgrade) -> dict[str, Any]:
    return {
        "engine": upgrade.engine,
        "old": upgrade.old,
        "new": upgrade.new,
        "gained": list(upgrade.gained),
        "lost": list(upgrade.lost),
        "lostInUse": list(upgrade.lost_in_use),
        "meaning": [statement._asdict() for statement in upgrade.meaning],
    }


def _heading(change: PairingChange) -> str:
    was = f" (was {change.was})" if change.was else ""
    return f"{change.name}{was}: {change.change}"


def _parts(change: PairingChange) -> Iterator[_Part]:
    """What is told of a pairing, in this order; empty parts are left out."""
    if change.rows:
        yield _rows(change)
    if change.unrendered:
        yield _Part("not rendered", (), [[change.unrendered]])
    if change.steps:
        yield _Part("in this order", (), [[step] for step in change.steps])
    if change.effects:
        yield _effects(change.effects)
    if change.settings:
        rows = [[s.key, s.old, s.new, s.reason] for s in change.settings]
        yield _Part("flags and variables", ("key", "before", "after", "why"), rows)
    if change.upgrade:
        yield from _upgraded(change.upgrade)
    for title, sentences in (("new assumptions and reasons", change.gained), ("no longer said", change.lost)):
        if sentences:
            yield _Part(title, (), [[sentence] for sentence in sentences])
    if change.otherwise:
        yield _Part("also different in plan.yaml", (), [[", ".join(change.otherwise)]])


def _rows(change: PairingChange) -> _Part:
    """Before and after; of a pairing that one side alone has, what the plan says."""
    if change.change == "changed":
        pairs = [[r.label, r.old.shown if r.old else "-", r.new.shown if r.new else "-"] for r in change.rows]
        return _Part("", ("what", "before", "after"), pairs)
    return _Part("", ("what", "plan"), [[r.label, side.shown] for r in change.rows if (side := r.new or r.old)])


def _upgraded(upgrade: Upgrade) -> Iterator[_Part]:
    title = f"{upgrade.engine} {upgrade.old} to {upgrade.new}"
    rows = [
        [f"{len(flags)} flags {word}: {', '.join(flags)}"]
        for word, flags in (("gained", upgrade.gained), ("lost", upgrade.lost))
        if flags
    ]
    if upgrade.lost_in_use:
        rows.insert(0, [f"lost, and set by the old plan: {', '.join(upgrade.lost_in_use)}"])
    yield _Part(title, (), rows or [["both know the same flags"]])
    if upgrade.meaning:
        told = [[f"{s.about}, only in {s.holds}: {s.says}"] for s in upgrade.meaning]
        yield _Part("means something else", (), told)


def _effects(effects: Sequence[Effect]) -> _Part:
    return _Part("restarts", (), [[f"{effect.object} {effect.does}"] for effect in effects])


def _counts(found: Comparison) -> str:
    parts = [
        f"{number} {word}"
        for word in ("added", "removed", "changed")
        if (number := sum(o.change == word for o in found.objects))
    ]
    silent = len(found.objects) - len(_with_lines(found))
    stamped = f", {silent} of them in nothing but the digest, verdict or version of the plan" if silent else ""
    return f"objects and files: {', '.join(parts) or 'the same'}{stamped}"


def _with_lines(found: Comparison) -> list[ObjectChange]:
    """Those that differ in more than what a plan stamps on them."""
    return [item for item in found.objects if item.diff]
