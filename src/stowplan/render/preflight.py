"""A host in; the Job that tests it, alone or with others of its group, out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.plan.claims import claim_names
from stowplan.plan.deployment import capabilities, layer_reasons, namespace, pod_security, privileges
from stowplan.plan.device_layer import Host, Tester
from stowplan.profiles.device_layer import HostPath, Preflight, PreflightCheck
from stowplan.render.artifact import Artifact, kustomization, objects_file
from stowplan.render.claims import by_claims, claim_objects
from stowplan.render.command import setup_script
from stowplan.render.environment import render_objects, render_text, templates_in
from stowplan.render.host_paths import mounts_of, volumes_of
from stowplan.render.labels import name_by_content, stamp

_TEMPLATES = "device-layer/_server"
_FOLDER = "/preflight"
_DIGITS = 8
_REPORT = """\
set -u
failed=""
report() { # exit code, what was tested, what was expected, where to look
  if [ "$1" -eq 0 ]; then
    echo "preflight: pass: $2: $3"
  else
    echo "preflight: FAIL: $2: expected $3${4:+ ($4)}" >&2
    failed="${failed}${failed:+, }$2"
  fi
}
"""
_END = """\
if [ -n "$failed" ]; then
  echo "preflight of {name}: failed: $failed" >&2
  exit 1
fi
echo "preflight of {name}: passed"
"""


def preflight_artifacts(
    host: Host, folder: str, context: Mapping[str, Any], labels: Mapping[str, str], group: int = 1
) -> Iterator[Artifact]:
    """The Job's file and its kustomization; `group` hosts are tested together.

    Raises:
        Refused: the site lacks a value that the Job needs.
    """
    chosen, tester = host.layer.server.preflight, host.tester
    if chosen is None or tester is None:
        return
    _refuse_missing(host, tester, group)
    preflight = host.layer.spec.preflights[chosen]
    files = {
        "preflight.sh": preflight_script(host, tester, preflight, group),
        "preflight.py": render_text(f"{_TEMPLATES}/preflight.py", {}),
    }
    marked = sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    name = f"preflight-{host.name}" if group == 1 else f"preflight-{group}-{host.name}"
    values = {
        **context,
        **_values(host, tester, preflight, group),
        "name": name,
        "files": files,
        "files_name": f"{name}-{marked}",
    }
    asked = render_objects(f"{_TEMPLATES}/preflight.yaml.j2", values)
    made_of = [part for o in asked for part in _asking(host, values, o)]
    objects = [name_by_content(stamp(o, labels, {})) for o in made_of]
    made = objects_file(f"{folder}/preflight.yaml", objects)
    yield made
    yield kustomization(folder, [made])


def _asking(host: Host, values: Mapping[str, Any], item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A Job that asks for devices as the layer hands them out, with what it claims before it."""
    layer, name = host.layer, values["name"]
    claims = claim_names(layer, host.site.kubernetes, (name, name), host.devices, joined=values["hosts"] > 1)
    if item["kind"] == "Job" and claims:
        yield from claim_objects(claims["claim"], values["namespace"], layer.server.resource, host.devices)
        if "groupClaim" in claims:
            context = {**values, "group": claims["groupClaim"]}
            for template in templates_in(f"device-layer/{layer.name}/group"):
                yield from render_objects(template, context)
        pods = by_claims(item["spec"]["template"], layer.server.resource, [*claims.values()])
        item = {**item, "spec": {**item["spec"], "template": pods}}
    yield item


def preflight_script(host: Host, tester: Tester, preflight: Preflight, group: int) -> str:
    """All checks, each with its line; the last line and the exit code are the answer."""
    name = f"{group} x {host.name}" if group > 1 else host.name
    lines = [setup_script(tester.engine.container.setup), _REPORT]
    lines += [_check(host, tester, check) if _applies(host, check) else _left_out(check) for check in preflight.checks]
    lines += [_versions(tester, preflight), _collective(host, tester, preflight, group)]
    return "".join(lines) + _END.replace("{name}", name)


def _applies(host: Host, check: PreflightCheck) -> bool:
    mounted, told = {path.path for path in host.layer.server.host_paths}, host.layer.spec.workload.env_from_annotation
    return check.for_path in ("", *mounted) and check.for_env in ("", *told)


def _left_out(check: PreflightCheck) -> str:
    if not check.for_path:
        return ""
    told = f"preflight: skip: {check.name}: no source says how to test it on a host without {check.for_path}"
    return f"echo {shlex.quote(told)}\n"


def _check(host: Host, tester: Tester, check: PreflightCheck) -> str:
    known = {"devices": str(host.devices), "driver": _driver(tester), "drivers": " or ".join(_releases(host))}
    body = f"(\nset -eu\n{check.run.rstrip()}\n)\n"
    if check.needs and not known[check.needs]:
        words = shlex.quote(f"preflight: skip: {check.name}: no source says what to expect")
        return f"{body}echo {words}\n"
    expected = check.expect
    for key, value in known.items():
        expected = expected.replace(f"{{{key}}}", value)
    return f"{body}report $? {shlex.join([check.name, expected, check.hint])}\n"


def _releases(host: Host) -> tuple[str, ...]:
    return host.layer.server.drivers.releases if host.layer.server.drivers else ()


def _driver(tester: Tester) -> str:
    return tester.built.driver if tester.built else ""


def _versions(tester: Tester, preflight: Preflight) -> str:
    libraries = dict(tester.built.libraries) if tester.built else {}
    wanted = {name: [preflight.versions[name], v] for name, v in libraries.items() if name in preflight.versions}
    silent = [f"library {name}: its version cannot be read" for name in sorted({*libraries} - {*wanted})]
    if not libraries:
        silent = ["libraries of the image: no source says what this image holds"]
    lines = [f"echo {shlex.quote(f'preflight: skip: {what}')}\n" for what in silent]
    if wanted:
        expected = ", ".join(f"{name} {version}" for name, (_, version) in wanted.items())
        command = [*_program(tester), "versions", json.dumps(wanted), *preflight.collective.modules]
        told = ["libraries of the image", expected, "it is another image than the one that the plan is about"]
        lines.append(f"{shlex.join(command)}\nreport $? {shlex.join(told)}\n")
    return "".join(lines)


def _collective(host: Host, tester: Tester, preflight: Preflight, group: int) -> str:
    how = preflight.collective
    command = [*_program(tester), "collective", how.backend, how.device, *how.modules]
    where = f"{group} hosts of {host.devices} devices" if group > 1 else f"{host.devices} devices"
    told = ["collectives", f"right results of all-reduce and all-to-all over {where} by {how.backend}", ""]
    return f"{shlex.join(command)}\nreport $? {shlex.join(told)}\n"


def _program(tester: Tester) -> list[str]:
    return [tester.engine.container.python, f"{_FOLDER}/preflight.py"]


def _values(host: Host, tester: Tester, preflight: Preflight, group: int) -> dict[str, Any]:
    """What the template names beside the layer's own values."""
    grouped, layer, site = group > 1, host.layer, host.site
    rdma = site.network.rdma_resource if grouped else ""
    container = tester.engine.container
    stated = privileges(container, layer, joined=True, rdma=bool(rdma)) if grouped else layer_reasons(layer)
    paths: list[HostPath] = [*layer.server.host_paths]
    for check in (c for c in preflight.checks if _applies(host, c)):
        paths += [path for path in check.host_paths if path not in paths]
    if any(path not in layer.server.host_paths for path in paths):
        stated = {**stated, "host-path": "; ".join(p.reason for p in paths)}
    level = pod_security(stated)
    return {
        "server_layer": layer.server,
        "server_name": host.name,
        "workload": layer.spec.workload,
        "hosts": group,
        "devices": host.devices,
        "engine_image": tester.image,
        "python": container.python,
        "restricted": level == "restricted",
        "namespace": namespace(site.namespace, level),
        "stated": stated,
        "pod_annotations": {
            **layer.server.pod_annotations,
            **(layer.server.distributed_annotations if grouped else {}),
        },
        "topology_key": layer.server.group.topology_key if grouped and layer.server.group else "",
        "host_network": "host-network" in stated,
        "capabilities": capabilities(layer, stated),
        "volumes": volumes_of(paths, site),
        "mounts": mounts_of(paths, site),
        "settings": _settings(host, tester, group),
        "address_env": tester.engine.multi_node.address_env if tester.engine.multi_node else (),
        "rdma": {rdma: "1"} if rdma else {},
        "folder": _FOLDER,
    }


def _settings(host: Host, tester: Tester, group: int) -> dict[str, str]:
    """Variables that the checks read, and in a group those by which its hosts find each other."""
    values = {
        "STOWPLAN_DEVICES": str(host.devices),
        "STOWPLAN_MESH": str(host.server.mesh.value or 1),
        "STOWPLAN_DRIVER": _driver(tester),
        "STOWPLAN_DRIVERS": " ".join(_releases(host)),
        "STOWPLAN_HOSTS": str(group),
        "STOWPLAN_PYTHON": tester.engine.container.python,
        "HOME": "/tmp",  # noqa: S108 - inside a container, on a volume of its own
        "USER": "preflight",
    }
    multi = tester.engine.multi_node
    if group > 1 and multi:
        values |= dict.fromkeys(multi.interface_env, host.site.network.interface)
    return values


def _refuse_missing(host: Host, tester: Tester, group: int) -> None:
    place, problems = Location(f"site {host.site_name}"), []
    if not tester.image:
        message = f"{tester.name} has no public image for {host.server.chip}: site {host.site_name} must give it as images.{tester.name}"
        problems.append(Diagnostic("P030", message, place, hint=f"images: {{{tester.name}: REGISTRY/IMAGE:TAG}}"))
    if group > 1 and not host.site.network.interface:
        message = f"a preflight of {group} hosts needs the network interface for collectives: site {host.site_name} must give network.interface"
        problems.append(Diagnostic("P030", message, place, hint="ip route get to another host names it"))
    if problems:
        raise Refused(problems)
