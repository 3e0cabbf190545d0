"""An engine's version and a chip in; the image that a site runs, and what it was built with, out."""

from __future__ import annotations

from stowplan.profiles.engine import Build, Version
from stowplan.profiles.hardware import ChipSpec
from stowplan.profiles.site import SiteSpec


def engine_image(chip: ChipSpec, site: SiteSpec, engine: str, version: Version) -> str:
    """The engine's image for the chip: the site's own, else the catalogue's behind the site's mirror; empty: none."""
    if own := _own(site, engine, version):
        return own
    families = [family for family in chip.families if family in version.images]
    found = version.images[families[-1]] if families else None
    return mirrored(found, site.registry_mirrors) if found else ""


def _own(site: SiteSpec, engine: str, version: Version) -> str | None:
    """The image that the site names for this version, or for every version of the engine."""
    return site.images.get(f"{engine}@{version.version}") or site.images.get(engine)


def built_with(chip: ChipSpec, site: SiteSpec, engine: str, version: Version) -> Build | None:
    """What the catalogue's image for the chip was built with; none of an image that the site names."""
    if _own(site, engine, version):
        return None
    return next((version.stack[family] for family in reversed(chip.families) if family in version.stack), None)


def mirrored(image_name: str, mirrors: dict[str, str]) -> str:
    """An image name with its registry replaced by the site's mirror of it."""
    host, slash, rest = image_name.partition("/")
    explicit = bool(slash) and ("." in host or ":" in host)
    registry, path = (host, rest) if explicit else ("docker.io", image_name)
    return f"{mirrors[registry]}/{path}" if registry in mirrors else image_name
