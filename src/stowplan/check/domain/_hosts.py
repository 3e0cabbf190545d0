"""On which hosts an object's pods may run, as far as labels say, and whether two objects may share one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stowplan.check.objects import Object, Path, dig, mapping, sequence

Term = tuple[tuple[str, str, frozenset[str]], ...]
"""Conditions that all hold: key, operator, values."""
Hosts = tuple[Term, ...]
"""Any one of these terms."""


def hosts_of(item: Object, selector: Sequence[str] = ()) -> Hosts:
    """Hosts of the object's pods, or of the labels at `selector` where it has no pods of its own."""
    if not item.pods:
        path: Path = tuple(selector)
        return (_labels(mapping(dig(item.data, path))) if path else (),)
    spec = item.pods[0].spec
    fixed = _labels(mapping(spec.get("nodeSelector")))
    required = dig(spec, ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"))
    terms = [mapping(t) for t in sequence(mapping(required).get("nodeSelectorTerms"))] or [{}]
    return tuple((*fixed, *_expressions(term)) for term in terms)


def overlap(one: Hosts, other: Hosts) -> bool:
    """Whether some host may be among both."""
    return any(_together((*a, *b)) for a in one for b in other)


def _labels(labels: Mapping[str, Any]) -> Term:
    return tuple((key, "In", frozenset((str(value),))) for key, value in labels.items())


def _expressions(term: Mapping[str, Any]) -> Term:
    found = [mapping(e) for e in sequence(term.get("matchExpressions"))]
    return tuple(
        (str(e.get("key")), str(e.get("operator")), frozenset(str(v) for v in sequence(e.get("values")))) for e in found
    )


def _together(term: Term) -> bool:
    """Whether a host can meet all conditions; operators that compare numbers never speak against it."""
    for key in {condition[0] for condition in term}:
        said = [(operator, values) for name, operator, values in term if name == key]
        allowed = [values for operator, values in said if operator == "In"]
        forbidden = frozenset[str]().union(*(values for operator, values in said if operator == "NotIn"))
        if allowed and not frozenset.intersection(*allowed) - forbidden:
            return False
        if any(o == "DoesNotExist" for o, _ in said) and (allowed or any(o == "Exists" for o, _ in said)):
            return False
    return True
