"""A plan in; the quantization decision out, and the quantizer's files and Job where something must be run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.canonical_yaml import dump
from stowplan.plan.model import Plan
from stowplan.plan.quantization import Toolchain, made_with, reads, toolchain
from stowplan.profiles.quantizer import ConfigFile
from stowplan.render.artifact import Artifact, data_file, objects_file
from stowplan.render.claims import by_claims
from stowplan.render.environment import render_objects, render_text
from stowplan.render.quantization_job import job_context
from stowplan.render.quantization_rules import expert_groups, rules

_SENTENCES = {
    "native": "no offline step: {chip} runs the native checkpoint",
    "published": "no offline step: {producer} publishes the checkpoint that {chip} runs",
    "convert": "{checkpoint} must be made before it is served, by the Job beside this file",
}


def quantization_artifacts(plan: Plan, document: Mapping[str, Any]) -> Iterator[Artifact]:
    """`decision.yaml` always; the quantizer's files where one made the checkpoint; a Job where it must be run."""
    if plan.chosen is None:
        return
    made_by = toolchain(plan.pairing, plan.chosen.stack)
    files = dict(_files(plan, made_by)) if made_by else {}
    yield data_file("quantization/decision.yaml", _decision(plan, document, made_by))
    for name, text in files.items():
        yield Artifact(f"quantization/{name}", text)
    if made_by and document["quantization"]["decision"] == "convert":
        start = made_with(plan.pairing, reads(plan.pairing, made_by[2]))
        files |= dict(_files(plan, start)) if start else {}
        yield objects_file("quantization/job.yaml", _job(job_context(plan, document, made_by, files)))


def _job(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The Job with its volumes and files; devices are claimed where the layer hands them out so."""
    resources = context["resources"]
    for made in render_objects("quantization/job.yaml.j2", context):
        if made["kind"] == "Job" and "claim" in resources:
            made["spec"]["template"] = by_claims(made["spec"]["template"], resources["name"], [resources["claim"]])
        yield made


def _decision(plan: Plan, document: Mapping[str, Any], made_by: Toolchain | None) -> dict[str, Any]:
    if plan.chosen is None:
        raise ValueError("a decision needs a chosen layout")
    decided, checkpoint = dict(document["quantization"]), plan.chosen.stack.checkpoint
    table, chip = decided.pop("classes"), plan.pairing.server.chip
    words = {"chip": chip, "producer": checkpoint.producer, "checkpoint": checkpoint.id}
    return {
        "decision": decided.pop("decision"),
        "summary": _SENTENCES[document["quantization"]["decision"]].format(**words),
        "checkpoint": checkpoint.id,
        "format": checkpoint.format,
        "native": plan.pairing.variant.native.id,
        "source": checkpoint.source,
        "notes": list(plan.chosen.stack.notes),
        **decided,
        "toolchain": _toolchain(plan, made_by) if made_by else decided["toolchain"],
        "classes": table,
    }


def _toolchain(plan: Plan, made_by: Toolchain) -> dict[str, Any]:
    name, spec, policy = made_by
    to_be_run = plan.chosen is not None and plan.chosen.stack.checkpoint.converted
    return {
        "name": name,
        "version": spec.version,
        "policy": policy.id,
        "because": policy.because,
        "source": policy.source,
        "files": {file.name: file.use for file in spec.files},
        "use": "run by the Job beside this file"
        if to_be_run
        else "to make the same from weights of your own; the published checkpoint needs no run",
        "otherPolicies": list(_other_policies(plan, policy.id)),
    }


def _other_policies(plan: Plan, chosen: str) -> Iterator[dict[str, str]]:
    """Policies that make the same format of this variant, with what differs by class."""
    if plan.chosen is None:
        return
    mine = toolchain(plan.pairing, plan.chosen.stack)
    for checkpoint in plan.pairing.variant.checkpoints:
        other = made_with(plan.pairing, checkpoint)
        if other is None or mine is None or checkpoint.format != plan.chosen.stack.checkpoint.format:
            continue
        if other[2].id != chosen and checkpoint.converted:
            keys = sorted({*mine[2].classes, *other[2].classes})
            said = [(key, mine[2].classes.get(key, "-"), other[2].classes.get(key, "-")) for key in keys]
            differs = ", ".join(f"{key} {there} (here {here})" for key, here, there in said if here != there)
            yield {
                "checkpoint": checkpoint.id,
                "toolchain": other[0],
                "policy": other[2].id,
                "differs": differs or "in its steps only",
                "because": other[2].because,
            }


def _files(plan: Plan, made_by: Toolchain) -> Iterator[tuple[str, str]]:
    name, spec, policy = made_by
    said = rules(plan.pairing.architecture, plan.pairing.variant.native.draft, spec, policy)
    context = {
        "policy": policy,
        "quantizer": spec,
        "variant": plan.pairing.spec.variant,
        "rules": {scheme: found.patterns for scheme, found in said.items() if scheme in spec.schemes},
        "kept": [pattern for scheme, found in said.items() if scheme not in spec.schemes for pattern in found.patterns],
        "expert_groups": expert_groups(plan.pairing.architecture, spec, policy),
    }
    for file in spec.files:
        yield file.name, _text(f"quantization/{name}/{file.name}", file, context)


def _text(template: str, file: ConfigFile, context: Mapping[str, Any]) -> str:
    if file.format == "text":
        return render_text(template, context)
    data = next(render_objects(f"{template}.j2", context))
    if file.format == "json":
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return dump(data)
