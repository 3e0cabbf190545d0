"""Things that pods need by name: ConfigMaps, Secrets, claims and service accounts."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stowplan.check.admission._examples import pod, thing
from stowplan.check.admission._syntax import short
from stowplan.check.bundle._references import Reference, holder, holders_near, references
from stowplan.check.claims import makers
from stowplan.check.objects import Bundle, mapping
from stowplan.check.registry import Found, check
from stowplan.diagnostics import did_you_mean

EXPECTED = "stowplan.dev/expects"
"""Annotation of a pod: `Kind/name` of things that others bring, separated by spaces."""
_ALWAYS = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_VOLUME = "volumes:\n  - {name: config, configMap: {name: settings}}"
_KEY = "env:\n  - name: A\n    valueFrom: {configMapKeyRef: {name: settings, key: a}}"
_CLAIM = "spec:\n  accessModes: [ReadWriteMany]\n  resources:\n    requests: {storage: 1Ti}"


_MANY = 200
"""Among more names than these some are always alike, and a guess says nothing."""


def _expected(found: Reference) -> list[str]:
    return [
        name
        for pod in found.item.pods
        for name in str(mapping(pod.metadata.get("annotations")).get(EXPECTED, "")).split()
    ]


def _missing(bundle: Bundle, kind: str, made: Collection[str] = ()) -> Iterator[Found]:
    for found in references(bundle):
        if found.kind != kind or (kind, found.name) in _ALWAYS or holder(bundle, kind, found.name):
            continue
        if found.name in made or f"{kind}/{found.name}" in _expected(found):
            continue
        known = [item.name for item in bundle.of(kind) if item.name]
        hint = did_you_mean(found.name, known) if len(known) <= _MANY else ""
        message = f"the bundle holds no {kind} {short(found.name)}"
        yield Found(found.item, found.path, message, hint or "add it, or create it beforehand")


@check(
    "M202",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A pod does not start until every ConfigMap that it needs exists.",
    source="https://kubernetes.io/docs/concepts/configuration/configmap/",
    bad=pod(spec=_VOLUME),
    good=f"{pod(spec=_VOLUME)}---\n{thing('v1', 'ConfigMap', name='settings')}",
)
def config_maps_exist(bundle: Bundle) -> Iterator[Found]:
    """ConfigMaps that pods need are in the bundle."""
    yield from _missing(bundle, "ConfigMap")


_MODELS = "volumes:\n  - {name: models, persistentVolumeClaim: {claimName: models}}"


@check(
    "M203",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A pod stays pending until the claims that it mounts exist.",
    source="https://kubernetes.io/docs/concepts/storage/persistent-volumes/#claims-as-volumes",
    bad=pod(spec=_MODELS),
    good=f"{pod(spec=_MODELS)}---\n{thing('v1', 'PersistentVolumeClaim', _CLAIM, name='models')}",
)
def claims_exist(bundle: Bundle) -> Iterator[Found]:
    """Claims that pods mount are in the bundle."""
    made = {
        f"{name}-" for item in bundle.of("StatefulSet") for name in _templates(item.spec.get("volumeClaimTemplates"))
    }
    for found in _missing(bundle, "PersistentVolumeClaim"):
        if not any(found.message.partition("'")[2].startswith(prefix) for prefix in made):
            yield found


def _templates(templates: object) -> Iterator[str]:
    for template in templates if isinstance(templates, list) else ():
        name = mapping(mapping(template).get("metadata")).get("name")
        if isinstance(name, str) and name:
            yield name


@check(
    "M204",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="No pod is created for a workload whose service account does not exist.",
    source="https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/",
    bad=pod(spec="serviceAccountName: engine"),
    good=f"{pod(spec='serviceAccountName: engine')}---\n{thing('v1', 'ServiceAccount')}",
)
def service_accounts_exist(bundle: Bundle) -> Iterator[Found]:
    """Service accounts of pods are in the bundle."""
    yield from _missing(bundle, "ServiceAccount")


_CLAIMED = "resourceClaims:\n  - {name: devices, resourceClaimTemplateName: eight}"
_EIGHT = "spec:\n  spec:\n    devices:\n      requests:\n        - {name: devices, exactly: {deviceClassName: gpu.example.com, count: 8}}"


@check(
    "M214",
    level="bundle",
    severity="warning",
    whole_bundle=True,
    reason="A pod stays pending until the claims that it lists, or the templates that its claims are made of, exist.",
    source="https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/",
    bad=pod(spec=_CLAIMED),
    good=f"{pod(spec=_CLAIMED)}---\n{thing('resource.k8s.io/v1', 'ResourceClaimTemplate', _EIGHT, name='eight')}",
)
def device_claims_exist(bundle: Bundle) -> Iterator[Found]:
    """Device claims and their templates are in the bundle, or an object of it has them made."""
    made = makers(bundle)
    yield from _missing(bundle, "ResourceClaim")
    yield from _missing(bundle, "ResourceClaimTemplate", made)


def _in(namespace: str, document: str) -> str:
    return document.replace("metadata:\n", f"metadata:\n  namespace: {namespace}\n", 1)


@check(
    "M205",
    level="bundle",
    whole_bundle=True,
    reason="A pod sees only objects of its own namespace, and never starts if one that it needs is in another.",
    source="https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/",
    bad=f"{_in('serving', pod(spec=_VOLUME))}---\n{_in('other', thing('v1', 'ConfigMap', name='settings'))}",
    good=f"{_in('serving', pod(spec=_VOLUME))}---\n{_in('serving', thing('v1', 'ConfigMap', name='settings'))}",
)
def same_namespace_as_pod(bundle: Bundle) -> Iterator[Found]:
    """What a pod needs is in its own namespace."""
    for found in references(bundle):
        held = None if (found.kind, found.name) in _ALWAYS else holder(bundle, found.kind, found.name)
        if held and not holders_near(bundle, found.item, found.kind, found.name):
            where = f"'{held.namespace}', the pod in '{found.item.namespace}'"
            message = f"the {found.kind} {short(found.name)} is in the namespace {where}"
            yield Found(found.item, found.path, message, "put both into one namespace")


@check(
    "M206",
    level="bundle",
    whole_bundle=True,
    reason="A container does not start while a key that it needs is not in the ConfigMap or Secret.",
    source="https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/",
    bad=f"{pod(_KEY)}---\n{thing('v1', 'ConfigMap', 'data: {b: x}', name='settings')}",
    good=f"{pod(_KEY)}---\n{thing('v1', 'ConfigMap', 'data: {a: x}', name='settings')}",
)
def keys_exist(bundle: Bundle) -> Iterator[Found]:
    """Keys that pods need are in the ConfigMap or Secret of the bundle."""
    for found in references(bundle):
        if found.keys:
            yield from _missing_keys(bundle, found)


def _missing_keys(bundle: Bundle, found: Reference) -> Iterator[Found]:
    held = holders_near(bundle, found.item, found.kind, found.name)
    fields = ("data", "binaryData", "stringData")
    keys = {key for item in held for field in fields for key in mapping(item.data.get(field))}
    for key, path in found.keys if held else ():
        if key and key not in keys:
            message = f"the {found.kind} {short(found.name)} has no key {short(key)}"
            yield Found(found.item, path, message, did_you_mean(key, keys))
