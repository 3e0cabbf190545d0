"""A site in; the namespaces that its pairings live in, one for each pod-security level, out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from stowplan.plan.deployment import namespace
from stowplan.profiles.device_layer import PodSecurity
from stowplan.profiles.site import SiteSpec
from stowplan.render.artifact import Artifact, kustomization, objects_file
from stowplan.render.environment import render_objects
from stowplan.render.labels import stamp


def site_artifacts(name: str, site: SiteSpec) -> Iterator[Artifact]:
    """The site's bundle: pairings and preflights own no cluster-level object, so their namespaces are here."""
    levels = [{"name": level, "namespace": namespace(site.namespace, level)} for level in get_args(PodSecurity)]
    labels = {"app.kubernetes.io/name": "serving", "app.kubernetes.io/component": "site"}
    objects = [stamp(o, labels, {}) for o in render_objects("site/namespaces.yaml.j2", {"levels": levels})]
    made = objects_file(f"sites/{name}/namespaces.yaml", objects)
    yield made
    yield kustomization(f"sites/{name}", [made])
