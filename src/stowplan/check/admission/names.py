"""Names of objects by kind, their namespaces, names of containers, and names that a pod refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stowplan.check.admission._examples import cron_job, pod, thing, workload
from stowplan.check.admission._register import (
    BATCH,
    CORE,
    Context,
    Problem,
    container_check,
    is_own,
    object_check,
    pod_check,
)
from stowplan.check.admission._syntax import (
    dns_label,
    dns_label_1035,
    dns_subdomain,
    integer,
    path_segment,
    short,
    text,
)
from stowplan.check.kubernetes_schema import schemas
from stowplan.check.objects import Container, Object, Pod, mapping, sequence

_META = (
    "Kubernetes API validation, apimachinery pkg/api/validation: ValidateObjectMeta and the name functions of each kind"
)
_SEGMENT_KINDS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "PodDisruptionBudget"}
_LABEL_KINDS = {"Namespace", "StatefulSet"}
_OTHER_GROUPS = {
    "certificates.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "metrics.k8s.io",
    "coordination.k8s.io",
}
_OTHER_KINDS = {
    "IPAddress",
    "Eviction",
    "Binding",
    "Scale",
    "DeleteOptions",
    "ComponentStatus",
    "Status",
    "LocalSubjectAccessReview",
}
RELAXED_SERVICE_NAMES = 35


def _rule(item: Object, minor: int) -> Callable[[str], str] | None:
    """How the name of this object is checked; None where that is not known."""
    if item.kind in _OTHER_KINDS or item.group in _OTHER_GROUPS:
        return None
    if is_own(item):
        if item.kind in _SEGMENT_KINDS:
            return path_segment
        if item.kind in _LABEL_KINDS:
            return dns_label
        if item.kind == "Service":
            return dns_label if minor >= RELAXED_SERVICE_NAMES else dns_label_1035
        return dns_subdomain
    return dns_subdomain if schemas(f"1.{minor}").scope(item.api_version, item.kind) else None


@object_check(
    "M101",
    "",
    reason="The API server refuses an object whose name does not follow the syntax of its kind.",
    source=f"{_META}; Service names are DNS-1035 labels until 1.34 and DNS-1123 labels by default from 1.36 (KEP-5311).",
    bad=thing("v1", "ConfigMap", "data: {}", name="Engine_Config"),
    good=thing("v1", "ConfigMap", "data: {}", name="engine.config"),
)
def object_name(item: Object, context: Context) -> Iterator[Problem]:
    """The name of an object follows the syntax of its kind."""
    rule = _rule(item, context.minor)
    if rule and item.name and (wrong := rule(item.name)):
        yield Problem(("metadata", "name"), f"the name {short(item.name)} of a {item.kind} {wrong}")


@object_check(
    "M102",
    "",
    reason="The API server builds a name from generateName and refuses a prefix that cannot begin a name of that kind.",
    source=_META,
    bad="apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: Engine-\nspec:\n  containers:\n    - name: a\n      image: registry.example/a:1\n",
    good="apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: engine-\nspec:\n  containers:\n    - name: a\n      image: registry.example/a:1\n",
)
def generated_name(item: Object, context: Context) -> Iterator[Problem]:
    """The prefix of a generated name follows the syntax of its kind."""
    prefix, rule = text(item.metadata.get("generateName")), _rule(item, context.minor)
    if item.kind == "DeviceClass" and item.name:
        return
    if rule and prefix:
        whole = f"{prefix[:-1]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
        if wrong := rule(whole):
            yield Problem(
                ("metadata", "generateName"),
                f"the name prefix {short(prefix)} of a {item.kind} {wrong}",
            )


@object_check(
    "M103",
    "",
    reason="The API server does not create an object that has neither a name nor a generateName.",
    source=_META,
    bad="apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels: {app: engine}\n",
    good=thing("v1", "ConfigMap"),
)
def missing_name(item: Object, context: Context) -> Iterator[Problem]:
    """An object has a name, or a prefix to generate one from."""
    if not _rule(item, context.minor):
        return
    name, prefix = item.metadata.get("name"), item.metadata.get("generateName")
    if name in (None, "") and prefix in (None, ""):
        yield Problem(("metadata",), f"the {item.kind} has no name", "give metadata.name")


@object_check(
    "M104",
    "CronJob Job",
    reason="Jobs and pods get names and labels made from the name of their Job or CronJob, which must stay within 63 characters.",
    source=f"{BATCH}: ValidateCronJobCreate (52 characters); the label job-name that the API server sets on a Job's pods.",
    bad=cron_job('"0 3 * * *"', name="n" * 53),
    good=cron_job('"0 3 * * *"', name="n" * 52),
)
def name_length(item: Object, _context: Context) -> Iterator[Problem]:
    """The name of a Job or CronJob leaves room for what is added to it."""
    limit = 52
    if item.kind == "Job":
        limit = 10**6 if item.spec.get("manualSelector") is True else 63
        completions = integer(item.spec.get("completions"))
        if item.spec.get("completionMode") == "Indexed" and completions and completions > 0:
            limit = 63 - len(f"-{completions - 1}")
    if len(item.name) > limit:
        message = f"the name of this {item.kind} has {len(item.name)} characters, at most {limit} are allowed"
        yield Problem(("metadata", "name"), message)


@object_check(
    "M105",
    "",
    severity="warning",
    reason="The API server drops the namespace of an object that belongs to no namespace, so it does not do what it seems to.",
    source="Kubernetes API server, apiserver pkg/registry/rest: EnsureObjectNamespaceMatchesRequestNamespace.",
    bad=thing("v1", "Namespace", name="serving", metadata="namespace: serving"),
    good=thing("v1", "Namespace", name="serving"),
)
def namespace_of_cluster_object(item: Object, context: Context) -> Iterator[Problem]:
    """An object of the whole cluster names no namespace."""
    if item.namespace and schemas(f"1.{context.minor}").scope(item.api_version, item.kind) == "Cluster":
        message = f"a {item.kind} belongs to no namespace: '{item.namespace}' is ignored"
        yield Problem(("metadata", "namespace"), message, "remove metadata.namespace")


@object_check(
    "M106",
    "",
    reason="A namespace whose name is no DNS label cannot exist, so nothing can be created in it.",
    source=_META,
    bad=thing("v1", "ConfigMap", metadata="namespace: None"),
    good=thing("v1", "ConfigMap", metadata="namespace: serving"),
)
def namespace_syntax(item: Object, context: Context) -> Iterator[Problem]:
    """The namespace of an object is a DNS label."""
    if (
        item.namespace
        and schemas(f"1.{context.minor}").scope(item.api_version, item.kind) != "Cluster"
        and (wrong := dns_label(item.namespace))
    ):
        yield Problem(("metadata", "namespace"), f"the namespace {short(item.namespace)} {wrong}")


@object_check(
    "M410",
    "StatefulSet",
    reason="The API server refuses a stateful set whose service can have no such name.",
    source="Kubernetes API validation, pkg/apis/apps/validation: ValidateStatefulSetSpec.",
    bad=workload("StatefulSet", "serviceName: engine_service"),
    good=workload("StatefulSet", "serviceName: engine"),
)
def service_name(item: Object, _context: Context) -> Iterator[Problem]:
    """The service of a stateful set has a DNS label for a name."""
    name = text(item.spec.get("serviceName"))
    if name and (wrong := dns_label(name)):
        yield Problem(("spec", "serviceName"), f"serviceName {short(name)} {wrong}")


@container_check(
    "M107",
    reason="The API server refuses a container whose name is empty or no DNS label, or that has no image.",
    source=f"{CORE}: validateContainerCommon.",
    bad="apiVersion: v1\nkind: Pod\nmetadata:\n  name: engine\nspec:\n  containers:\n    - name: Engine_1\n      image: registry.example/a:1\n",
    good=pod(),
)
def container_name(container: Container, _pod: Pod, context: Context) -> Iterator[Problem]:
    """A container has a name that is a DNS label, and an image."""
    name, image = container.data.get("name"), container.data.get("image")
    if name == "":
        yield Problem(("name",), "the container has an empty name")
    elif isinstance(name, str) and (wrong := dns_label(name)):
        yield Problem(("name",), f"the container name {short(name)} {wrong}")
    if image in (None, ""):
        yield Problem(("image",), f"the container {short(text(name))} has no image")
    elif context.item.kind == "Pod" and isinstance(image, str) and image != image.strip():
        yield Problem(("image",), f"the image {short(image)} begins or ends with a space")


@pod_check(
    "M108",
    reason="The API server refuses a pod with no container, or with two containers of one name, init containers included.",
    source=f"{CORE}: validateContainers and validateInitContainers.",
    bad=pod(spec="initContainers:\n  - name: engine\n    image: registry.example/init:1"),
    good=pod(spec="initContainers:\n  - name: fetch\n    image: registry.example/init:1"),
)
def container_names_differ(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A pod has containers, and their names differ."""
    if pod.spec.get("ephemeralContainers"):
        place = (*pod.spec_path, "ephemeralContainers")
        yield Problem(place, "containers for debugging are added to pods that run", "remove them", key=True)
    if not pod.spec.get("containers"):
        yield Problem((*pod.spec_path, "containers"), "the pod has no containers")
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(sequence(pod.spec.get(field))):
            name = text(mapping(container).get("name"))
            if name and name in seen:
                yield Problem(
                    (*pod.spec_path, field, index, "name"),
                    f"two containers of the pod are named {short(name)}",
                )
            seen.add(name)


_REFERENCES: dict[str, Callable[[str], str]] = {
    "hostname": dns_label,
    "hostnameOverride": dns_subdomain,
    "nodeName": dns_subdomain,
    "priorityClassName": dns_subdomain,
    "runtimeClassName": dns_subdomain,
    "serviceAccount": dns_subdomain,
    "serviceAccountName": dns_subdomain,
    "subdomain": dns_label,
}
_SET_BY_STATEFUL_SET = ("hostname", "subdomain")


@pod_check(
    "M109",
    reason="The API server refuses a pod that refers to something by a name that nothing can have.",
    source=f"{CORE}: ValidatePodSpec.",
    bad=pod(spec="serviceAccountName: Engine_SA"),
    good=pod(spec="serviceAccountName: engine"),
)
def names_in_pod(pod: Pod, context: Context) -> Iterator[Problem]:
    """Names that a pod refers to are possible names."""
    for field, rule in _REFERENCES.items():
        value = text(pod.spec.get(field))
        if context.item.kind == "StatefulSet" and field in _SET_BY_STATEFUL_SET:
            continue
        if field == "serviceAccount" and pod.spec.get("serviceAccountName"):
            continue
        if value and (wrong := rule(value)):
            yield Problem((*pod.spec_path, field), f"{field} {short(value)} {wrong}")
    if pod.spec.get("runtimeClassName") == "":
        yield Problem((*pod.spec_path, "runtimeClassName"), "runtimeClassName is empty", "remove the field")
