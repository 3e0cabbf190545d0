"""A shell script in, its simple commands out: words with what is known of their variables filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache

_ENDS = frozenset("();|&\n")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::?-(?P<default>[^}]*))?\}|\((?P<kubernetes>\w+)\)|(?P<plain>\w+))")
_PREFIXES = frozenset({"exec", "export", "nohup", "time", "env", "then", "do", "else", "{", "!"})


def simple_commands(script: str, variables: dict[str, str]) -> Iterator[list[str]]:
    """Commands of a script in order; assignments are added to `variables`, which later words use."""
    for words in _split(script):
        filled = [expanded(word, variables) for word in words]
        while filled and (filled[0] in _PREFIXES or _ASSIGNED.fullmatch(filled[0])):
            assigned = _ASSIGNED.fullmatch(filled.pop(0))
            if assigned:
                variables[assigned[1]] = assigned[2]
        if filled:
            yield filled


def expanded(word: str, variables: Mapping[str, str]) -> str:
    """The word with variables whose value is known; the others stay as they are written."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["kubernetes"] or match["plain"]
        return variables.get(name, match[0] if match["default"] is None else match["default"])

    return _VARIABLE.sub(value, word) if "$" in word else word


@lru_cache(maxsize=256)
def _split(script: str) -> tuple[list[str], ...]:
    """The commands of a script by their words; the pods of one bundle often share a script."""
    return tuple(_commands(script))


def _commands(script: str) -> Iterator[list[str]]:
    """Words up to an operator or the end of a line; redirections are left out."""
    lexer = shlex.shlex(_COMMENT.sub("", script.replace("\\\n", " ")), posix=True, punctuation_chars="();|&<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    redirected = comment = False
    try:
        for token in lexer:
            if token and set(token) <= _ENDS:
                yield words
                words, redirected, comment = [], False, comment and "\n" not in token
            elif token and set(token) <= {"<", ">", "&"}:
                redirected = True
                if words and words[-1].isdigit():
                    words.pop()
            elif token.startswith("#") or comment:
                comment = True
            elif redirected:
                redirected = False
            else:
                words.append(token)
    except ValueError:  # an unclosed quote: the shell's matter, and no command that can be read
        return
    yield words
