"""Bundles of a tree in; for each site one kustomization over all that its cluster deploys, and what applies it from Git, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stowplan.plan.deployment import object_name
from stowplan.plan.device_layer import Host
from stowplan.plan.model import Plan
from stowplan.profiles.site import SiteSpec
from stowplan.render.artifact import Artifact, data_file, kustomization, objects_file
from stowplan.render.environment import render_objects
from stowplan.render.labels import stamp
from stowplan.render.pairing import Each, full_document, render_all

_WORKLOADS = ("Deployment", "LeaderWorkerSet", "StatefulSet")
_LAYER, _SITE, _PAIRING = 1, 2, 3
"""Waves: CRDs and devices before namespaces, namespaces before what lives in them."""
_QUICK = 600
"""Seconds in which what starts no engine must be there."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is applied and watched as one: a bundle of the tree."""

    name: str
    folder: str
    wave: int
    timeout_seconds: int
    workloads: tuple[Mapping[str, Any], ...]
    after: tuple[str, ...]
    path: str
    """In the repository."""


def render_tree(
    plans: Iterable[Plan], sites: Iterable[Sequence[Host]] = (), each: Each = lambda _plan, made: made
) -> list[Artifact]:
    """All bundles of pairings and sites, and the files over them.

    Raises:
        Refused: as `render_all`.
    """
    plans, sites = tuple(plans), [list(hosts) for hosts in sites]
    artifacts = render_all(plans, sites, each)
    clusters = {plan.pairing.spec.site: plan.pairing.site for plan in plans}
    clusters |= {host.site_name: host.site for hosts in sites for host in hosts}
    for name in sorted(clusters):
        own = [plan for plan in plans if plan.pairing.spec.site == name]
        hosts = [host for listed in sites for host in listed if host.site_name == name]
        artifacts += _cluster(name, clusters[name], list(_units(name, clusters[name], own, hosts, artifacts)))
    return sorted(artifacts, key=lambda artifact: artifact.path)


def _cluster(name: str, site: SiteSpec, units: Sequence[Unit]) -> Iterator[Artifact]:
    folders = [f"../../{unit.folder}" for unit in units]
    data = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": folders}
    yield data_file(f"clusters/{name}/kustomization.yaml", data)
    if site.gitops is None:
        return
    context = {"units": units, "gitops": site.gitops, "source": _named(name)}
    labels = {"app.kubernetes.io/name": _named(name), "app.kubernetes.io/component": "gitops"}
    objects = [stamp(o, labels, {}) for o in render_objects(f"gitops/{site.gitops.tool}.yaml.j2", context)]
    made = objects_file(f"gitops/{name}/{site.gitops.tool}.yaml", objects)
    yield made
    yield kustomization(f"gitops/{name}", [made])


def _units(
    name: str, site: SiteSpec, plans: Sequence[Plan], hosts: Sequence[Host], artifacts: Sequence[Artifact]
) -> Iterator[Unit]:
    """Device layers (with their CRDs), then namespaces, then pairings."""
    root = f"{site.gitops.path.strip('/')}/" if site.gitops else ""
    there = {artifact.path for artifact in artifacts}
    own: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        own.setdefault("/".join(artifact.path.split("/")[:2]), []).append(artifact)
    layers = {plan.layer.name for plan in plans if plan.layer} | {host.layer.name for host in hosts}
    before: list[str] = []
    folders = [*((f"device-layers/{layer}", _LAYER) for layer in sorted(layers)), (f"sites/{name}", _SITE)]
    for folder, wave in folders:
        if f"{folder}/kustomization.yaml" in there:  # a layer that the platform brings has no objects
            last = folder.rpartition("/")[2]
            unit = _named(name) if wave == _SITE else _named(f"{name}.{last}")
            before.append(unit)
            yield Unit(unit, folder, wave, _QUICK, (), (), root + folder)
    for plan in sorted(plans, key=lambda plan: plan.pairing.name):
        folder = f"pairings/{plan.pairing.name}"
        workloads = tuple(item for artifact in own[folder] for item in artifact.objects if item["kind"] in _WORKLOADS)
        roles = full_document(plan)["roles"] if site.gitops else []
        seconds = max((role["deployment"]["deadlines"]["rollout"] for role in roles), default=_QUICK)
        unit = _named(f"{name}.{plan.pairing.name}")
        yield Unit(unit, folder, _PAIRING, seconds, workloads, tuple(before), root + folder)


def _named(text: str) -> str:
    """A name beside those of other tools in the same namespace."""
    return f"stowplan-{object_name(text)}"
