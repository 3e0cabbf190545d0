"""Tolerations, node and pod affinity, spreading over the topology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, pod_check
from stowplan.check.admission._syntax import (
    dns_label,
    dns_subdomain,
    integer,
    is_decimal,
    label_value,
    qualified_name,
    short,
    text,
    walk,
)
from stowplan.check.objects import Path, Pod, mapping, sequence

_COMPARING_TOLERATIONS = 37
_WEIGHT = 100
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@pod_check(
    "M116",
    reason="The API server refuses a toleration whose key, operator, value and effect do not fit together.",
    source=f"{CORE}: ValidateTolerations.",
    bad=pod(spec='tolerations:\n  - {key: nvidia.com/gpu, operator: Exists, value: "true"}'),
    good=pod(spec="tolerations:\n  - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}"),
)
def tolerations(pod: Pod, context: Context) -> Iterator[Problem]:
    """The fields of a toleration fit together."""
    for index, item in enumerate(sequence(pod.spec.get("tolerations"))):
        path = (*pod.spec_path, "tolerations", index)
        yield from toleration_problems(mapping(item), path, _operators(context.minor))


def toleration_problems(data: Mapping[str, Any], path: Path, operators: tuple[str, ...]) -> Iterator[Problem]:
    """What the API server refuses in a toleration of nodes' taints."""
    key, operator, value = text(data.get("key")), data.get("operator") or "Equal", text(data.get("value"))
    if key and (wrong := qualified_name(key)):
        yield Problem((*path, "key"), f"the taint key {short(key)} {wrong}")
    if not key and operator != "Exists":
        yield Problem(path, "a toleration without a key needs the operator Exists")
    if operator == "Exists" and value:
        hint = "remove value, or use the operator Equal"
        yield Problem((*path, "value"), "a toleration with the operator Exists takes no value", hint)
    if operator == "Equal" and (wrong := label_value(value)):
        yield Problem((*path, "value"), f"the value {short(value)} of a toleration {wrong}")
    if operator in ("Lt", "Gt") and operator in operators and not is_decimal(value):
        yield Problem((*path, "value"), f"the value {short(value)} of the operator {operator} is no whole number")
    if isinstance(operator, str) and operator not in operators:
        yield Problem((*path, "operator"), f"{short(operator)} is no operator of a toleration", "use Exists or Equal")
    if data.get("effect") not in (None, "", *_EFFECTS):
        yield Problem((*path, "effect"), f"{short(text(data['effect']))} is not one of {', '.join(_EFFECTS)}")
    if data.get("tolerationSeconds") is not None and data.get("effect") != "NoExecute":
        message = "tolerationSeconds is allowed only with the effect NoExecute"
        yield Problem((*path, "tolerationSeconds"), message)


def _operators(minor: int) -> tuple[str, ...]:
    return ("Exists", "Equal", "Lt", "Gt") if minor >= _COMPARING_TOLERATIONS else ("Exists", "Equal")


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@pod_check(
    "M117",
    reason="The API server refuses affinity rules without terms, with unknown operators or with weights outside 1 to 100.",
    source=f"{CORE}: validateAffinity, ValidateNodeSelectorRequirement and validatePodAffinityTerm.",
    bad=pod(
        spec="""
        affinity:
          nodeAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              nodeSelectorTerms:
                - matchExpressions:
                    - {key: accelerator, operator: Is, values: [large-memory]}
        """
    ),
    good=pod(
        spec="""
        affinity:
          nodeAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              nodeSelectorTerms:
                - matchExpressions:
                    - {key: accelerator, operator: In, values: [large-memory]}
        """
    ),
)
def affinity(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Affinity rules have terms, known operators, topology keys and weights of 1 to 100."""
    data, base = mapping(pod.spec.get("affinity")), (*pod.spec_path, "affinity")
    required = mapping(data.get("nodeAffinity")).get(_REQUIRED)
    if isinstance(required, Mapping) and not required.get("nodeSelectorTerms"):
        yield Problem((*base, "nodeAffinity", _REQUIRED), "the node affinity has no nodeSelectorTerms")
    terms: tuple[Path, ...] = (
        ("nodeAffinity", _REQUIRED, "nodeSelectorTerms", "*"),
        ("nodeAffinity", _PREFERRED, "*", "preference"),
    )
    for steps in terms:
        for term, path in walk(data, steps):
            yield from node_term(term, (*base, *path), required=steps[1] == _REQUIRED)
    yield from _weights_and_keys(data, base)


def node_term(term: object, path: Path, *, required: bool) -> Iterator[Problem]:
    """What the API server refuses in a term that selects nodes."""
    for requirement, inner in walk(term, ("matchExpressions", "*")):
        yield from _requirement(mapping(requirement), (*path, *inner), required=required)
    for requirement, inner in walk(term, ("matchFields", "*")):
        yield from _field_requirement(mapping(requirement), (*path, *inner))


def _weights_and_keys(data: Mapping[str, Any], base: Path) -> Iterator[Problem]:
    for way in ("nodeAffinity", "podAffinity", "podAntiAffinity"):
        for weight, path in walk(data, (way, _PREFERRED, "*", "weight")):
            if type(weight) is int and not 1 <= weight <= _WEIGHT:
                yield Problem((*base, *path), f"the weight {weight} is not in the range 1 to {_WEIGHT}")
    yield from _topology(data, base)


def _topology(data: Mapping[str, Any], base: Path) -> Iterator[Problem]:
    for way in ("podAffinity", "podAntiAffinity"):
        for steps in (
            (way, _REQUIRED, "*", "topologyKey"),
            (way, _PREFERRED, "*", "podAffinityTerm", "topologyKey"),
        ):
            for key, path in walk(data, steps):
                if isinstance(key, str) and (wrong := qualified_name(key)):
                    yield Problem((*base, *path), f"the topology key {short(key)} {wrong}")
            for term, path in walk(data, steps[:-1]):
                yield from _label_keys(mapping(term), (*base, *path))
                for index, name in enumerate(sequence(mapping(term).get("namespaces"))):
                    if wrong := dns_label(text(name)):
                        yield Problem((*base, *path, "namespaces", index), f"the namespace {short(text(name))} {wrong}")


def _label_keys(data: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Keys whose values are taken from the pod itself."""
    selector = data.get("labelSelector")
    taken = set(mapping(mapping(selector).get("matchLabels"))) | {
        text(mapping(entry).get("key")) for entry in sequence(mapping(selector).get("matchExpressions"))
    }
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        for index, key in enumerate(sequence(data.get(field))):
            if selector is None:
                yield Problem((*path, field), f"{field} needs a labelSelector", key=True)
            if wrong := qualified_name(text(key)):
                yield Problem((*path, field, index), f"the label key {short(text(key))} {wrong}")
            elif field == "matchLabelKeys" and (text(key) in taken or key in sequence(data.get("mismatchLabelKeys"))):
                yield Problem((*path, field, index), f"the label key {short(text(key))} is selected by already")


def _requirement(data: Mapping[str, Any], path: Path, *, required: bool) -> Iterator[Problem]:
    key, operator, values = data.get("key"), data.get("operator"), sequence(data.get("values"))
    if isinstance(key, str) and (wrong := qualified_name(key)):
        yield Problem((*path, "key"), f"the label key {short(key)} {wrong}")
    yield from _operator(operator, values, path)
    for index, value in enumerate(values if required else ()):
        if isinstance(value, str) and (wrong := label_value(value)):
            yield Problem((*path, "values", index), f"the label value {short(value)} {wrong}")


def _operator(operator: object, values: Sequence[Any], path: Path) -> Iterator[Problem]:
    match operator:
        case "In" | "NotIn":
            if not values:
                yield Problem(path, f"the operator {operator} needs values")
        case "Exists" | "DoesNotExist":
            if values:
                yield Problem((*path, "values"), f"the operator {operator} takes no values", "remove values")
        case "Gt" | "Lt":
            if len(values) != 1:
                yield Problem(path, f"the operator {operator} needs exactly one value, got {len(values)}")
        case str():
            hint = "use In, NotIn, Exists, DoesNotExist, Gt or Lt"
            yield Problem((*path, "operator"), f"{short(operator)} is no operator of a node selector", hint)


def _field_requirement(data: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    key, operator, values = data.get("key"), data.get("operator"), sequence(data.get("values"))
    if isinstance(key, str) and key != "metadata.name":
        yield Problem(
            (*path, "key"),
            f"{short(key)} is no field that a node is selected by",
            "use metadata.name",
        )
    if operator in ("In", "NotIn") and len(values) != 1:
        yield Problem(path, f"the operator {operator} on a field needs exactly one value, got {len(values)}")
    elif isinstance(operator, str) and operator not in ("In", "NotIn"):
        yield Problem((*path, "operator"), f"{short(operator)} is no operator on a field", "use In or NotIn")
    for index, value in enumerate(values):
        if isinstance(value, str) and key == "metadata.name" and (wrong := dns_subdomain(value)):
            yield Problem((*path, "values", index), f"the node name {short(value)} {wrong}")


@pod_check(
    "M118",
    reason="The API server refuses a topology spread constraint without a skew, key or known action, or given twice.",
    source=f"{CORE}: validateTopologySpreadConstraints.",
    bad=pod(
        spec="topologySpreadConstraints:\n  - {maxSkew: 0, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}"
    ),
    good=pod(
        spec="topologySpreadConstraints:\n  - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}"
    ),
)
def topology_spread(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Topology spread constraints have a positive skew and a key, and differ."""
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(sequence(pod.spec.get("topologySpreadConstraints"))):
        data, path = mapping(item), (*pod.spec_path, "topologySpreadConstraints", index)
        skew, least = integer(data.get("maxSkew")), integer(data.get("minDomains"))
        key, action = text(data.get("topologyKey")), text(data.get("whenUnsatisfiable"))
        if skew is not None and skew <= 0:
            yield Problem((*path, "maxSkew"), f"maxSkew {skew} is not greater than 0")
        if data.get("topologyKey") == "":
            yield Problem((*path, "topologyKey"), "the topology key is empty")
        if least is not None and least <= 0:
            yield Problem((*path, "minDomains"), f"minDomains {least} is not greater than 0")
        if least is not None and action == "ScheduleAnyway":
            yield Problem(
                (*path, "minDomains"),
                "minDomains is allowed only with whenUnsatisfiable: DoNotSchedule",
            )
        if key and action and (key, action) in seen:
            yield Problem(path, f"two constraints have the topology key {short(key)} and the action {action}")
        seen.add((key, action))
        yield from _label_keys(data, path)
