"""A quantizer and its files in; what the quantization Job's template names out."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from stowplan.diagnostics import Diagnostic, Refused
from stowplan.fit.units import GIB
from stowplan.fit.weights import weights
from stowplan.plan.deployment import weights_path
from stowplan.plan.model import Layer, Plan
from stowplan.plan.quantization import Toolchain, made_with, reads
from stowplan.profiles.quantizer import Run
from stowplan.profiles.variant import Checkpoint
from stowplan.render.command import download_script, hidden_env, marker, mirror_env, setup_script
from stowplan.render.host_paths import mounts_of, volumes_of
from stowplan.render.jobs import JOB_HOME, JOB_POD, PLAIN

_LATE = 4
"""How many times longer than stated a run may take before it counts as failed."""
_CONFIG, _NATIVE, _WORK = "/config", "/native", "/work"


def job_context(
    plan: Plan, document: Mapping[str, Any], made_by: Toolchain, files: Mapping[str, str]
) -> dict[str, Any]:
    """Names, claims, image, command, budget and placement of the Job.

    Raises:
        Refused: nothing is known of how the program is run, or the site names no image for it.
    """
    name, spec, policy = made_by
    if plan.chosen is None or plan.layer is None:
        raise ValueError("a Job needs a chosen layout on a device layer")
    place = plan.pairing.locate("checkpoint")
    if spec.run is None:
        message = f"nothing is known of how {spec.title} is run; take a published checkpoint"
        raise Refused([Diagnostic("C021", message, place)])
    role, site, container = document["roles"][0], plan.pairing.site, plan.chosen.stack.engine.container
    image = site.images.get(name) or spec.run.image or (role["deployment"]["image"] if spec.run.engine_image else "")
    if not image:
        message = f"{spec.title} has no public image: site {plan.pairing.spec.site} must give it as images.{name}"
        hint = f"images: {{{name}: REGISTRY/IMAGE:TAG}}; {spec.run.note}"
        raise Refused([Diagnostic("P030", message, plan.pairing.locate("site"), hint=hint)])
    made = role["deployment"]
    start = reads(plan.pairing, policy)
    fetched = plan.pairing.variant.native if start.converted else start
    revision = site.weights.revisions.get(fetched.id, fetched.revision)
    origin = weights_path(_NATIVE, fetched.id, revision)
    source = weights_path(_NATIVE, start.id, None) if start.converted else origin
    held = {start.id: start, fetched.id: fetched}.values()
    size = sum(weights(plan.pairing.architecture, one, one.draft).total for one in held)
    words = {
        "{python}": container.python,
        "{source}": source,
        "{target}": made["weights"]["path"],
        "{work}": _WORK,
        "{config}": _CONFIG,
        "{model}": str(policy.settings.get("modelType", "")),
        "{devices}": str(made["resources"]["devices"]),
        "{experts}": str(plan.pairing.architecture.numbers["experts"]),
    }
    hidden = [] if spec.run.needs_devices else hidden_env(plan.layer.spec.workload)
    room = 1 + site.weights.headroom_percent / 100
    return {
        "name": made["name"],
        "namespace": made["namespace"],
        "run": spec.run,
        "image": image,
        "files": dict(files),
        "reads": start.id,
        "script": _script(spec.run, words, setup_script(container.setup) if spec.run.engine_image else ""),
        "prepare_script": _prepare(plan, start, words | {"{source}": origin, "{target}": source}),
        "download_script": download_script(container.python, fetched.hubs[0], fetched.id, revision, origin),
        "download_env": [JOB_HOME, *hidden_env(plan.layer.spec.workload), *mirror_env(site.weights)],
        "env": [JOB_HOME, *hidden],
        "claim": made["weights"]["claim"],
        "native_size": f"{ceil(size * room / GIB)}Gi",
        "work_size": f"{ceil(size * spec.run.work_factor * room / GIB)}Gi" if spec.run.work_factor else "",
        "access_mode": site.weights.access_mode,
        "storage_class": site.weights.storage_class,
        "deadline": int(spec.run.hours * 3600 * _LATE + size / 1e9 / site.weights.download_rate * _LATE),
        "budget": _budget(spec.run),
        "pull_secrets": [{"name": secret} for secret in site.pull_secrets],
        "plain_security_context": PLAIN,
        **_placement(plan, plan.layer, made, spec.run),
    }


def _prepare(plan: Plan, start: Checkpoint, words: Mapping[str, str]) -> str:
    """What makes the checkpoint that the program reads, where nobody publishes it."""
    made_by = made_with(plan.pairing, start)
    if not start.converted or made_by is None or made_by[1].run is None:
        return ""
    return _script(made_by[1].run, words, "")


def _script(run: Run, words: Mapping[str, str], setup: str) -> str:
    """The program's commands, once; a finished checkpoint is marked as a download is."""
    lines = "\n".join(run.command)
    for word, value in words.items():
        lines = lines.replace(word, value)
    done = marker(words["{target}"])
    return f"{setup}set -eu\n[ ! -f {done} ] || exit 0\nmkdir -p {words['{target}']}\n{lines}\ntouch {done}\n"


def _budget(run: Run) -> str:
    again = "goes on where it stopped" if run.resumable else "begins again when it stops"
    return f"about {run.hours:g} h and {run.memory_gib:g} GiB of host memory; {again}; {run.note}"


def _placement(plan: Plan, layer: Layer, made: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Where it runs: on a host of the pairing's server with its devices, or wherever there is memory."""
    memory = {"memory": f"{int(run.memory_gib)}Gi"}
    site = plan.pairing.site
    if not run.needs_devices:
        return {
            "requests": {"cpu": "8", **memory},
            "limits": memory,
            "pod_security_context": JOB_POD,
            "security_context": PLAIN,
            "node_selector": dict(site.node_selector),
            "tolerations": list(site.tolerations),
            "scheduler_name": "",
            "runtime_class": "",
            "pod_labels": {},
            "pod_annotations": {},
            "host_mounts": [],
            "host_volumes": [],
            "resources": {},
        }
    resources, workload, security = made["resources"], layer.spec.workload, made["security"]
    device = {resources["name"]: str(resources["devices"])}
    user = security["runAsUser"]
    return {
        "requests": {"cpu": str(resources["cpu"]), **memory, **device},
        "limits": {**memory, **device},
        "pod_security_context": {} if user is None else {**JOB_POD, "runAsUser": user, "fsGroup": user},
        "security_context": {**PLAIN, "capabilities": security["capabilities"]},
        "node_selector": {**layer.server.node_selector, **site.node_selector},
        "tolerations": [*workload.tolerations, *site.tolerations],
        "scheduler_name": workload.scheduler_name,
        "runtime_class": workload.runtime_class,
        "pod_labels": dict(layer.server.pod_labels),
        "pod_annotations": dict(layer.server.pod_annotations),
        "host_mounts": mounts_of(layer.server.host_paths, site),
        "host_volumes": volumes_of(layer.server.host_paths, site),
        "resources": resources,
    }
