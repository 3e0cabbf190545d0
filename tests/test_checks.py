"""Every registered check: its examples, its text and its code."""

from __future__ import annotations

import re

import pytest

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.registry import Check, all_checks
from stowplan.check.runner import check_bundle
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

MINOR = "1.37"
CODES = {"admission": ("M1", "M4"), "bundle": "M2", "plan": "M3", "domain": "D"}
CHECKS = all_checks()
CATALOG = Catalog([resources.folder("profiles")])


def findings(text: str, minor: str = MINOR) -> list[Diagnostic]:
    """Check one text as a bundle of its own."""
    documents = read_bytes(text.encode(), "file.yaml", scalar=kubernetes_scalar)
    return check_bundle(documents, minor, catalog=CATALOG)


def is_serious(diagnostic: Diagnostic) -> bool:
    return diagnostic.level in ("schema", "admission", "bundle") and diagnostic.severity == "error"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_bad_example_is_found_at_a_line(check: Check) -> None:
    found = [d for d in findings(check.bad) if d.code == check.code]
    assert found
    lines = check.bad.count("\n") + 1
    for diagnostic in found:
        assert diagnostic.location
        assert diagnostic.location.line
        assert 1 <= diagnostic.location.line <= lines
        assert diagnostic.severity == check.severity
        assert diagnostic.level == check.level


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_good_example_has_no_finding_of_its_own_and_no_error(check: Check) -> None:
    found = findings(check.good)
    assert [d for d in found if d.code == check.code or is_serious(d)] == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_page_is_complete(check: Check) -> None:
    assert re.fullmatch(r"[A-Z][0-9]{3}", check.code)
    assert check.code.startswith(CODES[check.level])
    assert check.title
    assert check.title.endswith(".")
    assert check.reason.endswith(".")
    assert check.source.strip()


def test_codes_and_titles_are_unique() -> None:
    assert len({check.code for check in CHECKS}) == len(CHECKS)
    assert len({check.title for check in CHECKS}) == len(CHECKS)
