"""A plan in; the quantization decision out, and the toolchain's config and Job where something must be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from stowplan.canonical_yaml import dump
from stowplan.diagnostics import Diagnostic, Refused
from stowplan.fit.units import GIB
from stowplan.fit.weights import weights
from stowplan.plan.deployment import weights_path
from stowplan.plan.model import Candidate, Plan
from stowplan.plan.quantization import Toolchain, toolchain
from stowplan.render.artifact import Artifact, data_file, objects_file
from stowplan.render.command import download_script, hidden_env, marker, mirror_env, setup_script
from stowplan.render.environment import render_objects, render_text
from stowplan.render.jobs import JOB_HOME, JOB_POD, PLAIN

_JOB = "quantization/job.yaml"


def quantization_artifacts(plan: Plan, document: Mapping[str, Any]) -> Iterator[Artifact]:
    """`decision.yaml` always; a config where a toolchain made the checkpoint; a Job where it must be run."""
    if plan.chosen is None:
        return
    made_by = toolchain(plan.pairing, plan.chosen.stack)
    yield data_file("quantization/decision.yaml", _decision(plan, plan.chosen, document, made_by))
    if made_by is None:
        return
    config = _config(plan, made_by)
    yield Artifact(f"quantization/{made_by[1].file}", config)
    if document["quantization"]["decision"] == "convert":
        yield objects_file(
            _JOB,
            render_objects(
                f"quantization/{made_by[0]}/job.yaml.j2", _job(plan, plan.chosen, document, made_by, config)
            ),
        )


def _decision(plan: Plan, chosen: Candidate, document: Mapping[str, Any], made_by: Toolchain | None) -> dict[str, Any]:
    native, stack = plan.pairing.variant.native.id, chosen.stack
    sentences = {
        "native": f"no offline step: {plan.pairing.server.chip} runs the native checkpoint",
        "published": f"no offline step: {stack.checkpoint.producer} publishes the checkpoint that {plan.pairing.server.chip} runs",
        "convert": f"{native} must be converted before it is served",
    }
    decision = document["quantization"]["decision"]
    summary: dict[str, Any] = {
        "decision": decision,
        "summary": sentences[decision],
        "checkpoint": stack.checkpoint.id,
        "native": native,
        "source": stack.checkpoint.source,
        "kvCache": {
            "main": chosen.roles[0].fit.kv_format.main,
            "index": chosen.roles[0].fit.kv_format.index,
            "reason": chosen.roles[0].fit.kv_format.reason,
            "source": chosen.roles[0].fit.kv_format.source,
        },
        "notes": list(stack.notes),
    }
    if made_by:
        name, spec, policy = made_by
        summary["toolchain"] = {
            "name": name,
            "version": spec.version,
            "policy": policy.id,
            "because": policy.default_because,
            "evidence": policy.evidence,
            "source": policy.source,
            "config": spec.file,
            "use": "run by the Job beside this file"
            if decision == "convert"
            else "to make the same from weights of your own; the published checkpoint needs no run",
        }
    summary["classes"] = document["quantization"]["classes"]
    return summary


def _config(plan: Plan, made_by: Toolchain) -> str:
    name, spec, policy = made_by
    context = {
        "policy": policy,
        "quantizer": spec,
        "name": name,
        "variant": plan.pairing.spec.variant,
        "patterns": _patterns(plan, made_by),
    }
    if spec.output == "script":
        return render_text(f"quantization/{name}/{spec.file}", context)
    return dump(next(render_objects(f"quantization/{name}/config.yaml.j2", context)))


def _patterns(plan: Plan, made_by: Toolchain) -> dict[str, list[str]]:
    """Module-name patterns of each scheme, from the tensors of the classes that the policy names."""
    _, _, policy = made_by
    native = plan.pairing.variant.native
    found: dict[str, list[str]] = {}
    for group in weights(plan.pairing.architecture, native, native.draft).groups:
        tensor_class = "draft" if group.draft else group.tensor_class
        keys = (f"{tensor_class}.{group.part}", tensor_class)
        scheme = next((policy.classes[key] for key in keys if key in policy.classes), "float")
        module = group.name.removesuffix(".weight").replace("{layer}", "*").replace("{copy}", "*")
        if module not in found.setdefault(scheme, []):
            found[scheme].append(module)
    return found


def _job(plan: Plan, chosen: Candidate, document: Mapping[str, Any], made_by: Toolchain, config: str) -> dict[str, Any]:
    name, spec, policy = made_by
    made, site, role = document["roles"][0]["deployment"], plan.pairing.site, document["roles"][0]
    if spec.run is None:
        raise Refused([Diagnostic("C021", f"{name} says nothing of how it is run", plan.pairing.locate("checkpoint"))])
    native = plan.pairing.variant.native
    revision = made["weights"]["revision"]
    source = weights_path("/native", native.id, revision)
    native_bytes = weights(plan.pairing.architecture, native, native.draft).total
    hub = native.hubs[0]
    hidden = hidden_env(plan.layer.spec.workload) if plan.layer else []
    return {
        "name": made["name"],
        "namespace": made["namespace"],
        "run": spec.run,
        "command": [chosen.stack.engine.container.python if word == "python3" else word for word in spec.run.command],
        "image": site.images.get(name) or spec.run.image or role["deployment"]["image"],
        "config": config,
        "file": spec.file,
        "source": source,
        "target": made["weights"]["path"],
        "job_pod_security_context": JOB_POD,
        "plain_security_context": PLAIN,
        "claim": made["weights"]["claim"],
        "marker": marker(made["weights"]["path"]),
        "policy": policy,
        "native_size": f"{ceil(native_bytes * (1 + site.weights.headroom_percent / 100) / GIB)}Gi",
        "download_script": download_script(
            chosen.stack.engine.container.python,
            hub,
            native.id,
            revision,
            source,
        ),
        "setup": setup_script(chosen.stack.engine.container.setup),
        "download_env": [JOB_HOME, *hidden, *mirror_env(site.weights)],
        "convert_env": [JOB_HOME, *hidden],
        "access_mode": site.weights.access_mode,
        "storage_class": site.weights.storage_class,
        "deadline": int(spec.run.hours * 3600 * 4),
        "pull_secrets": [{"name": secret} for secret in site.pull_secrets],
    }
