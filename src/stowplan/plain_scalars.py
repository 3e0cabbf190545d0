"""What a plain (unquoted) YAML scalar means: JSON's types for files of ours, the API server's for manifests."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
_CORE_INT = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)\Z")
_CORE_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?\Z")


def json_scalar(text: str) -> object:
    """A plain scalar of a file of ours: null, true, false, JSON numbers without exponent; else text."""
    if text in _JSON_WORDS:
        return _JSON_WORDS[text]
    if _NUMBER.match(text):
        return float(text) if "." in text else int(text)
    return text


_JSON_WORDS: dict[str, object] = {"": None, "null": None, "true": True, "false": False}
_CORE_WORDS: dict[str, object] = {"": None, "~": None}
for _word, _value in {
    "null": None,
    "true": True,
    "false": False,
    "y": True,
    "n": False,
    "yes": True,
    "no": False,
    "on": True,
    "off": False,
}.items():
    _CORE_WORDS |= {_word: _value, _word.title(): _value, _word.upper(): _value}
for _sign, _number in {"": math.inf, "+": math.inf, "-": -math.inf}.items():
    _CORE_WORDS |= {f"{_sign}.{_word}": _number for _word in ("inf", "Inf", "INF")}
_CORE_WORDS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)


def kubernetes_scalar(text: str) -> object:
    """A plain scalar as the API server's YAML reader takes it (YAML 1.1 words and numbers, no dates)."""
    if text in _CORE_WORDS:
        return _CORE_WORDS[text]
    if text[0] in "-+.0123456789":
        if _CORE_INT.match(text):
            return _integer(text.replace("_", ""))
        if _CORE_FLOAT.match(text):
            return float(text.replace("_", ""))
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-").lower()
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        digits = f"0o{digits[1:]}"
    return -int(digits, 0) if text[0] == "-" else int(digits, 0)
