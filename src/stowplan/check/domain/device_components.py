"""What a device layer deploys: images that exist, Kubernetes that is tested, one kubelet root, a namespace that admits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from stowplan.check.admission._examples import pod
from stowplan.check.bundle._references import pods_of
from stowplan.check.objects import Bundle, Container, Object, containers, mapping, sequence
from stowplan.check.pod_security import LEVELS, needed_level
from stowplan.check.registry import Found, check
from stowplan.profiles.device_layer import Component, DeviceLayerSpec
from stowplan.versions import in_range

_KUBELET = ("device-plugins", "pod-resources", "plugins_registry")
"""Folders below kubelet's root that device plugins and drivers use."""
_ENFORCE = "pod-security.kubernetes.io/enforce"
_PLUGIN = "swr.cn-south-1.myhuaweicloud.com/ascendhub/ascend-k8sdeviceplugin"
_POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: plugin}}\nspec:\n  containers:\n    - {{name: plugin, image: '{image}', imagePullPolicy: {pull}}}\n"


def _image(image: str, pull: str = "IfNotPresent") -> str:
    return _POD.format(image=image, pull=pull)


@lru_cache(maxsize=1024)
def _repository(image: str) -> tuple[str, str]:
    """Last two parts of an image's path (a mirror changes those before), and its tag."""
    path, _, tag = image.partition("@")[0].rpartition(":")
    return "/".join(path.split("/")[-2:]), tag


def _components(image: str, bundle: Bundle) -> Iterator[tuple[str, DeviceLayerSpec, str, Component]]:
    """Components of the catalogue that run an image of this repository."""
    wanted, _ = _repository(image)
    layers = bundle.catalog.device_layers if bundle.catalog else {}
    for layer_name, layer in layers.items():
        for name, component in layer.components.items():
            if component.image and _repository(component.image)[0] == wanted:
                yield layer_name, layer, name, component


def _images(bundle: Bundle) -> Iterator[tuple[Object, Container, str]]:
    for found in pods_of(bundle):
        for container in containers(found.pod):
            image = container.data.get("image")
            if isinstance(image, str):
                yield found.item, container, image


@check(
    "D130",
    level="domain",
    whole_bundle=True,
    reason="Only these tags are published: another one ends in ErrImagePull.",
    source="Ascend/mind-cluster v26.1.0, component OVERVIEW.md files, and issue 1013.",
    bad=_image(f"{_PLUGIN}:v26.1.0"),
    good=_image(f"{_PLUGIN}:v26.1.0-ubuntu22.04"),
)
def published_tag(bundle: Bundle) -> Iterator[Found]:
    """The image of a device layer's component has a tag of the form that its vendor publishes."""
    for item, container, image in _images(bundle):
        tag = _repository(image)[1]
        for _, _, name, component in _components(image, bundle):
            if component.tag_pattern and "@" not in image and not re.search(component.tag_pattern, tag):
                message = f"the vendor publishes no tag '{tag}' of {name}"
                yield Found(item, (*container.path, "image"), message, f"for example {component.image}")
                break


@check(
    "D131",
    level="domain",
    whole_bundle=True,
    reason="The vendors' files name images that were loaded on each host by hand: on any other host the container never starts.",
    source="Ascend/mind-cluster v26.1.0, component build files; issue 1013 (ErrImageNeverPull).",
    bad=_image(f"{_PLUGIN}:v26.1.0-ubuntu22.04", "Never"),
    good=_image(f"{_PLUGIN}:v26.1.0-ubuntu22.04"),
)
def pulled_image(bundle: Bundle) -> Iterator[Found]:
    """The image of a device layer's component is pulled."""
    for item, container, image in _images(bundle):
        known = next(_components(image, bundle), None)
        if known and container.data.get("imagePullPolicy") == "Never":
            path = (*container.path, "imagePullPolicy")
            yield Found(item, path, f"the image of {known[2]} is never pulled", "IfNotPresent")


class _Deployed(NamedTuple):
    """A component of a layer, and where the bundle asks for it."""

    item: Object
    path: tuple[str | int, ...]
    layer_name: str
    layer: DeviceLayerSpec
    name: str
    component: Component


def _own_layer(item: Object) -> str:
    """The layer that a rendered object is of; empty: it is not ours."""
    labels = mapping(item.metadata.get("labels"))
    ours = labels.get("app.kubernetes.io/component") == "device-layer"
    return str(labels.get("app.kubernetes.io/name", "")) if ours else ""


def _deployed(bundle: Bundle) -> Iterator[_Deployed]:
    """Components that the bundle deploys: by their images, or by what an operator's object asks for."""
    for item, container, image in _images(bundle):
        own = _own_layer(item)
        for layer_name, layer, name, component in _components(image, bundle):
            if own in ("", layer_name) and _repository(component.image or "")[1] == _repository(image)[1]:
                yield _Deployed(item, (*container.path, "image"), layer_name, layer, name, component)
    layers = bundle.catalog.device_layers if bundle.catalog else {}
    for item in bundle.objects:
        own = _own_layer(item)
        if own in layers and item.api_version == layers[own].parameters.get("apiVersion"):
            for name, component in layers[own].components.items():
                yield _Deployed(item, ("apiVersion",), own, layers[own], name, component)


_OPERATED = """\
apiVersion: amd.com/v1alpha1
kind: DeviceConfig
metadata:
  name: stowplan
  labels: {app.kubernetes.io/name: amd-gpu-operator, app.kubernetes.io/component: device-layer}
spec: {}
"""


@check(
    "D132",
    level="domain",
    severity="warning",
    whole_bundle=True,
    reason="The vendor has not tested the component with a Kubernetes as new as this one.",
    source="kubernetesTestedMax of the components in profiles/device-layers, each with its source.",
    bad=_OPERATED,
    good=_image("nvcr.io/nvidia/k8s-device-plugin:v0.20.0"),
)
def tested_kubernetes(bundle: Bundle) -> Iterator[Found]:
    """A device layer's component is used with a Kubernetes that its vendor tests."""
    told: set[str] = set()
    for item, path, layer_name, layer, name, component in _deployed(bundle):
        newest = component.kubernetes_tested_max
        if name in told or not newest or in_range(bundle.minor, f"<={newest}"):
            continue
        told.add(name)
        together = [f"{key} {c.version}" for key, c in layer.components.items() if c.kubernetes_tested_max]
        oldest = max(c.kubernetes_min or "1.0" for c in layer.components.values() if c.kubernetes_tested_max)
        least = min(c.kubernetes_tested_max for c in layer.components.values() if c.kubernetes_tested_max)
        message = f"{name} {component.version} of {layer_name} is tested up to Kubernetes {newest}, and this is {bundle.minor}"
        yield Found(item, path, message, f"tested together: Kubernetes {oldest} to {least} with {', '.join(together)}")


_PATHS = "volumes:\n  - {{name: plugins, hostPath: {{path: /var/lib/kubelet/device-plugins}}}}\n  - {{name: pods, hostPath: {{path: {root}/pod-resources}}}}"


@check(
    "D133",
    level="domain",
    severity="warning",
    whole_bundle=True,
    reason="A host has one kubelet: the path that is not below its root is an empty folder, and the component waits for ever.",
    source="https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/ and the roots of k3s and microk8s.",
    bad=pod(spec=_PATHS.format(root="/var/snap/microk8s/common/var/lib/kubelet")),
    good=pod(spec=_PATHS.format(root="/var/lib/kubelet")),
)
def one_kubelet_root(bundle: Bundle) -> Iterator[Found]:
    """All paths of kubelet in a bundle are below one root."""
    first = ""
    for found in pods_of(bundle):
        for index, volume in enumerate(sequence(found.pod.spec.get("volumes"))):
            path = mapping(mapping(volume).get("hostPath")).get("path")
            root, _, folder = str(path).rstrip("/").rpartition("/")
            if folder not in _KUBELET:
                continue
            first = first or root
            if root != first:
                place = (*found.pod.spec_path, "volumes", index, "hostPath", "path")
                yield Found(found.item, place, f"{path} is not below {first}, where other paths of kubelet are")


_SPACE = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: plugins\n  labels: {{pod-security.kubernetes.io/enforce: {level}}}\n---\n"
_HELD = "apiVersion: v1\nkind: Pod\nmetadata: {name: plugin, namespace: plugins}\nspec:\n  hostPID: true\n  containers:\n    - {name: plugin, image: registry.example.com/plugin:1.0}\n"


@check(
    "D134",
    level="domain",
    whole_bundle=True,
    reason="Pod Security admission refuses the pods, and the object that should make them only says so in its events.",
    source="https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    bad=_SPACE.format(level="restricted") + _HELD,
    good=_SPACE.format(level="privileged") + _HELD,
)
def admitted_by_namespace(bundle: Bundle) -> Iterator[Found]:
    """A namespace of the bundle admits the pods that the bundle puts into it."""
    levels = {o.name: str(mapping(o.metadata.get("labels")).get(_ENFORCE, "")) for o in bundle.of("Namespace")}
    for found in pods_of(bundle):
        enforced = levels.get(found.item.namespace, "")
        if enforced not in LEVELS:
            continue
        level, fields = needed_level(found.pod.spec)
        if LEVELS.index(level) > LEVELS.index(enforced):
            message = (
                f"the namespace {found.item.namespace} enforces {enforced}; the pod needs {level} ({', '.join(fields)})"
            )
            yield Found(found.item, found.pod.spec_path, message)
