"""Host paths of a profile in; volumes and mounts of a pod, out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stowplan.profiles.device_layer import HostPath
from stowplan.profiles.site import SiteSpec

_KUBELET = "{kubelet}"


def volumes_of(paths: Iterable[HostPath], site: SiteSpec) -> list[dict[str, Any]]:
    """Volumes, with the site's kubelet root in place."""
    return [{"name": path.name, "hostPath": _source(path, site)} for path in paths]


def _source(path: HostPath, site: SiteSpec) -> dict[str, str]:
    source = {"path": path.path.replace(_KUBELET, site.kubelet_root)}
    return {**source, "type": path.type} if path.type else source


def mounts_of(paths: Iterable[HostPath], site: SiteSpec) -> list[dict[str, Any]]:
    """Mounts of those volumes: where the profile says, else at the host's own path."""
    mounts: list[dict[str, Any]] = []
    for path in paths:
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
