"""A plan's document in, the tables that answer "why" out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stowplan.cli.summary import layout_words
from stowplan.diagnostics import did_you_mean
from stowplan.fit.units import GIB

Table = tuple[str, Sequence[str], list[list[Any]]]
_SHORT = 1000


def parts(document: dict[str, Any], key: str | None) -> list[Table]:
    """The tables of one part, of one key, or of everything."""
    if key is None:
        return [table for name, make in PARTS.items() if name != "ledger" for table in make(document)]
    if key in PARTS:
        return PARTS[key](document)
    wanted = key.removeprefix("server.")
    found = [d for d in document.get("decisions", []) if d["key"] == wanted or d["key"].startswith(f"{wanted}.")]
    return [_settings_table(found)] if found else _value(document, key)


def nearest(document: dict[str, Any], key: str) -> str:
    """The nearest key that the plan has."""
    return did_you_mean(key, [*PARTS, *(d["key"] for d in document.get("decisions", []))])


def _verdict(document: dict[str, Any]) -> list[Table]:
    rows = [["verdict", document["verdict"]]]
    rows += [[reason["code"], reason["message"]] for reason in document["reasons"]]
    rows += [["assumes", text] for text in document["assumptions"]] + [["source", text] for text in document["sources"]]
    return [("Verdict", ["what", "says"], rows)]


def _layout(document: dict[str, Any]) -> list[Table]:
    if "roles" not in document:
        return []
    because = (
        f"follows {document['recipe']}"
        if document["recipe"]
        else "of the legal layouts: meets the objective or misses it least, fewest devices, most headroom"
    )
    rows = [_placed(document["roles"], document["checkpoint"]["id"], f"chosen: {because}")]
    rows += [_placed(other["roles"], other["checkpoint"], other["losesBy"]) for other in document["alternatives"]]
    return [("Layout", ["layout", "nodes", "devices a node", "checkpoint", "why, or what it loses by"], rows)]


def _placed(roles: list[dict[str, Any]], checkpoint: str, why: str) -> list[Any]:
    nodes, devices = ("; ".join(str(role[key]) for role in roles) for key in ("nodes", "devicesPerNode"))
    return ["; ".join(layout_words(role) for role in roles), nodes, devices, checkpoint, why]


def _ledger(document: dict[str, Any]) -> list[Table]:
    return [table for role in document.get("roles", ()) for table in _ledger_of(document, role)]


def _ledger_of(document: dict[str, Any], role: dict[str, Any]) -> list[Table]:
    device, host, whose = role["memory"]["device"], role["memory"]["host"], _whose(role)
    rows = [_line(line, 2) for line in document["ledger"] if line["role"] == role["name"]]
    rows += [
        ["free", f"{device['free'] / GIB:.2f}", "less than one block of the cache", "the sum above", ""],
        [
            "total",
            f"{device['total'] / GIB:.2f}",
            "what the driver reports for one device",
            f"chip of {document['pairing']['server']}",
            "",
        ],
    ]
    on_host = [_line(line, 1) for line in document.get("hostLedger", ()) if line["role"] == role["name"]]
    on_host.append(["total", f"{host['total'] / GIB:.1f}", "pinned + sharedMemory + process", "the sum above", ""])
    headers = ["part", "GiB", "formula", "source", "confidence"]
    return [(f"Device memory{whose}", headers, rows), (f"Host memory for each pod{whose}", headers, on_host)]


def _line(line: dict[str, Any], digits: int) -> list[Any]:
    return [line["name"], f"{line['bytes'] / GIB:.{digits}f}", line["formula"], line["source"], line["confidence"]]


def _whose(role: dict[str, Any]) -> str:
    return "" if role["name"] == "server" else f" ({role['name']})"


def _memory(document: dict[str, Any]) -> list[Table]:
    return [table for role in document.get("roles", ()) for table in _memory_of(document, role)]


def _memory_of(document: dict[str, Any], role: dict[str, Any]) -> list[Table]:
    carried = [[name, value] for name, value in role["capacity"].items()]
    return [
        *_ledger_of(document, role),
        (f"Capacity of one data-parallel rank{_whose(role)}", ["figure", "value"], carried),
        *_estimate(role),
    ]


def _estimate(role: dict[str, Any]) -> list[Table]:
    if not role["estimate"]:
        return []
    rows = [[name, *band] for name, band in role["estimate"].items() if isinstance(band, list)]
    return [
        (
            f"Estimate at {role['estimate']['concurrency']} requests in flight (roofline, calibrated bands)",
            ["figure", "low", "middle", "high"],
            rows,
        )
    ]


def _quantization(document: dict[str, Any]) -> list[Table]:
    if "quantization" not in document:
        return []
    decided, checkpoint = document["quantization"], document["checkpoint"]
    cache = decided["kvCache"]
    why = [
        ["decision", decided["decision"]],
        ["checkpoint", checkpoint["id"]],
        ["format", checkpoint["quantization"]],
        ["revision", checkpoint["revision"] or "not pinned"],
        ["bytes", f"{checkpoint['bytes']:,}"],
        ["toolchain", decided["toolchain"]],
        ["policy", decided["policy"]],
        ["KV cache", f"{cache['main']} ({cache['mainEntryBytes']} bytes an entry): {cache['reason']}"],
        ["indexer cache", f"{cache['index']} ({cache['indexEntryBytes']} bytes an entry)"],
        *([f"{role}: {flag}", value] for role, flags in decided["serve"].items() for flag, value in flags.items()),
        ["accuracy", decided["accuracy"]["statement"]],
    ]
    keys = ("class", "part", "native", "storage", "runsAs", "execution", "setBy", "readBy")
    classes = [[*(c[key] for key in keys), f"{c['bytes'] / 1e9:.3f}"] for c in decided["classes"]]
    headers = ["class", "part", "native", "here", "runs as", "how", "set by", "read by", "GB"]
    scores = [*decided["accuracy"]["figures"], *cache["accuracy"]]
    figures = [[s["benchmark"], s.get("before", ""), s["score"], s["measuredOn"], s["source"]] for s in scores]
    refused = [[r["format"], ", ".join(r["classes"]) or "all", r["reason"], r["source"]] for r in decided["refused"]]
    others = [[o["checkpoint"], o["format"], o["how"], o["formats"], o["reason"]] for o in decided["alternatives"]]
    tables: list[Table] = [
        ("Checkpoint", ["what", "value"], why),
        ("Precision by tensor class", headers, classes),
        ("Accuracy", ["benchmark", "before", "score", "measured on", "source"], figures),
        ("Refused here", ["format", "classes", "reason", "source"], refused),
        ("Other checkpoints", ["checkpoint", "format", "how", "formats here", "reason"], others),
    ]
    return [table for table in tables if table[2]]


def _settings(document: dict[str, Any]) -> list[Table]:
    return [_settings_table(document["decisions"])] if document.get("decisions") else []


def _settings_table(decisions: list[dict[str, Any]]) -> Table:
    rows = [[d["key"], d["value"], d["setBy"], d["reason"], d["source"]] for d in decisions]
    return "Settings", ["key", "value", "set by", "reason", "source"], rows


def _security(document: dict[str, Any]) -> list[Table]:
    tables = [table for role in document.get("roles", ()) for table in _security_of(role)]
    layer = document.get("deviceLayer", {})
    rows = [[name, *why] for name, reasons in layer.get("privileges", {}).items() for why in reasons.items()]
    return [*tables, (f"Device layer {layer['name']}", ["component", "privilege", "reason"], rows)] if rows else tables


def _security_of(role: dict[str, Any]) -> list[Table]:
    made = role.get("deployment")
    if not made:
        return []
    security = made["security"]
    rows = [
        ["pod-security level", made["podSecurity"]],
        ["user", "root" if security["runAsUser"] is None else security["runAsUser"]],
        ["capabilities", security["capabilities"]],
    ]
    rows += [[f"reason: {privilege}", reason] for privilege, reason in security["reasons"].items()]
    return [("Security", ["what", "value"], rows)]


def _value(document: dict[str, Any], key: str) -> list[Table]:
    node: Any = document
    for step in key.split("."):
        node = (
            node.get(step)
            if isinstance(node, dict)
            else node[int(step)]
            if isinstance(node, list) and step.isdigit() and int(step) < len(node)
            else None
        )
        if node is None:
            return []
    return [(key, ["value"], [[str(node)[:_SHORT]]])]


PARTS: dict[str, Callable[[dict[str, Any]], list[Table]]] = {
    "verdict": _verdict,
    "layout": _layout,
    "ledger": _ledger,
    "memory": _memory,
    "quantization": _quantization,
    "settings": _settings,
    "security": _security,
}
