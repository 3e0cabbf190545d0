"""Findings that a file says to leave out, with its reason; an ignore without reason or without use is a finding itself.

In a comment for the whole file, `# stowplan: ignore D102, M2 because REASON`, or in the annotation `stowplan.dev/ignore`
of an object, `D102 because REASON`, one on each line. A code stands for all that begin with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stowplan.check.objects import Object
from stowplan.diagnostics import Diagnostic, Location
from stowplan.located_yaml import Document

_COMMENT = re.compile(r"(?:^|\s)#\s*stowplan:\s*ignore\b\s*(?P<rest>.*)$")
_REST = re.compile(r"(?P<codes>[A-Z][0-9]{0,3}(?:\s*,\s*[A-Z][0-9]{0,3})*)(?:\s+because\s+(?P<reason>\S.*))?\s*\Z")
_ANNOTATION = "stowplan.dev/ignore"


@dataclass(slots=True)
class _Ignore:
    """One code that is left out, where, and whether anything was."""

    code: str
    file: str
    object: str
    """Empty: the whole file."""
    place: Location
    used: bool = field(default=False)

    def covers(self, found: Diagnostic) -> bool:
        file = found.location.file if found.location else ""
        return found.code.startswith(self.code) and file == self.file and self.object in ("", found.object)


def without_ignored(
    found: Sequence[Diagnostic], documents: Iterable[Document], objects: Iterable[Object]
) -> list[Diagnostic]:
    """The findings that nothing ignores, and what is wrong with the ignores themselves."""
    ignores: list[_Ignore] = []
    wrong: list[Diagnostic] = []
    for text, place, owner in [*_comments(documents), *_annotations(objects)]:
        match = _REST.match(text)
        if match is None or not match["reason"]:
            message = (
                "an ignore names codes and a reason"
                if match is None
                else f"{match['codes']} is ignored without a reason"
            )
            hint = "write 'ignore D102 because ...'; without that it ignores nothing"
            wrong.append(Diagnostic("M009", message, place, "error", hint, "schema", owner))
            continue
        ignores += [_Ignore(code.strip(), place.file, owner, place) for code in match["codes"].split(",")]
    if not ignores:
        return [*found, *wrong]
    kept = [d for d in found if not _used(d, ignores)]
    unused = [_unused(ignore) for ignore in ignores if not ignore.used]
    return [*kept, *wrong, *unused]


def _used(found: Diagnostic, ignores: Iterable[_Ignore]) -> bool:
    covering = [ignore for ignore in ignores if ignore.covers(found)]
    for ignore in covering:
        ignore.used = True
    return bool(covering)


def _unused(ignore: _Ignore) -> Diagnostic:
    message = f"{ignore.code} is ignored, and nothing of it is found here"
    return Diagnostic("M008", message, ignore.place, "warning", "remove it", "schema", ignore.object)


def _comments(documents: Iterable[Document]) -> Iterator[tuple[str, Location, str]]:
    for part in dict.fromkeys(document.part for document in documents if document.part):
        for number, line in part.lines_with("stowplan:"):
            match = _COMMENT.search(line)
            if match:
                yield match["rest"], Location(part.file, number, match.start() + 1, line), ""


def _annotations(objects: Iterable[Object]) -> Iterator[tuple[str, Location, str]]:
    for item in objects:
        annotations = item.metadata.get("annotations")
        text = annotations.get(_ANNOTATION) if isinstance(annotations, dict) else None
        if isinstance(text, str):
            place = item.at(("metadata", "annotations", _ANNOTATION))
            yield from ((line.strip(), place, str(item)) for line in text.splitlines() if line.strip())
