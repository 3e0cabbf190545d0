"""A pairing's objects in; what must be there before they are applied, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.plan.model import Plan
from stowplan.render.artifact import Artifact

_OPERATORS = {
    "leaderworkerset.x-k8s.io": "the LeaderWorkerSet controller",
    "monitoring.coreos.com": "the Prometheus operator; `monitoring: false` in the site leaves its objects out",
}


def prerequisites(plan: Plan, document: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Artifact:
    """`PREREQUISITES.md`: every thing that the objects name and that none of them makes."""
    lines = [f"# Before {plan.pairing.name} is applied", ""]
    lines += [f"* {text}" for text in _needs(plan, document["roles"][0], objects)]
    return Artifact("PREREQUISITES.md", "\n".join(lines) + "\n")


def _needs(plan: Plan, role: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    made, site, server = role["deployment"], plan.pairing.site, plan.pairing.spec.server
    if plan.layer is not None:
        folder = f"device-layers/{plan.layer.name}"
        yield f"The device layer, once a cluster: `{folder}`, the labels of `{folder}/servers/{server}`, and its preflight passed."
    yield f"The namespace `{made['namespace']}`: `sites/{plan.pairing.spec.site}`."
    for secret, key in sorted({*_secrets(objects)}):
        yield f"A secret: `kubectl -n {made['namespace']} create secret generic {secret} --from-literal={key}=...`"
    for secret in site.pull_secrets:
        yield f"The image pull secret `{secret}` in that namespace."
    for group, kinds in _custom(objects).items():
        yield f"The kinds {', '.join(kinds)} of {group}: {_OPERATORS[group]}."
    scheduler = plan.layer.spec.workload.scheduler_name if plan.layer else ""
    if role["nodes"] > 1 and scheduler:
        yield (
            f"All {role['nodes']} pods of a group start together or not at all: the LeaderWorkerSet controller runs with "
            f"`gangSchedulingManagement.schedulerProvider: {scheduler}`."
        )
    claims = [o for o in objects if o["kind"] == "PersistentVolumeClaim"]
    for claim in claims:
        modes, storage = ", ".join(claim["spec"]["accessModes"]), claim["spec"]["resources"]["requests"]["storage"]
        where = (
            f"Storage class `{site.weights.storage_class}`" if site.weights.storage_class else "A default storage class"
        )
        yield f"{where} that gives {storage} as {modes}, for `{claim['metadata']['name']}`."
    callers = ", ".join(f"`{name}`" for name in site.allow_from)
    yield f"Callers in {f'the namespaces {callers} or ' if callers else ''}the pairing's own namespace; `allowFrom` in the site lets others in."


def _secrets(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        reference = value.get("secretKeyRef")
        if isinstance(reference, Mapping):
            yield reference["name"], reference["key"]
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _custom(objects: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in objects:
        group = item["apiVersion"].partition("/")[0]
        if group in _OPERATORS and item["kind"] not in found.setdefault(group, []):
            found[group].append(item["kind"])
    return found
