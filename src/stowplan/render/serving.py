"""A plan in; the serving objects of its pairing out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.plan.deployment import object_name
from stowplan.plan.model import Layer, Plan, Stack
from stowplan.plan.platform import callers_from
from stowplan.plan.processes import pod_ports
from stowplan.plan.router import ROUTER
from stowplan.render.artifact import Artifact, objects_file
from stowplan.render.command import SMOKE_TEST, WAIT_FOR_ENGINES, download_script, hidden_env, mirror_env
from stowplan.render.environment import render_objects
from stowplan.render.jobs import JOB_HOME, JOB_POD, JOB_USER, PLAIN
from stowplan.render.platform_object import platform_artifact
from stowplan.render.workload import Workload, answering, key_env, port_name, selector

_Document = Mapping[str, Any]
_ON_DEMAND = {"router": "router", "scaling": "scaled-object"}
"""Part of the plan to the template that renders it."""
_SCALED = {"Deployment": "apps/v1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}


def serving_artifacts(plan: Plan, document: _Document) -> Iterator[Artifact]:
    """One file for each object of the serving folder, not yet stamped."""
    if plan.chosen is None or plan.layer is None:
        return
    name, roles, stack = object_name(plan.pairing.name), document["roles"], plan.chosen.stack
    workloads = [Workload(plan, stack, plan.layer, name, role) for role in roles]
    for workload in workloads:
        yield from workload.artifacts(f"{workload.role['name']}-" if len(roles) > 1 else "")
    yield from workloads[0].group_artifacts()
    if plan.pairing.platform.kind:
        yield platform_artifact(plan, document, workloads)
    context = _context(plan, stack, plan.layer, document)
    templates = ["service-account", "service", "network-policy", "smoke-test"]
    if roles[0]["deployment"]["weights"]["volume"] == "claim":
        templates.append("weights")
    if plan.pairing.site.monitoring:
        templates.append("prometheus-rule")
    templates += [template for key, template in _ON_DEMAND.items() if key in document]
    templates += _of_platform(document.get("platform", {}))
    for template in templates:
        file = template.rpartition("/")[2]
        yield objects_file(f"serving/{file}.yaml", render_objects(f"serving/{template}.yaml.j2", context))


def _of_platform(told: _Document) -> list[str]:
    """Templates of the objects that stand beside the pods on a platform."""
    if told.get("method") != "route":
        return []
    return ["route/http-route", *(["route/inference-pool"] if "pool" in told else [])]


def _context(plan: Plan, stack: Stack, layer: Layer, document: _Document) -> dict[str, Any]:
    """What the templates of the pairing's own objects name."""
    name, roles, site = object_name(plan.pairing.name), document["roles"], plan.pairing.site
    made, front = roles[0]["deployment"], _front(plan, document)
    return {
        "name": name,
        "account": name,
        "namespace": made["namespace"],
        "python": stack.engine.container.python,
        "front": selector(plan.pairing, front) if front else answering(plan.pairing, roles[0]),
        "headless": [_headless(plan, role) for role in roles if role["deployment"]["workload"] == "StatefulSet"],
        "doors": list(_doors(plan, document)),
        "allow_from": callers_from(plan.pairing),
        **_route(plan, document),
        "monitored": site.monitoring,
        "monitoring_labels": site.monitoring_labels,
        "pull_secrets": [{"name": secret} for secret in site.pull_secrets],
        "job_pod_security_context": JOB_POD,
        "plain_security_context": PLAIN,
        **_alerts(plan, stack, roles),
        **_weights(plan, stack, layer, document),
        **_smoke_test(plan, stack, layer, made),
        **_router(plan, stack, layer, document),
        "scaling": document.get("scaling", {}),
        "scale_target": {"apiVersion": _SCALED.get(made["workload"], ""), "kind": made["workload"]},
    }


def _route(plan: Plan, document: _Document) -> dict[str, Any]:
    told, site = document.get("platform", {}), plan.pairing.site
    if told.get("method") != "route":
        return {}
    pool = told.get("pool")
    return {
        "gateway": site.gateway,
        "picker": site.picker.model_dump(by_alias=True) if site.picker and pool else None,
        "front_ports": pool["ports"] if pool else [],
        "timeout": f"{told['timeouts']['requestSeconds']}s",
    }


def _front(plan: Plan, document: _Document) -> str | None:
    """Component of what stands before the engines, as callers see them."""
    if "router" in document:
        return ROUTER
    own = plan.pairing.platform.front_end
    return own.name if own else None


def _headless(plan: Plan, role: _Document) -> dict[str, Any]:
    ports = [{"name": port_name(index), "port": port} for index, port in enumerate(pod_ports(role))]
    return {"name": role["deployment"]["name"], "selector": selector(plan.pairing, role["name"]), "ports": ports}


def _doors(plan: Plan, document: _Document) -> Iterator[dict[str, Any]]:
    """Pods of one kind, whether callers may reach their endpoint, and which pods may reach every port of them."""
    pairing, roles, front = plan.pairing, document["roles"], _front(plan, document)
    family = [selector(pairing, name) for name in (front, *(role["name"] for role in roles)) if name]
    for role in roles:
        labels = selector(pairing, role["name"])
        yield {
            "name": role["deployment"]["name"],
            "selector": labels,
            "callers": front is None,
            "ports": [port_name(index, pairing.platform.port_name) for index in range(len(pod_ports(role)))],
            "kin": family if front else [labels] if role["nodes"] > 1 else [],
        }
    if front:
        kin = [] if front == ROUTER else family  # a platform's front end is called back by the engines
        name = object_name(pairing.name) if front == ROUTER else f"{object_name(pairing.name)}-{front}"
        yield {"name": name, "selector": selector(pairing, front), "callers": True, "ports": ["http"], "kin": kin}


def _alerts(plan: Plan, stack: Stack, roles: Sequence[_Document]) -> dict[str, Any]:
    load = plan.pairing.use_case.load.concurrency
    patterns = list(dict.fromkeys(_pod_pattern(plan, role) for role in roles))
    answers = roles[-1]["replicas"]
    return {
        "endpoint": stack.engine.endpoint,
        "pod_patterns": patterns,
        "first_token_pattern": patterns[0],  # prefill's, where it is apart: its requests end with the first token
        "waiting_limit": load * answers,
        "ttft_seconds": plan.pairing.use_case.objectives.ttft_ms / 1e3,
    }


def _pod_pattern(plan: Plan, role: _Document) -> str:
    name, named = role["deployment"]["name"], plan.pairing.platform.pod_names
    if named:
        return object_name(plan.pairing.name) + (named.group if role["nodes"] > 1 else named.single)
    return {
        "Deployment": f"{name}-[0-9a-f]+-[a-z0-9]{{5}}",
        "StatefulSet": f"{name}-[0-9]+",
        "LeaderWorkerSet": f"{name}-[0-9]+(-[0-9]+)?",
    }[role["deployment"]["workload"]]


def _job_image(plan: Plan, made: _Document) -> str:
    return str(plan.pairing.site.weights.download_image or made["image"])


def _weights(plan: Plan, stack: Stack, layer: Layer, document: _Document) -> dict[str, Any]:
    made, site = document["roles"][0]["deployment"], plan.pairing.site.weights
    weights, name = made["weights"], object_name(plan.pairing.name)
    token = (
        [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": site.token_secret, "key": "token"}}}]
        if site.token_secret
        else []
    )
    script = ""
    if hub := weights["hub"]:
        where, checkpoint = weights["path"], document["checkpoint"]["id"]
        script = download_script(stack.engine.container.python, hub, checkpoint, weights["revision"], where)
    return {
        "claim": weights["claim"],
        "claim_size": f"{weights['claimGib']}Gi",
        "access_mode": site.access_mode,
        "storage_class": site.storage_class,
        "download_script": script,
        "download_deadline": made["deadlines"]["download"],
        "download_image": _job_image(plan, made),
        "download_labels": _job_labels(name, "weights"),
        "download_env": [JOB_HOME, *mirror_env(site), *hidden_env(layer.spec.workload), *token],
    }


def _smoke_test(plan: Plan, stack: Stack, layer: Layer, made: _Document) -> dict[str, Any]:
    name = object_name(plan.pairing.name)
    return {
        "smoke_deadline": made["deadlines"]["smokeTest"],
        "smoke_script": SMOKE_TEST,
        "smoke_labels": _job_labels(name, "smoke-test"),
        "smoke_env": [
            *hidden_env(layer.spec.workload),
            {"name": "ENDPOINT", "value": f"http://{name}.{made['namespace']}.svc"},
            {"name": "MODEL", "value": plan.pairing.spec.variant},
            *key_env("API_KEY", stack.engine.endpoint, name),
        ],
    }


def _job_labels(name: str, component: str) -> dict[str, str]:
    return {"app.kubernetes.io/instance": name, "app.kubernetes.io/component": component}


def _router(plan: Plan, stack: Stack, layer: Layer, document: _Document) -> dict[str, Any]:
    if "router" not in document:
        return {}
    router, endpoint = document["router"], stack.engine.endpoint
    starts = [role["deployment"]["probes"]["startup"] for role in document["roles"]]
    key = key_env(router["keyEnv"], endpoint, object_name(plan.pairing.name))
    return {
        "router": router,
        "router_grace": document["roles"][-1]["deployment"]["gracePeriodSeconds"],
        "router_startup": max(starts, key=lambda probe: int(probe["budgetSeconds"])),  # it answers after the engines
        "router_pod_security_context": _as_user(router["runAsUser"]),
        "router_labels": selector(plan.pairing, ROUTER),
        "router_env": [JOB_HOME, *hidden_env(layer.spec.workload), *key],
        "wait_script": WAIT_FOR_ENGINES,
        "wait_arguments": [
            endpoint.health,
            *(",".join(addresses) for addresses in router["engines"].values()),
        ],
    }


def _as_user(user: int | None) -> dict[str, Any]:
    """Pod security of a container that writes to a volume of its own only."""
    return JOB_POD if user == JOB_USER else {**JOB_POD, "runAsNonRoot": bool(user), "runAsUser": user or 0}
