"""What a source of a volume must say, in a pod and in a PersistentVolume."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._register import Problem
from stowplan.check.admission._syntax import dns_label, dns_subdomain, driver_name, integer, short, text
from stowplan.check.objects import Path, mapping

_NEEDED: dict[str, tuple[str, ...]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "configMap": ("name",),
    "csi": ("driver",),
    "ephemeral": ("volumeClaimTemplate",),
    "flexVolume": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"),
    "hostPath": ("path",),
    "iscsi": ("targetPortal", "iqn"),
    "local": ("path",),
    "nfs": ("server", "path"),
    "persistentVolumeClaim": ("claimName",),
    "portworxVolume": ("volumeID",),
    "quobyte": ("registry", "volume"),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "secret": ("secretName",),
    "vsphereVolume": ("volumePath",),
}
_ISCSI_NAME = re.compile(r"iqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+(:[^,;*&$|\s]+)?|eui\.[A-Za-z0-9]{16}|naa\.[A-Za-z0-9]{32}")
_LAST_LUN = 255
_CHECKED_SECRETS = {
    "controllerExpandSecretRef",
    "controllerPublishSecretRef",
    "nodeExpandSecretRef",
    "nodePublishSecretRef",
}


def source_problems(volume: Mapping[str, Any], path: Path, *, persistent: bool = False) -> Iterator[Problem]:
    """What the API server refuses in the sources of one volume."""
    for kind, fields in _NEEDED.items():
        source = volume.get(kind)
        if isinstance(source, Mapping):
            for field in fields:
                if source.get(field) in (None, "", []):
                    yield Problem((*path, kind), f"the {kind} volume has no {field}")
    for kind in ("hostPath", "local"):
        value = text(mapping(volume.get(kind)).get("path"))
        if ".." in value.split("/"):
            yield Problem((*path, kind, "path"), f"the path {short(value)} contains '..'")
    address = text(mapping(volume.get("nfs")).get("path"))
    if address and not address.startswith("/"):
        yield Problem((*path, "nfs", "path"), f"the path {short(address)} is not absolute")
    name = text(mapping(volume.get("iscsi")).get("iqn"))
    if name and not _ISCSI_NAME.fullmatch(name):
        yield Problem((*path, "iscsi", "iqn"), f"{short(name)} is no name that begins with iqn, eui or naa")
    lun = integer(mapping(volume.get("iscsi")).get("lun"))
    if lun is not None and not 0 <= lun <= _LAST_LUN:
        yield Problem((*path, "iscsi", "lun"), f"lun {lun} is not in the range 0 to {_LAST_LUN}")
    yield from _csi(mapping(volume.get("csi")), (*path, "csi"), persistent=persistent)


def _csi(source: Mapping[str, Any], path: Path, *, persistent: bool) -> Iterator[Problem]:
    driver = text(source.get("driver"))
    if driver and (wrong := driver_name(driver)):
        yield Problem((*path, "driver"), f"the driver name {short(driver)} {wrong}")
    if source and persistent and not source.get("volumeHandle"):
        yield Problem(path, "the csi volume has no volumeHandle")
    for field, reference in source.items():
        if field not in _CHECKED_SECRETS or not isinstance(reference, Mapping):
            continue
        name = text(reference.get("name"))
        if not name or dns_subdomain(name):
            yield Problem((*path, field, "name"), f"{short(name)} is no name of a Secret")
        if persistent and (wrong := dns_label(text(reference.get("namespace")))):
            yield Problem((*path, field), f"the namespace {short(text(reference.get('namespace')))} {wrong}")
