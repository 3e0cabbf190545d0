"""Findings as a JUnit report: one suite for each file, one test case for each finding; a clean run is one that passed."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TextIO
from xml.etree import ElementTree as ET

from stowplan.diagnostics import Diagnostic, Report

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(report: Report, stream: TextIO) -> None:
    """Errors and warnings are failures of their type; what could not be checked is skipped."""
    root = ET.Element("testsuites", name="stowplan check")
    for file, found in groupby(report, key=lambda d: d.location.file if d.location else ""):
        _suite(root, file or "stowplan", list(found))
    if not len(report):
        suite = ET.SubElement(root, "testsuite", name="stowplan", tests="1", failures="0", skipped="0", errors="0")
        ET.SubElement(suite, "testcase", name="no findings", classname="stowplan")
    ET.indent(root)
    stream.write('<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n")


def _suite(root: ET.Element, file: str, found: list[Diagnostic]) -> None:
    kinds = [d.severity for d in found]
    failures = kinds.count("error") + kinds.count("warning")
    counts = {"tests": len(found), "failures": failures, "skipped": kinds.count("unchecked"), "errors": 0}
    suite = ET.SubElement(root, "testsuite", {"name": _text(file)} | {key: str(n) for key, n in counts.items()})
    for diagnostic in found:
        place = diagnostic.location
        case = ET.SubElement(
            suite,
            "testcase",
            name=_text(f"{diagnostic.code} {diagnostic.object}".rstrip() + (f" ({place})" if place else "")),
            classname=_text(file),
        )
        if diagnostic.severity == "info":
            ET.SubElement(case, "system-out").text = _text(diagnostic.message)
            continue
        skipped = diagnostic.severity == "unchecked"
        told = ET.SubElement(case, "skipped" if skipped else "failure", message=_text(diagnostic.message))
        if not skipped:
            told.set("type", diagnostic.severity)
        told.text = _text(diagnostic.hint)


def _text(text: str) -> str:
    """Characters that XML cannot hold are shown by their number."""
    return _NO_XML.sub(lambda m: f"\\u{ord(m[0]):04x}", text)
