"""A plan in; the serving objects of its pairing out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.plan.model import Candidate, Layer, Plan
from stowplan.profiles.engine import EngineSpec
from stowplan.render.artifact import Artifact, objects_file
from stowplan.render.claims import by_claims, claim_objects
from stowplan.render.command import (
    SMOKE_TEST,
    download_script,
    group_flags,
    hidden_env,
    mirror_env,
    ready_script,
    start_script,
    wait_script,
)
from stowplan.render.device_layer import reason_annotations
from stowplan.render.environment import render_objects, stem, templates_in
from stowplan.render.host_paths import mounts_of, volumes_of
from stowplan.render.jobs import JOB_HOME, JOB_POD, PLAIN

_API_KEY = "api-key"


def serving_artifacts(plan: Plan, document: Mapping[str, Any]) -> Iterator[Artifact]:
    """One file for each object of the serving folder, not yet stamped."""
    if plan.chosen is None or plan.layer is None:
        return
    context = _Context(plan, plan.chosen, plan.layer, document).values()
    grouped = document["roles"][0]["nodes"] > 1
    context["pod"] = _pod(context, leader=True)
    if grouped:
        context["worker_pod"] = _pod(context, leader=False)
    templates = [
        "service-account",
        "weights",
        "leader-worker-set" if grouped else "deployment",
        "service",
        "pod-disruption-budget",
        "network-policy",
        "smoke-test",
    ]
    if plan.pairing.site.monitoring:
        templates += ["pod-monitor", "prometheus-rule"]
    yield from _claims(context, plan.layer)
    for template in templates:
        yield objects_file(f"serving/{template}.yaml", render_objects(f"serving/{template}.yaml.j2", context))


def _claims(context: Mapping[str, Any], layer: Layer) -> Iterator[Artifact]:
    """What the pods claim, where the layer hands out devices by claims, and what joins the pods of a group."""
    resources = context["resources"]
    if "claim" in resources:
        made = claim_objects(resources["claim"], context["namespace"], resources["name"], resources["devices"])
        yield objects_file("serving/resource-claim-template.yaml", made)
    if "groupClaim" in resources:
        values = {**context, "layer": layer.spec, "group": resources["groupClaim"]}
        for template in templates_in(f"device-layer/{layer.name}/group"):
            yield objects_file(f"serving/{stem(template)}.yaml", render_objects(template, values))


def _pod(context: Mapping[str, Any], *, leader: bool) -> dict[str, Any]:
    role = "leader" if leader else "worker"
    key = context["endpoint"].api_key_env
    values = {
        **context,
        "env": [entry for entry in context["env"] if leader or entry["name"] != key],
        "serves": leader,
        "script": context["script"] if leader else context["worker_script"],
        "pod_labels": {**context["pod_labels"], "stowplan.dev/role": role},
    }
    pod, resources = next(render_objects("serving/_pod.yaml.j2", values)), context["resources"]
    claims = [resources[kind] for kind in ("claim", "groupClaim") if kind in resources]
    return by_claims(pod, resources["name"], claims) if claims else pod


class _Context:
    """What the serving templates name, computed once from the plan's document."""

    def __init__(self, plan: Plan, chosen: Candidate, layer: Layer, document: Mapping[str, Any]) -> None:
        self.plan, self.chosen, self.layer = plan, chosen, layer
        self.role, self.made = document["roles"][0], document["roles"][0]["deployment"]
        self.document = document
        self.engine: EngineSpec = chosen.stack.engine
        self.name: str = self.made["name"]
        self.site = plan.pairing.site

    def values(self) -> dict[str, Any]:
        """All of them."""
        selector = {"app.kubernetes.io/instance": self.name, "app.kubernetes.io/component": "serving"}
        return {
            "name": self.name,
            "namespace": self.made["namespace"],
            "replicas": self.role["replicas"],
            "nodes": self.role["nodes"],
            "resources": self.made["resources"],
            "selector": selector,
            "serving_selector": {**selector, "stowplan.dev/role": "leader"},
            "image": self.made["image"],
            "endpoint": self.engine.endpoint,
            "python": self.engine.container.python,
            "probes": self.made["probes"],
            "http_port": self.made["ports"]["http"],
            "rpc_port": self.made["ports"].get("rpc"),
            "grace_period": self.made["gracePeriodSeconds"],
            "progress_deadline": self.made["deadlines"]["rollout"],
            "smoke_deadline": self.made["deadlines"]["smokeTest"],
            "download_deadline": self.made["deadlines"]["download"],
            "pod_pattern": f"{self.name}-[0-9]+(-[0-9]+)?"
            if self.role["nodes"] > 1
            else f"{self.name}-[0-9a-f]+-[a-z0-9]{{5}}",
            "allow_from": list(self.site.allow_from),
            "monitored": self.site.monitoring,
            "monitoring_labels": self.site.monitoring_labels,
            "pull_secrets": [{"name": secret} for secret in self.site.pull_secrets],
            "waiting_limit": self.plan.pairing.use_case.load.concurrency * self.role["replicas"],
            "ttft_seconds": self.plan.pairing.use_case.objectives.ttft_ms / 1e3,
            **self._pod(selector),
            **self._scripts(),
            **self._security(),
            **self._jobs(),
        }

    def _pod(self, selector: Mapping[str, str]) -> dict[str, Any]:
        layer, resources = self.layer, self.made["resources"]
        device = {resources["name"]: str(resources["devices"])}
        if "rdma" in resources:
            device[resources["rdma"]] = "1"
        memory = {"memory": f"{resources['memoryGib']}Gi"}
        workload = layer.spec.workload
        grouped = self.role["nodes"] > 1
        return {
            "pod_labels": {**selector, **layer.server.pod_labels},
            "pod_annotations": {
                **layer.server.pod_annotations,
                **(layer.server.distributed_annotations if grouped else {}),
                **self._reasons(),
            },
            "reasons": self._reasons(),
            "topology_key": layer.server.group.topology_key if grouped and layer.server.group else "",
            "scheduler_name": workload.scheduler_name,
            "runtime_class": workload.runtime_class,
            "node_selector": {**layer.server.node_selector, **self.site.node_selector},
            "tolerations": [*workload.tolerations, *self.site.tolerations],
            "host_network": self.made["security"]["hostNetwork"],
            "host_mounts": mounts_of(layer.server.host_paths, self.site),
            "host_volumes": volumes_of(layer.server.host_paths, self.site),
            "requests": {"cpu": str(resources["cpu"]), "memory": f"{resources['requestedMemoryGib']}Gi", **device},
            "limits": {**memory, **device},
            "shared_memory": f"{resources['sharedMemoryGib']}Gi",
            "env": self._env(),
            "hidden_env": hidden_env(workload),
            "ready_script": self._ready(),
            "claim": self.made["weights"]["claim"],
            "claim_size": f"{self.made['weights']['claimGib']}Gi",
            "access_mode": self.site.weights.access_mode,
            "storage_class": self.site.weights.storage_class,
        }

    def _reasons(self) -> dict[str, str]:
        return reason_annotations(self.made["security"]["reasons"])

    def _scripts(self) -> dict[str, str]:
        flags, container, multi = dict(self.role["flags"]), self.engine.container, self.engine.multi_node
        path = self.made["weights"]["path"]
        scripts = {"wait_script": wait_script(path), "worker_script": ""}
        if self.role["nodes"] == 1 or multi is None:
            return {**scripts, "script": start_script(container, path, flags, self._key_flag())}
        nodes, ranks = self.role["nodes"], self.role["parallelism"]["dp"]
        quiet = "headless" in multi.flags  # such a pod has no HTTP server, and refuses its flags
        serving = {self.engine.fields[name].flag for name in ("port", "servedModelName") if quiet}
        headless = {flag: value for flag, value in flags.items() if flag not in serving}
        return {
            **scripts,
            "script": start_script(
                container, path, flags, [*self._key_flag(), *group_flags(multi, nodes, ranks, leader=True)]
            ),
            "worker_script": start_script(container, path, headless, group_flags(multi, nodes, ranks, leader=False)),
        }

    def _env(self) -> list[dict[str, Any]]:
        endpoint, home = self.engine.endpoint, self.engine.container.home
        values = {
            "HF_HUB_OFFLINE": "1",
            "HOME": home,
            "USER": "root" if self.made["security"]["runAsUser"] is None else "engine",
            **({endpoint.ready_timeout_env: self._startup_budget()} if endpoint.ready_timeout_env else {}),
            **self.role["env"],
        }
        fields: dict[str, str] = {}
        for variable, annotation in self.layer.spec.workload.env_from_annotation.items():
            fields[variable] = f"metadata.annotations['{annotation.replace('{resource}', self.layer.server.resource)}']"
        multi = self.engine.multi_node
        if self.role["nodes"] > 1 and multi:
            values |= dict.fromkeys(multi.interface_env, self.site.network.interface)
            fields |= dict.fromkeys(multi.address_env, "status.podIP")
        entries: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
        entries += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
        if endpoint.api_key_env:
            entries.append({"name": endpoint.api_key_env, "valueFrom": {"secretKeyRef": self._key_reference()}})
        return sorted(entries, key=lambda entry: str(entry["name"]))

    def _startup_budget(self) -> str:
        return str(self.made["probes"]["startup"]["budgetSeconds"])

    def _ready(self) -> str:
        endpoint = self.engine.endpoint
        return ready_script(
            self.made["ports"]["http"], endpoint.models, self.plan.pairing.spec.variant, endpoint.api_key_env
        )

    def _key_flag(self) -> list[str]:
        endpoint = self.engine.endpoint
        return [f'{endpoint.api_key_flag} "${endpoint.api_key_env}"'] if endpoint.api_key_flag else []

    def _key_reference(self) -> dict[str, str]:
        return {"name": f"{self.name}-{_API_KEY}", "key": _API_KEY}

    def _security(self) -> dict[str, Any]:
        security = self.made["security"]
        user, writable = security["runAsUser"], list(self.engine.container.cache_paths)
        pod: dict[str, Any] = {}
        if user is not None:
            pod = {
                "runAsNonRoot": True,
                "runAsUser": user,
                "runAsGroup": user,
                "fsGroup": user,
                "fsGroupChangePolicy": "OnRootMismatch",
            }
        if security["seccomp"]:
            pod["seccompProfile"] = {"type": security["seccomp"]}
        return {
            "pod_security_context": pod,
            "security_context": {**PLAIN, "capabilities": security["capabilities"]},
            "plain_security_context": PLAIN,
            "writable": writable,
        }

    def _jobs(self) -> dict[str, Any]:
        weights, site = self.made["weights"], self.site.weights
        job = {"app.kubernetes.io/instance": self.name}
        env = [JOB_HOME, *mirror_env(site)]
        hidden = hidden_env(self.layer.spec.workload)
        token = (
            [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": site.token_secret, "key": "token"}}}]
            if site.token_secret
            else []
        )
        hub, keyed = weights["hub"], bool(self.engine.endpoint.api_key_env)
        return {
            "download_script": download_script(
                self.engine.container.python,
                hub,
                self.document["checkpoint"]["id"],
                weights["revision"],
                weights["path"],
            )
            if hub
            else "",
            "download_image": site.download_image or self.made["image"],
            "download_labels": {**job, "app.kubernetes.io/component": "weights"},
            "download_env": [*env, *hidden, *token],
            "smoke_script": SMOKE_TEST,
            "smoke_labels": {**job, "app.kubernetes.io/component": "smoke-test"},
            "smoke_env": [
                *hidden,
                {"name": "ENDPOINT", "value": f"http://{self.name}.{self.made['namespace']}.svc"},
                {"name": "MODEL", "value": self.plan.pairing.spec.variant},
                *([{"name": "API_KEY", "valueFrom": {"secretKeyRef": self._key_reference()}}] if keyed else []),
            ],
            "job_pod_security_context": JOB_POD,
        }
