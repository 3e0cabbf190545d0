"""An engine's start-up log in; the figures, settings and refusal of its last start, out."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stowplan.profiles.engine import LogPatterns

_COLOUR = re.compile(r"(?:\x1b|\\x1b|\\u001b)\[[0-9;?]*[A-Za-z]")
_OPEN, _CLOSE = "([{", ")]}"
_NAME = re.compile(r"\s*'?([A-Za-z_]\w*)'?\s*[:=]\s*(.*)", re.DOTALL)
_LAST_LINES = 400
"""Lines before a start's first line among which the engine prints its version."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the engine did not start; numbers in GiB and tokens where the log gives them."""

    sentence: str
    needed_gib: float | None = None
    available_gib: float | None = None
    longest: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a log says of the engine's last start; None where it does not."""

    starts: int = 0
    """How often the engine began to start."""
    version: str | None = None
    ranks: int = 0
    """Ranks whose weights the log gives."""
    weights_gib: float | None = None
    cache_gib: float | None = None
    tokens: int | None = None
    concurrency: float | None = None
    refusal: Refusal | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether none of the engine's lines was found."""
        found = (self.weights_gib, self.cache_gib, self.tokens, self.concurrency, self.refusal)
        return all(value is None for value in found) and not self.arguments


def decode(data: bytes) -> str:
    """The text of a log file: whatever its encoding, colours and container wrapping."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return _COLOUR.sub("", "\n".join(_unwrapped(line) for line in text.split("\n")))


def _unwrapped(line: str) -> str:
    """A line that a container runtime has put into JSON, as it was."""
    if not line.startswith('{"log":'):
        return line
    try:
        wrapped = json.loads(line)
    except ValueError:
        return line
    return str(wrapped.get("log", "")).rstrip("\n") if isinstance(wrapped, dict) else line


def of_engine(text: str, patterns: LogPatterns) -> bool:
    """Whether the log has the marks of that engine."""
    return re.search(patterns.mark, text) is not None


def read_log(text: str, patterns: LogPatterns) -> Reading:
    """The figures of the last start; of several ranks the one with the most weights and the least room."""
    begins = [m.start() for m in re.finditer(patterns.start, text)]
    last = text[begins[-1] :] if begins else text
    weights = _by_rank(patterns.weights_gib, last, patterns.rank)
    held = [sum(found) if patterns.weights_add_up else found[-1] for found in weights.values()]
    cache = [found[-1] for found in _by_rank(patterns.cache_gib, last, patterns.rank).values()]
    tokens = [found[-1] for found in _by_rank(patterns.tokens, last, patterns.rank).values()]
    requests = [found[-1] for found in _by_rank(patterns.concurrency, last, patterns.rank).values()]
    return Reading(
        starts=len(begins),
        version=_version(patterns.version, text, begins[-1] if begins else 0),
        ranks=len(weights),
        weights_gib=max(held, default=None),
        cache_gib=min(cache, default=None),
        tokens=int(min(tokens)) if tokens else None,
        concurrency=min(requests, default=None),
        refusal=_refusal(patterns, last),
        arguments=_arguments(patterns.arguments, last),
    )


def _by_rank(pattern: str, text: str, rank: str) -> dict[str, list[float]]:
    """Numbers of a line by the rank that printed it, in the order of the log."""
    found: dict[str, list[float]] = {}
    for match in re.finditer(pattern, text) if pattern else ():
        number = next((group for group in match.groups() if group is not None), None)
        if number is None:
            continue
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        printed = re.search(rank, line) if rank else None
        try:
            found.setdefault(printed[0] if printed else "", []).append(float(number.replace(",", "")))
        except ValueError:  # a line that was cut in the middle of its number
            continue
    return found


def _version(pattern: str, text: str, begin: int) -> str | None:
    """The version that stands nearest before, else after, the start's first line."""
    if not pattern:
        return None
    before = "\n".join(text[:begin].rsplit("\n", _LAST_LINES)[-_LAST_LINES:])
    found = list(re.finditer(pattern, before)) or list(re.finditer(pattern, text[begin:]))[:1]
    return found[-1][1] if found else None


def _refusal(patterns: LogPatterns, text: str) -> Refusal | None:
    for pattern in patterns.refusals:
        match = re.search(pattern, text)
        if match:
            named = match.groupdict()
            longest = _number(named.get("longest"))
            return Refusal(
                " ".join(match[0].split())[:200],
                _number(named.get("needed")),
                _number(named.get("available")),
                None if longest is None else int(longest),
            )
    return None


def _number(text: str | None) -> float | None:
    return float(text.replace(",", "")) if text else None


def _arguments(pattern: str, text: str) -> dict[str, Any]:
    """The engine's own list of its settings: a mapping, or the arguments of a call, objects among the values."""
    match = re.search(pattern, text) if pattern else None
    if match is None:
        return {}
    read: dict[str, Any] = {}
    for item in _items(text, match.end()):
        named = _NAME.fullmatch(item.strip())
        value = _literal(named[2].strip()) if named else _UNREAD
        if named and value is not _UNREAD:
            read[f"--{named[1].replace('_', '-')}"] = value
    return read


_UNREAD = object()


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return _UNREAD  # an object's own words, not a value


def _items(text: str, begin: int) -> Iterator[str]:
    """What stands between the commas of a bracket that was opened just before, to where it closes or the text ends."""
    depth, quote, item_from, at = 0, "", begin, begin
    while at < len(text):
        letter = text[at]
        if quote:
            at += letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in _OPEN:
            depth += 1
        elif letter in _CLOSE and depth:
            depth -= 1
        elif letter in _CLOSE or letter == "\n":
            break
        elif letter == "," and not depth:
            yield text[item_from:at]
            item_from = at + 1
        at += 1
    yield text[item_from:at]
