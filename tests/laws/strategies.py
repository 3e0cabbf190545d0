"""What the laws draw from: the real catalogue, and text that YAML readers quarrel about."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from stowplan import resources
from stowplan.catalog import Catalog

CATALOG = Catalog([resources.folder("profiles")])

variants = st.sampled_from(list(CATALOG.variants))
servers = st.sampled_from(list(CATALOG.servers))
use_cases = st.sampled_from(list(CATALOG.use_cases))
cells = st.tuples(variants, servers, use_cases)
pairings = st.sampled_from(list(CATALOG.pairings))

_AWKWARD = (
    "", " ", "~", "null", "Null", "no", "No", "on", "off", "yes", "y", "N", "true", "True", "1e3", "1E3", "+1", "0o17", "017",
    "0x1F", "0b11", "1_000", "12:30", "1:30:00", "2026-01-01", "2026-01-01T00:00:00Z", ".5", "5.", ".inf", "-.INF", ".nan",
    "=", "<<", "*a", "&a", "!x", "%x", "@x", "`x", "- x", "? x", ": x", "x: y", "x #y", "#x", "[x", "{x", "'x", '"x', "|", ">",
    "---", "...", "--- x", "x\n", "\nx", "x\n\n", " x\ny", "x \ny", "\tx", "x\ty", "a\r\nb", "\x85", "\u2028", "\ufeff", "\x07",
    "é", "漢字", "🚢", "x" * 200, "25921e05", "1.10", "0", "-0", "00", "1__0", "1,000", "e", "E", "1e", "1e+", "0o", "0x", "-", "+",
)  # fmt: skip
texts = st.sampled_from(_AWKWARD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
documents: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)

_YAMLISH = st.text("ab:-#&*!<>|?%@[]{},'\"\n \t01~.=\\\u2028é", max_size=60)
sources = (
    st.binary(max_size=60) | _YAMLISH.map(str.encode) | st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace"))
)
