"""A device layer and a site in; its cluster objects once, and labels and preflight for each server, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plan.claims import api_version
from stowplan.plan.device_layer import Host
from stowplan.plan.images import mirrored
from stowplan.plan.model import Layer
from stowplan.profiles.device_layer import Component, DeviceLayerSpec, PciDevice
from stowplan.profiles.site import SiteSpec
from stowplan.render.artifact import Artifact, data_file, kustomization, objects_file
from stowplan.render.environment import render_objects, stem, templates_in
from stowplan.render.host_paths import mounts_of, volumes_of
from stowplan.render.labels import stamp
from stowplan.render.preflight import preflight_artifacts

_REASON = "stowplan.dev/reason-"
_RULE = "node-feature-rule.yaml"


def layer_artifacts(name: str, layer: DeviceLayerSpec, site: SiteSpec) -> Iterator[Artifact]:
    """Cluster objects of a layer; nothing where the platform brings it."""
    folder = f"device-layers/{name}"
    context = _context(name, layer, site)
    made = []
    for template in templates_in(f"device-layer/{name}/cluster"):
        objects = [stamp(o, _labels(name, layer), {}) for o in render_objects(template, context)]
        if objects:
            made.append(objects_file(f"{folder}/{stem(template)}.yaml", objects))
    if made:
        made.append(kustomization(folder, made))
    yield from made
    yield Artifact(f"{folder}/PREREQUISITES.md", _prerequisites(layer, site))


def server_artifacts(host: Host) -> Iterator[Artifact]:
    """Labels and preflight of one kind of host under its layer.

    Raises:
        Refused: the site lacks a value that the layer needs for such hosts.
    """
    _refuse_missing(host)
    layer, folder = host.layer, f"device-layers/{host.layer.name}/servers/{host.name}"
    yield data_file(f"{folder}/node-labels.yaml", _node_labels(layer, host.name))
    labels = _labels(layer.name, layer.spec)
    if layer.server.pci is not None:
        rule = stamp(_feature_rule(layer, host.name, layer.server.pci), labels, {})
        yield Artifact(f"{folder}/{_RULE}", objects_file("", [rule]).text)
    yield from preflight_artifacts(host, folder, _context(layer.name, layer.spec, host.site), labels)


def group_artifacts(host: Host, group: int) -> Iterator[Artifact]:
    """The preflight of several hosts together: a bundle of its own, since each is applied when its hosts are free.

    Raises:
        Refused: the site lacks a value that the Job needs.
    """
    layer = host.layer
    folder = f"device-layers/{layer.name}/servers/{host.name}/group-{group}"
    context, labels = _context(layer.name, layer.spec, host.site), _labels(layer.name, layer.spec)
    yield from preflight_artifacts(host, folder, context, labels, group)


def _refuse_missing(host: Host) -> None:
    """A scheduler that places pods by super-pod must know how large one is."""
    if host.layer.server.super_pod and host.layer.spec.workload.scheduler_name and host.site.super_pod_hosts is None:
        message = f"{host.name} is placed by super-pod: site {host.site_name} must give superPodHosts, the hosts of one physical super-pod"
        place = Location(f"site {host.site_name}")
        raise Refused([Diagnostic("P030", message, place, hint="superPodHosts: HOSTS, as the super-pod was delivered")])


def _node_labels(layer: Layer, server: str) -> dict[str, Any]:
    labels, counts = layer.server.node_labels, layer.server.pod_counts
    pairs = " ".join(f"{key}={value}" for key, value in labels.items())
    return {
        "server": server,
        "deviceLayer": layer.name,
        "resource": layer.server.resource,
        "podCounts": {"single": list(counts.single), "distributed": list(counts.distributed or counts.single)},
        "labels": dict(labels),
        "command": f"kubectl label node NODE {pairs}",
        "selectedBy": dict(layer.server.node_selector),
        "notes": list(layer.server.notes),
        **({"instead": f"with node feature discovery: kubectl apply -f {_RULE}"} if layer.server.pci else {}),
    }


def _feature_rule(layer: Layer, server: str, pci: PciDevice) -> dict[str, Any]:
    """The labels by node feature discovery: it knows a chip by its PCI device, and not how many of them a host should have."""
    matched = {"vendor": {"op": "In", "value": [pci.vendor]}, "device": {"op": "In", "value": list(pci.devices)}}
    rule = {
        "name": f"hosts of {server}",
        "labels": dict(layer.server.node_labels),
        "matchFeatures": [{"feature": "pci.device", "matchExpressions": matched}],
    }
    return {
        "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
        "kind": "NodeFeatureRule",
        "metadata": {"name": f"stowplan-{layer.name}-{server}"},
        "spec": {"rules": [rule]},
    }


def _prerequisites(layer: DeviceLayerSpec, site: SiteSpec) -> str:
    lines = [
        f"# {layer.title}",
        "",
        f"Version {layer.version}. What must be true before these objects are applied:",
        "",
    ]
    lines += [f"* {text}" for text in layer.prerequisites]
    lines += [
        f"* Not rendered: {name} {c.version}, {c.optional}; it has no public image, and `images.{name}` in the site gives one."
        for name, c in layer.components.items()
        if c.optional and not (c.image or site.images.get(name))
    ]
    hosts = [
        f"* {name} {c.version} ({c.source}, {c.as_of})" for name, c in layer.components.items() if c.kind == "host"
    ]
    if hosts:
        lines += ["", "Installed outside of these objects:", "", *hosts]
    tested = [f"* {name} {c.version}: {_range(c)}" for name, c in layer.components.items() if _range(c)]
    if tested:
        lines += ["", "Kubernetes that the vendor states or tests:", "", *tested]
    return "\n".join(lines) + "\n"


def _range(component: Component) -> str:
    oldest, newest = component.kubernetes_min, component.kubernetes_tested_max
    if oldest and newest:
        return f"{oldest} to {newest}"
    return f"{oldest} or newer" if oldest else f"up to {newest}" if newest else ""


def _labels(name: str, layer: DeviceLayerSpec) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "device-layer",
        "app.kubernetes.io/version": layer.version,
    }


def _context(name: str, layer: DeviceLayerSpec, site: SiteSpec) -> dict[str, Any]:
    def component(key: str) -> Component:
        return layer.components[key]

    def deployed(key: str) -> bool:
        """Whether the mode has it, and there is an image where it may be left out."""
        held = layer.components.get(key)
        return held is not None and not (held.optional and not (held.image or site.images.get(key)))

    def component_image(key: str) -> str:
        found = site.images.get(key) or layer.components[key].image
        if not found:
            message = f"the image of {key} is not public: the site must give it as images.{key}"
            raise Refused(
                [Diagnostic("P030", message, Location("site"), hint=f"images: {{{key}: REGISTRY/IMAGE:TAG}}")]
            )
        return mirrored(found, site.registry_mirrors)

    return {
        "layer": layer,
        "layer_name": name,
        "site": site,
        "component": component,
        "deployed": deployed,
        "image": component_image,
        "host_volumes": lambda held: volumes_of(held.host_paths, site),
        "host_mounts": lambda held: mounts_of(held.host_paths, site),
        "claim_api": api_version(layer, site.kubernetes),
        "reasons": reason_annotations,
        "pull_secrets": [{"name": secret} for secret in site.pull_secrets],
    }


def reason_annotations(reasons: Mapping[str, str]) -> dict[str, str]:
    """Each privilege's reason as an annotation."""
    return {f"{_REASON}{privilege}": reason for privilege, reason in reasons.items()}
