"""Fields that take one of a few words."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import pod, service
from stowplan.check.admission._register import Context, Problem, object_check, pod_check
from stowplan.check.admission._syntax import short, walk
from stowplan.check.objects import Object, Path, Pod
from stowplan.diagnostics import did_you_mean

_SOURCE = "Kubernetes API reference and validation: the values that each field supports."
_Words = tuple[str, ...]
_HANDLERS: tuple[Path, ...] = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "preStop"),
    ("lifecycle", "postStart"),
)
_POLICY: _Words = ("Honor", "Ignore")
_ACCESS: _Words = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_SECCOMP: _Words = ("Localhost", "RuntimeDefault", "Unconfined")
_HOST_PATHS: _Words = (
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
)
_PROTOCOLS: _Words = ("TCP", "UDP", "SCTP")

_CONTAINER: tuple[tuple[Path, _Words], ...] = (
    (("imagePullPolicy",), ("Always", "IfNotPresent", "Never")),
    (("terminationMessagePolicy",), ("File", "FallbackToLogsOnError")),
    (("ports", "*", "protocol"), _PROTOCOLS),
    (("securityContext", "appArmorProfile", "type"), _SECCOMP),
    (("securityContext", "procMount"), ("Default", "Unmasked")),
    (("securityContext", "seccompProfile", "type"), _SECCOMP),
    (("volumeMounts", "*", "mountPropagation"), ("None", "HostToContainer", "Bidirectional")),
    (("resizePolicy", "*", "resourceName"), ("cpu", "memory")),
    (("resizePolicy", "*", "restartPolicy"), ("NotRequired", "RestartContainer")),
    (("volumeMounts", "*", "recursiveReadOnly"), ("Disabled", "IfPossible", "Enabled")),
    *(((*path, "httpGet", "scheme"), ("HTTP", "HTTPS")) for path in _HANDLERS),
)
_POD: tuple[tuple[Path, _Words], ...] = (
    (("dnsPolicy",), ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")),
    (("os", "name"), ("linux", "windows")),
    (("preemptionPolicy",), ("PreemptLowerPriority", "Never")),
    (("restartPolicy",), ("Always", "OnFailure", "Never")),
    (("securityContext", "appArmorProfile", "type"), _SECCOMP),
    (("securityContext", "fsGroupChangePolicy"), ("OnRootMismatch", "Always")),
    (("securityContext", "seLinuxChangePolicy"), ("MountOption", "Recursive")),
    (("securityContext", "seccompProfile", "type"), _SECCOMP),
    (("securityContext", "supplementalGroupsPolicy"), ("Merge", "Strict")),
    (("topologySpreadConstraints", "*", "nodeAffinityPolicy"), _POLICY),
    (("topologySpreadConstraints", "*", "nodeTaintsPolicy"), _POLICY),
    (("topologySpreadConstraints", "*", "whenUnsatisfiable"), ("DoNotSchedule", "ScheduleAnyway")),
    (("volumes", "*", "ephemeral", "volumeClaimTemplate", "spec", "accessModes", "*"), _ACCESS),
    (("volumes", "*", "hostPath", "type"), _HOST_PATHS),
    *((("containers", "*", *path), words) for path, words in _CONTAINER),
    *((("initContainers", "*", *path), words) for path, words in _CONTAINER),
)
_OBJECTS: dict[str, tuple[tuple[Path, _Words], ...]] = {
    "CronJob": (
        (("spec", "concurrencyPolicy"), ("Allow", "Forbid", "Replace")),
        (("spec", "jobTemplate", "spec", "completionMode"), ("NonIndexed", "Indexed")),
        (("spec", "jobTemplate", "spec", "podReplacementPolicy"), ("TerminatingOrFailed", "Failed")),
    ),
    "DaemonSet": ((("spec", "updateStrategy", "type"), ("RollingUpdate", "OnDelete")),),
    "Deployment": ((("spec", "strategy", "type"), ("Recreate", "RollingUpdate")),),
    "Ingress": (
        (
            ("spec", "rules", "*", "http", "paths", "*", "pathType"),
            ("Exact", "Prefix", "ImplementationSpecific"),
        ),
    ),
    "Job": (
        (("spec", "completionMode"), ("NonIndexed", "Indexed")),
        (("spec", "podReplacementPolicy"), ("TerminatingOrFailed", "Failed")),
    ),
    "NetworkPolicy": (
        (("spec", "egress", "*", "ports", "*", "protocol"), _PROTOCOLS),
        (("spec", "ingress", "*", "ports", "*", "protocol"), _PROTOCOLS),
        (("spec", "policyTypes", "*"), ("Ingress", "Egress")),
    ),
    "PersistentVolume": (
        (("spec", "accessModes", "*"), _ACCESS),
        (("spec", "hostPath", "type"), _HOST_PATHS),
        (("spec", "persistentVolumeReclaimPolicy"), ("Retain", "Delete", "Recycle")),
        (("spec", "volumeMode"), ("Filesystem", "Block")),
    ),
    "PersistentVolumeClaim": (
        (("spec", "accessModes", "*"), _ACCESS),
        (("spec", "volumeMode"), ("Filesystem", "Block")),
    ),
    "PodDisruptionBudget": ((("spec", "unhealthyPodEvictionPolicy"), ("IfHealthyBudget", "AlwaysAllow")),),
    "PriorityClass": ((("preemptionPolicy",), ("PreemptLowerPriority", "Never")),),
    "Service": (
        (("spec", "externalTrafficPolicy"), ("Cluster", "Local")),
        (("spec", "internalTrafficPolicy"), ("Cluster", "Local")),
        (("spec", "ipFamilies", "*"), ("IPv4", "IPv6")),
        (("spec", "ipFamilyPolicy"), ("SingleStack", "PreferDualStack", "RequireDualStack")),
        (("spec", "ports", "*", "protocol"), _PROTOCOLS),
        (("spec", "sessionAffinity"), ("None", "ClientIP")),
        (("spec", "trafficDistribution"), ("PreferClose", "PreferSameZone", "PreferSameNode")),
        (("spec", "type"), ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")),
    ),
    "StatefulSet": (
        (("spec", "volumeClaimTemplates", "*", "spec", "accessModes", "*"), _ACCESS),
        (("spec", "volumeClaimTemplates", "*", "spec", "volumeMode"), ("Filesystem", "Block")),
        (("spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"), ("Retain", "Delete")),
        (("spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"), ("Retain", "Delete")),
        (("spec", "podManagementPolicy"), ("OrderedReady", "Parallel")),
        (("spec", "updateStrategy", "type"), ("RollingUpdate", "OnDelete")),
    ),
    "StorageClass": (
        (("reclaimPolicy",), ("Delete", "Retain")),
        (("volumeBindingMode",), ("Immediate", "WaitForFirstConsumer")),
    ),
}


def _unknown(data: object, table: tuple[tuple[Path, _Words], ...], base: Path) -> Iterator[Problem]:
    for steps, words in table:
        for value, path in walk(data, steps):
            if _is_other(value, path, words):
                message = f"{path[-1] if isinstance(path[-1], str) else path[-2]} {short(value or '')} is not one of {', '.join(words)}"
                yield Problem((*base, *path), message, did_you_mean(value or "", words))


_FILLED_IN = {
    "concurrencyPolicy",
    "dnsPolicy",
    "externalTrafficPolicy",
    "imagePullPolicy",
    "pathType",
    "persistentVolumeReclaimPolicy",
    "podManagementPolicy",
    "protocol",
    "reclaimPolicy",
    "restartPolicy",
    "scheme",
    "sessionAffinity",
    "terminationMessagePolicy",
    "type",
    "whenDeleted",
    "whenScaled",
}
"""Fields of which the API server takes an empty text for a missing one."""


def _is_other(value: object, path: Path, words: _Words) -> bool:
    if isinstance(path[-1], int):
        return isinstance(value, str | None) and (value or "") not in words
    return isinstance(value, str) and value not in words and (value != "" or path[-1] not in _FILLED_IN)


@pod_check(
    "M100",
    reason="The API server refuses a field of a pod whose value is none of the few that the field takes.",
    source=_SOURCE,
    bad=pod("imagePullPolicy: Sometimes"),
    good=pod("imagePullPolicy: IfNotPresent"),
)
def words_of_pod(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Fields of a pod that take one of a few words have one of them."""
    yield from _unknown(pod.spec, _POD, pod.spec_path)


@object_check(
    "M119",
    " ".join(_OBJECTS),
    reason="The API server refuses a field whose value is none of the few that the field takes.",
    source=_SOURCE,
    bad=service("type: Loadbalancer\nports:\n  - {port: 80}"),
    good=service("type: LoadBalancer\nports:\n  - {port: 80}"),
)
def words_of_object(item: Object, _context: Context) -> Iterator[Problem]:
    """Fields of an object that take one of a few words have one of them."""
    yield from _unknown(item.data, _OBJECTS[item.kind], ())
