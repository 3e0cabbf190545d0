"""A device layer and a site in; its cluster objects once, and labels and preflight for each server, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plan.claims import api_version, claim_names
from stowplan.plan.deployment import layer_reasons, namespace, pod_security
from stowplan.plan.document import mirrored, server_image
from stowplan.plan.model import Layer, Plan
from stowplan.profiles.device_layer import Component, DeviceLayerSpec, HostPath, ServerLayer
from stowplan.profiles.site import SiteSpec
from stowplan.render.artifact import Artifact, data_file, kustomization, objects_file
from stowplan.render.claims import by_claims, claim_objects
from stowplan.render.environment import render_objects, stem, templates_in
from stowplan.render.labels import name_by_content, stamp

_REASON = "stowplan.dev/reason-"
_KUBELET = "{kubelet}"


def layer_artifacts(name: str, layer: DeviceLayerSpec, site: SiteSpec) -> Iterator[Artifact]:
    """Cluster objects of a layer; nothing where the platform brings it."""
    folder = f"device-layers/{name}"
    context = _context(name, layer, site)
    made = []
    for template in templates_in(f"device-layer/{name}/cluster"):
        objects = [stamp(o, _labels(name, layer), {}) for o in render_objects(template, context)]
        made.append(objects_file(f"{folder}/{stem(template)}.yaml", objects))
    if made:
        made.append(kustomization(folder, made))
    yield from made
    yield Artifact(f"{folder}/PREREQUISITES.md", _prerequisites(layer))


def server_artifacts(plan: Plan) -> Iterator[Artifact]:
    """Labels and preflight of one server under its layer."""
    layer = plan.layer
    if layer is None:
        return
    server, site = plan.pairing.spec.server, plan.pairing.site
    folder = f"device-layers/{layer.name}/servers/{server}"
    yield data_file(f"{folder}/node-labels.yaml", _node_labels(layer, server))
    if layer.server.preflight is None:
        return
    workload, level = layer.spec.workload, pod_security(layer_reasons(layer))
    context = _context(layer.name, layer.spec, site) | {
        "server_name": server,
        "server_layer": layer.server,
        "workload": workload,
        "preflight": list(layer.spec.preflights[layer.server.preflight]),
        "devices": plan.pairing.server.devices.value or max(layer.server.pod_counts.single),
        "engine_image": server_image(plan),
        "pod_security": level,
        "namespace": namespace(site.namespace, level),
        "stated": layer_reasons(layer),
    }
    made = []
    for template in templates_in("device-layer/_server"):
        asking = [asked for o in render_objects(template, context) for asked in _asking(layer, context, o)]
        stamped = [name_by_content(stamp(o, _labels(layer.name, layer.spec), {})) for o in asking]
        made.append(objects_file(f"{folder}/{stem(template)}.yaml", stamped))
    yield from made
    yield kustomization(folder, made)


def _asking(layer: Layer, context: Mapping[str, Any], item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A Job that asks for devices as the layer hands them out, with what it claims before it."""
    site, count, resource = context["site"], context["devices"], layer.server.resource
    claim = claim_names(layer, site.kubernetes, item["metadata"]["name"], count, grouped=False).get("claim")
    if item["kind"] == "Job" and claim is not None:
        yield from claim_objects(claim, context["namespace"], resource, count)
        template = by_claims(item["spec"]["template"], resource, [claim])
        item = {**item, "spec": {**item["spec"], "template": template}}
    yield item


def _node_labels(layer: Layer, server: str) -> dict[str, Any]:
    labels = layer.server.node_labels
    pairs = " ".join(f"{key}={value}" for key, value in labels.items())
    return {
        "server": server,
        "deviceLayer": layer.name,
        "resource": layer.server.resource,
        "labels": dict(labels),
        "command": f"kubectl label node NODE {pairs}",
        "selectedBy": dict(layer.server.node_selector),
        "notes": list(layer.server.notes),
    }


def _prerequisites(layer: DeviceLayerSpec) -> str:
    lines = [
        f"# {layer.title}",
        "",
        f"Version {layer.version}. What must be true before these objects are applied:",
        "",
    ]
    lines += [f"* {text}" for text in layer.prerequisites]
    hosts = [
        f"* {name} {c.version} ({c.source}, {c.as_of})" for name, c in layer.components.items() if c.kind == "host"
    ]
    if hosts:
        lines += ["", "Installed outside of these objects:", "", *hosts]
    tested = [
        f"* {name}: Kubernetes {c.kubernetes_tested_max}"
        for name, c in layer.components.items()
        if c.kubernetes_tested_max
    ]
    if tested:
        lines += ["", "Newest Kubernetes that the vendor tests:", "", *tested]
    return "\n".join(lines) + "\n"


def _labels(name: str, layer: DeviceLayerSpec) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "device-layer",
        "app.kubernetes.io/version": layer.version,
    }


def _context(name: str, layer: DeviceLayerSpec, site: SiteSpec) -> dict[str, Any]:
    def component(key: str) -> Component:
        return layer.components[key]

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
        "image": component_image,
        "host_volumes": lambda holder: host_volumes(holder, site),
        "host_mounts": lambda holder: host_mounts(holder, site),
        "claim_api": api_version(layer, site.kubernetes),
        "reasons": reason_annotations,
        "pull_secrets": [{"name": secret} for secret in site.pull_secrets],
    }


def host_volumes(holder: Component | ServerLayer, site: SiteSpec) -> list[dict[str, Any]]:
    """Volumes of the host paths that a component or a server's workload needs."""
    return [{"name": p.name, "hostPath": _source(p, site)} for p in holder.host_paths]


def _source(path: HostPath, site: SiteSpec) -> dict[str, str]:
    source = {"path": path.path.replace(_KUBELET, site.kubelet_root)}
    return {**source, "type": path.type} if path.type else source


def host_mounts(holder: Component | ServerLayer, site: SiteSpec) -> list[dict[str, Any]]:
    """Mounts of those volumes."""
    mounts: list[dict[str, Any]] = []
    for path in holder.host_paths:
        inside = (path.mount or path.path).replace(_KUBELET, site.kubelet_root)
        mount: dict[str, Any] = {"name": path.name, "mountPath": inside}
        if path.sub_path:
            mount["subPath"] = path.sub_path
        if path.read_only:
            mount["readOnly"] = True
        if path.propagation:
            mount["mountPropagation"] = path.propagation
        mounts.append(mount)
    return mounts


def reason_annotations(reasons: Mapping[str, str]) -> dict[str, str]:
    """Each privilege's reason as an annotation."""
    return {f"{_REASON}{privilege}": reason for privilege, reason in reasons.items()}
