"""Syntax and size of labels and annotations, and label selectors wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stowplan.check.admission._examples import pod, thing, workload
from stowplan.check.admission._register import CORE, Context, Problem, object_check, pod_check
from stowplan.check.admission._syntax import label_value, qualified_name, short, text, walk
from stowplan.check.objects import Object, Path, Pod, mapping, sequence

_META = "Kubernetes API validation, apimachinery pkg/apis/meta/v1/validation: ValidateLabels, ValidateLabelSelector"
_OWN_NAME = "kubernetes.io/metadata.name"  # of a namespace the API server sets it
_ANNOTATION_BYTES = 256 * 1024


def _metadata(item: Object) -> Iterator[tuple[Mapping[str, object], Path]]:
    yield item.metadata, ("metadata",)
    if item.kind == "ResourceClaimTemplate":
        yield mapping(item.spec.get("metadata")), ("spec", "metadata")
    for pod_ in item.pods:
        if item.kind != "Pod":
            yield pod_.metadata, pod_.metadata_path
        for data, path in walk(pod_.spec, ("volumes", "*", "ephemeral", "volumeClaimTemplate", "metadata")):
            yield mapping(data), (*pod_.spec_path, *path)


@object_check(
    "M110",
    "",
    reason="The API server refuses a label whose key is not a qualified name.",
    source=_META,
    bad=thing("v1", "ConfigMap", metadata="labels: {app kind: engine}"),
    good=thing("v1", "ConfigMap", metadata="labels: {app.kubernetes.io/name: engine}"),
)
def label_keys(item: Object, _context: Context) -> Iterator[Problem]:
    """Keys of labels are qualified names."""
    for metadata, path in _metadata(item):
        for key in mapping(metadata.get("labels")):
            if wrong := qualified_name(key):
                yield Problem((*path, "labels", key), f"the label key {short(key)} {wrong}", key=True)


@object_check(
    "M111",
    "",
    reason="The API server refuses a label whose value is longer than 63 characters or holds other characters than names have.",
    source=_META,
    bad=thing("v1", "ConfigMap", metadata="labels: {app: deepseek/v4 flash}"),
    good=thing("v1", "ConfigMap", metadata="labels: {app: deepseek-v4-flash}"),
)
def label_values(item: Object, _context: Context) -> Iterator[Problem]:
    """Values of labels follow their syntax."""
    for metadata, path in _metadata(item):
        for key, value in mapping(metadata.get("labels")).items():
            if item.kind == "Namespace" and key == _OWN_NAME:
                continue
            if isinstance(value, str) and (wrong := label_value(value)):
                yield Problem(
                    (*path, "labels", key),
                    f"the value {short(value)} of the label '{key}' {wrong}",
                    "put free text into an annotation",
                )


@object_check(
    "M112",
    "",
    reason="The API server refuses an annotation whose key is not a qualified name.",
    source="Kubernetes API validation, apimachinery pkg/api/validation: ValidateAnnotations.",
    bad=thing("v1", "ConfigMap", metadata="annotations: {example.com/a/b: text}"),
    good=thing("v1", "ConfigMap", metadata="annotations: {example.com/A_b: any text}"),
)
def annotation_keys(item: Object, _context: Context) -> Iterator[Problem]:
    """Keys of annotations are qualified names."""
    for metadata, path in _metadata(item):
        for key in mapping(metadata.get("annotations")):
            if wrong := qualified_name(key.lower()):
                yield Problem(
                    (*path, "annotations", key),
                    f"the annotation key {short(key)} {wrong}",
                    key=True,
                )


@object_check(
    "M113",
    "",
    reason="The API server refuses an object whose annotations, keys and values together, are larger than 256 KiB.",
    source="Kubernetes API validation, apimachinery pkg/api/validation: ValidateAnnotationsSize.",
    bad=thing("v1", "ConfigMap", metadata=f"annotations: {{example.com/text: {'x' * _ANNOTATION_BYTES}}}"),
    good=thing("v1", "ConfigMap", metadata="annotations: {example.com/text: xxx}"),
)
def annotation_size(item: Object, _context: Context) -> Iterator[Problem]:
    """Annotations together are at most 256 KiB."""
    for metadata, path in _metadata(item):
        annotations = mapping(metadata.get("annotations"))
        size = sum(len(key.encode()) + len(text(value).encode()) for key, value in annotations.items())
        if size > _ANNOTATION_BYTES:
            message = f"the annotations hold {size:,} bytes, at most {_ANNOTATION_BYTES:,} are allowed"
            yield Problem((*path, "annotations"), message, key=True)


_SELECTORS: dict[str, tuple[Path, ...]] = {
    "ClusterRole": (("aggregationRule", "clusterRoleSelectors", "*"),),
    "DaemonSet": (("spec", "selector"),),
    "Deployment": (("spec", "selector"),),
    "Job": (("spec", "selector"),),
    "NetworkPolicy": (
        ("spec", "podSelector"),
        *(
            ("spec", way, "*", peer, "*", f"{which}Selector")
            for way, peer in (("ingress", "from"), ("egress", "to"))
            for which in ("pod", "namespace")
        ),
    ),
    "PersistentVolumeClaim": (("spec", "selector"),),
    "PodDisruptionBudget": (("spec", "selector"),),
    "ReplicaSet": (("spec", "selector"),),
    "StatefulSet": (("spec", "selector"), ("spec", "volumeClaimTemplates", "*", "spec", "selector")),
}
_TERMS = (
    ("requiredDuringSchedulingIgnoredDuringExecution", "*"),
    ("preferredDuringSchedulingIgnoredDuringExecution", "*", "podAffinityTerm"),
)
POD_SELECTORS: tuple[Path, ...] = (
    *(
        ("affinity", way, *term, f"{prefix}elector")
        for way in ("podAffinity", "podAntiAffinity")
        for term in _TERMS
        for prefix in ("labelS", "namespaceS")
    ),
    ("topologySpreadConstraints", "*", "labelSelector"),
    ("volumes", "*", "ephemeral", "volumeClaimTemplate", "spec", "selector"),
)


def selector_problems(selector: object, path: Path) -> Iterator[Problem]:
    """What the API server refuses in a label selector."""
    for key, value in mapping(mapping(selector).get("matchLabels")).items():
        if wrong := qualified_name(key):
            yield Problem((*path, "matchLabels", key), f"the label key {short(key)} {wrong}", key=True)
        if isinstance(value, str) and (wrong := label_value(value)):
            yield Problem(
                (*path, "matchLabels", key),
                f"the value {short(value)} of the label '{key}' {wrong}",
            )
    for index, expression in enumerate(sequence(mapping(selector).get("matchExpressions"))):
        yield from _expression(mapping(expression), (*path, "matchExpressions", index))


def _expression(expression: Mapping[str, object], path: Path) -> Iterator[Problem]:
    key, operator, values = (
        expression.get("key"),
        expression.get("operator"),
        sequence(expression.get("values")),
    )
    if isinstance(key, str) and (wrong := qualified_name(key)):
        yield Problem((*path, "key"), f"the label key {short(key)} {wrong}")
    if operator in ("In", "NotIn") and not values:
        yield Problem(path, f"the operator {operator} needs values")
    elif operator in ("Exists", "DoesNotExist") and values:
        yield Problem((*path, "values"), f"the operator {operator} takes no values", "remove values")
    elif isinstance(operator, str) and operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        yield Problem(
            (*path, "operator"),
            f"{short(operator)} is no operator of a label selector",
            "use In, NotIn, Exists or DoesNotExist",
        )
    for index, value in enumerate(values):
        if isinstance(value, str) and (wrong := label_value(value)):
            yield Problem((*path, "values", index), f"the label value {short(value)} {wrong}")


@object_check(
    "M114",
    " ".join(_SELECTORS),
    reason="The API server refuses a label selector with a key, value or operator that no label can meet.",
    source=_META,
    bad=thing(
        "policy/v1",
        "PodDisruptionBudget",
        "spec:\n  selector:\n    matchExpressions:\n      - {key: app, operator: In}",
    ),
    good=thing(
        "policy/v1",
        "PodDisruptionBudget",
        "spec:\n  selector:\n    matchExpressions:\n      - {key: app, operator: In, values: [engine]}",
    ),
)
def selectors(item: Object, _context: Context) -> Iterator[Problem]:
    """A label selector has valid keys, values and operators."""
    for steps in _SELECTORS[item.kind]:
        for selector, path in walk(item.data, steps):
            yield from selector_problems(selector, path)


@pod_check(
    "M115",
    reason="The API server refuses a pod whose node selector, or whose selectors of other pods, cannot match any label.",
    source=f"{CORE}: ValidatePodSpec; {_META}",
    bad=pod(spec="nodeSelector: {accelerator: large memory}"),
    good=workload("Deployment", pod_spec="nodeSelector: {accelerator: large-memory}"),
)
def pod_selectors(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Node selectors and selectors of other pods hold possible labels."""
    for key, value in mapping(pod.spec.get("nodeSelector")).items():
        path = (*pod.spec_path, "nodeSelector", key)
        if wrong := qualified_name(key):
            yield Problem(path, f"the label key {short(key)} {wrong}", key=True)
        if isinstance(value, str) and (wrong := label_value(value)):
            yield Problem(path, f"the value {short(value)} of the label '{key}' {wrong}")
    for steps in POD_SELECTORS:
        for selector, path in walk(pod.spec, steps):
            yield from selector_problems(selector, (*pod.spec_path, *path))
