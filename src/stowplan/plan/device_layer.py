"""A server at a site in; the device layer that serves it, in the mode that the site runs it in, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from stowplan.catalog import Catalog
from stowplan.diagnostics import Diagnostic, Location, Refused, did_you_mean
from stowplan.plan.claims import runs_on
from stowplan.plan.images import built_with, engine_image
from stowplan.plan.model import Layer, Plan
from stowplan.profiles.device_layer import Component, DeviceLayerSpec, Mode, ServerLayer
from stowplan.profiles.engine import Build, EngineSpec
from stowplan.profiles.hardware import ChipSpec, ServerSpec
from stowplan.profiles.site import SiteSpec

Value = TypeVar("Value")


@dataclass(frozen=True)
class Tester:
    """The engine that is preferred for a chip, whatever a pairing pins: its image tests the host."""

    name: str
    engine: EngineSpec
    image: str
    """Empty: not public, and the site names none."""
    built: Build | None


@dataclass(frozen=True)
class Host:
    """Hosts of one kind at a site, whatever is served on them."""

    name: str
    """Of the server's profile."""
    server: ServerSpec
    chip: ChipSpec
    layer: Layer
    site_name: str
    site: SiteSpec
    tester: Tester | None
    """None: no engine in the catalogue runs on the chip."""

    @property
    def devices(self) -> int:
        """Devices of one host."""
        return self.layer.devices_of(self.server)


def host_of(plan: Plan) -> Host | None:
    """The hosts of a pairing; none where no device layer serves them."""
    if plan.layer is None:
        return None
    spec = plan.pairing.spec
    return _host(plan.pairing.catalog, spec.server, plan.layer, spec.site, plan.pairing.site)


def site_hosts(catalog: Catalog, site_name: str) -> list[Host]:
    """The hosts that a site lists.

    Raises:
        Refused: the site names a server or a layer that is not there, or a layer that does not serve the server.
    """
    site = catalog.sites[site_name]
    hosts, problems = [], []
    for server, listed in site.servers.items():
        problem = listing_problem(catalog, site, server)
        layer = None if problem else choose_layer(catalog, site, server, listed.device_layer)
        if layer is None:
            message, hint = problem or (f"no device layer in the catalogue serves {server}", "")
            problems.append(Diagnostic("P026", message, Location(str(catalog.sites.files[site_name])), hint=hint))
        else:
            hosts.append(_host(catalog, server, layer, site_name, site))
    if problems:
        raise Refused(problems)
    return hosts


def listing_problem(catalog: Catalog, site: SiteSpec, server: str) -> tuple[str, str] | None:
    """What is wrong with a server that a site lists, and a hint."""
    layers, wanted = catalog.device_layers, site.servers[server].device_layer
    if server not in catalog.servers:
        return f"unknown server '{server}'", catalog.servers.unknown(server)
    if wanted is None:
        return None
    if wanted not in layers:
        return f"unknown device layer '{wanted}'", layers.unknown(wanted)
    if server not in layers[wanted].servers:
        return f"the device layer {wanted} does not serve {server}", f"it serves: {', '.join(layers[wanted].servers)}"
    return None


def choose_layer(catalog: Catalog, site: SiteSpec, server: str, pinned: str | None) -> Layer | None:
    """The layer that is pinned, else the preferred one; a managed or experimental one only where nothing else serves."""
    fitting = [
        (name, spec)
        for name, spec in catalog.device_layers.items()
        if server in spec.servers and pinned in (None, name) and (pinned or not spec.experimental)
    ]
    fitting = [(name, spec) for name, spec in fitting if runs_on(spec, site.kubernetes)]
    fitting = [(name, spec) for name, spec in fitting if pinned or not spec.managed] or fitting
    if not fitting:
        return None
    name, spec = max(fitting, key=lambda pair: pair[1].priority_for(server))
    if spec.preflights_of is not None:
        spec = spec.model_copy(update={"preflights": catalog.device_layers[spec.preflights_of].preflights})
    chosen = in_mode(name, spec, site, server)
    return Layer(name, chosen, chosen.servers[server])


def in_mode(name: str, spec: DeviceLayerSpec, site: SiteSpec, server: str | None = None) -> DeviceLayerSpec:
    """The layer as the site runs it: all that a mode changes, changed together.

    Raises:
        Refused: the layer has no such mode, or the mode does not serve the server.
    """
    wanted = site.device_layer_modes.get(name)
    if wanted is None:
        return spec
    if wanted not in spec.modes:
        message, hint = f"{name} has no mode '{wanted}'", did_you_mean(wanted, spec.modes)
        raise Refused([Diagnostic("P026", message, Location("site"), hint=hint or f"known: {', '.join(spec.modes)}")])
    mode = spec.modes[wanted]
    if server in mode.without_servers:
        message = f"{name} in mode {wanted} does not serve {server}: {mode.without_servers[server]}"
        raise Refused([Diagnostic("P026", message, Location("site"), hint=f"leave out deviceLayerModes.{name}")])
    workload = spec.workload.model_copy(
        update={"scheduler_name": mode.scheduler_name, "env_from_annotation": mode.env_from_annotation}
    )
    namespaces = _without(_mapping(spec.parameters.get("namespaces")), mode.without_namespaces)
    return spec.model_copy(
        update={
            "title": mode.title,
            "components": {
                key: _component(key, component, mode)
                for key, component in _without(spec.components, mode.without_components).items()
            },
            "servers": {key: _server(s, mode) for key, s in _without(spec.servers, mode.without_servers).items()},
            "workload": workload,
            "prerequisites": mode.prerequisites,
            "parameters": {**spec.parameters, "namespaces": namespaces},
        }
    )


def _component(name: str, component: Component, mode: Mode) -> Component:
    args, paths = mode.without_args.get(name, ()), mode.without_host_paths.get(name, ())
    kept = {
        "args": tuple(a for a in component.args if a not in args),
        "host_paths": tuple(p for p in component.host_paths if p.name not in paths),
    }
    return component.model_copy(update=kept)


def _server(server: ServerLayer, mode: Mode) -> ServerLayer:
    kept = {
        "pod_labels": _without(server.pod_labels, mode.without_pod_labels),
        "pod_annotations": _without(server.pod_annotations, mode.without_pod_annotations),
        "distributed_annotations": _without(server.distributed_annotations, mode.without_pod_annotations),
    }
    return server.model_copy(update=kept)


def _without(entries: Mapping[str, Value], left_out: Iterable[str]) -> dict[str, Value]:
    gone = {*left_out}
    return {key: value for key, value in entries.items() if key not in gone}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _host(catalog: Catalog, server: str, layer: Layer, site_name: str, site: SiteSpec) -> Host:
    spec = catalog.servers[server]
    chip = catalog.chips[spec.chip]
    return Host(server, spec, chip, layer, site_name, site, _tester(catalog, chip, site))


def _tester(catalog: Catalog, chip: ChipSpec, site: SiteSpec) -> Tester | None:
    families = {*chip.families}
    serving = [
        (e.priority, name, e)
        for name, e in catalog.engines.items()
        if e.platform is None and families & {*e.chip_families}
    ]
    if not serving:
        return None
    _, name, engine = max(serving, key=lambda item: item[:2])
    version = next(v for v in engine.versions if v.version == engine.default_version)
    return Tester(name, engine, engine_image(chip, site, name, version), built_with(chip, site, name, version))
