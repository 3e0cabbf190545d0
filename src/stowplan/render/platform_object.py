"""A plan and the pods of its roles in; the one object that a platform's operator makes them of, out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stowplan.plan.deployment import object_name
from stowplan.plan.model import Plan
from stowplan.plan.router import COPIES
from stowplan.profiles.platform import FrontEnd
from stowplan.render.artifact import Artifact, objects_file
from stowplan.render.environment import render_objects, templates_in
from stowplan.render.jobs import JOB_HOME, PLAIN
from stowplan.render.workload import Workload, selector

_Document = Mapping[str, Any]


def platform_artifact(plan: Plan, document: _Document, workloads: Sequence[Workload]) -> Artifact:
    """The file of the platform's object; its template is named by the version of the kind, where they differ in shape."""
    told, spec = document["platform"], plan.pairing.platform
    version = told["apiVersion"].rpartition("/")[2]
    template = next(name for name in templates_in(f"serving/{spec.method}") if f"/{version}." in name)
    context = {
        "told": told,
        "name": object_name(plan.pairing.name),
        "namespace": workloads[0].made["namespace"],
        "served": plan.pairing.spec.variant,
        "site": plan.pairing.site,
        "roles": [_role(workload) for workload in workloads],
        "front_end": _front_end(plan, spec.front_end, workloads[0]) if spec.front_end else None,
    }
    file = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", spec.kind).lower()
    return objects_file(f"serving/{file}.yaml", render_objects(template, context))


def _role(workload: Workload) -> dict[str, Any]:
    role, made, pods = workload.role, workload.made, workload.pods
    sizes, labels = role["parallelism"], dict(pods["pod"]["metadata"]["labels"])
    labels.pop("stowplan.dev/role", None)  # one set of labels for all pods
    weights, pod = made["weights"], {**pods["pod"], "metadata": {**pods["pod"]["metadata"], "labels": labels}}
    if workload.plan.pairing.platform.front_end:
        pod = _without_shared_memory(pod)
    return {
        "name": role["name"],
        "component": _COMPONENT_TYPES[role["name"]],
        "replicas": role["replicas"],
        "labels": labels,
        "shared_memory": f"{made['resources']['sharedMemoryGib']}Gi",
        "annotations": pods["pod"]["metadata"]["annotations"],
        "pod": pod,
        "parts": _parts(pod),
        "worker_pod": pods.get("worker_pod"),
        "uri": f"pvc://{weights['claim']}/{weights['path'].removeprefix('/models/')}",
        "parallelism": {
            "tensor": sizes["tp"],
            **({"pipeline": sizes["pp"]} if sizes["pp"] > 1 else _data(sizes["dp"], role["nodes"], made)),
            **({"expert": True} if sizes["ep"] > 1 else {}),
        },
    }


def _without_shared_memory(pod: _Document) -> dict[str, Any]:
    """A pod of whose shared memory the object itself tells the size."""
    inner, (engine, *others) = pod["spec"], pod["spec"]["containers"]
    mounts = [mount for mount in engine["volumeMounts"] if mount["name"] != "shm"]
    volumes = [volume for volume in inner["volumes"] if volume["name"] != "shm"]
    told = {**inner, "containers": [{**engine, "volumeMounts": mounts}, *others], "volumes": volumes}
    return {**pod, "spec": told}


_COMPONENT_TYPES = {"server": "worker", "prefill": "prefill", "decode": "decode"}


def _data(ranks: int, nodes: int, made: _Document) -> dict[str, int]:
    if ranks == 1:
        return {}
    port = {"dataRPCPort": made["ports"]["rpc"]} if "rpc" in made["ports"] else {}
    return {"data": ranks, "dataLocal": ranks // nodes, **port}


_ITS_USER = ("root", "seccomp")
"""Privileges whose reasons hold for every container of the engine's image."""


def _front_end(plan: Plan, spec: FrontEnd, workload: Workload) -> dict[str, Any]:
    """The component before the engines: their image and weights, whose tokenizer it reads, and no device."""
    labels, inner = selector(plan.pairing, spec.name), workload.pods["pod"]["spec"]
    volume = next(v for v in inner["volumes"] if v["name"] == "weights")
    mount = next(m for m in inner["containers"][0]["volumeMounts"] if m["name"] == "weights")
    hidden = workload.layer.spec.workload.hide_devices
    env = {JOB_HOME["name"]: JOB_HOME["value"], "HF_HUB_OFFLINE": "1", **hidden, **spec.env}
    values = {
        "account": "" if plan.pairing.platform.own_account else object_name(plan.pairing.name),
        "spec": spec,
        "labels": labels,
        "image": workload.made["image"],
        "container": plan.pairing.platform.container,
        "pull_secrets": inner.get("imagePullSecrets", []),
        "env": [{"name": name, "value": value} for name, value in sorted(env.items())],
        "security_context": PLAIN,
        "annotations": {key: text for key, text in workload.reasons().items() if key.rpartition("-")[2] in _ITS_USER},
        "pod_security_context": inner.get("securityContext") or {},
        "weights_volume": volume,
        "weights_mount": mount,
    }
    pod = next(render_objects("serving/component-graph/_front-end.yaml.j2", values))
    return {"name": spec.name, "component": spec.name, "replicas": COPIES, "pod": pod, "parts": _parts(pod)}


def _parts(pod: _Document) -> dict[str, Any]:
    """The older shape of a pod: the engine's container beside the rest."""
    rest = {key: value for key, value in pod["spec"].items() if key != "containers"}
    return {**rest, "mainContainer": pod["spec"]["containers"][0]}
