"""A role of a plan in; the pods that run its engine, and what goes with them, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from stowplan.pairing import Pairing
from stowplan.plan.deployment import object_name
from stowplan.plan.model import Layer, Plan, Stack
from stowplan.plan.processes import pod_ports
from stowplan.profiles.engine import Endpoint, EngineSpec
from stowplan.render.artifact import Artifact, objects_file
from stowplan.render.claims import by_claims, claim_objects
from stowplan.render.command import Place, engine_script, hidden_env, marker, ready_script, wait_script
from stowplan.render.device_layer import reason_annotations
from stowplan.render.environment import render_objects, stem, templates_in
from stowplan.render.host_paths import mounts_of, volumes_of
from stowplan.render.jobs import PLAIN
from stowplan.render.platform_pod import for_platform

_TEMPLATES = {
    "Deployment": "deployment",
    "LeaderWorkerSet": "leader-worker-set",
    "StatefulSet": "stateful-set",
}
_COMPONENTS = {"server": "serving"}
"""Component of the pods of a role; the others are named like their role."""


def selector(pairing: Pairing, role: str) -> dict[str, str]:
    """Labels of the pods of a role, or of what stands before them; platforms keep the usual one for themselves."""
    component = "stowplan.dev/component" if pairing.platform.kind else "app.kubernetes.io/component"
    return {"app.kubernetes.io/instance": object_name(pairing.name), component: _COMPONENTS.get(role, role)}


def answering(pairing: Pairing, role: Mapping[str, Any]) -> dict[str, str]:
    """Labels of those pods of a role that have an endpoint."""
    found = selector(pairing, role["name"])
    if pairing.platform.kind:
        return {**found, **pairing.platform.answering}
    return found if role["deployment"]["processes"]["everyPod"] else {**found, "stowplan.dev/role": "leader"}


def key_env(variable: str, endpoint: Endpoint, pairing: str) -> list[dict[str, Any]]:
    """The endpoint's key under the name of a variable; nothing where the engine asks for none."""
    reference = {"name": f"{pairing}-api-key", "key": "api-key"}
    return [{"name": variable, "valueFrom": {"secretKeyRef": reference}}] if endpoint.api_key_env else []


class Workload:
    """One role: its pods, its workload object, and the objects that are its own."""

    def __init__(self, plan: Plan, stack: Stack, layer: Layer, pairing: str, role: Mapping[str, Any]) -> None:
        self.plan, self.stack, self.layer, self.pairing = plan, stack, layer, pairing
        self.role, self.made = role, role["deployment"]
        self.engine: EngineSpec = stack.engine
        self.site = plan.pairing.site
        self.grouped = role["nodes"] > 1

    def artifacts(self, prefix: str) -> Iterator[Artifact]:
        """One file for each object; the prefix keeps the roles' files apart."""
        context, templates = self._context, ["pod-disruption-budget"]
        if self.made["workload"] in _TEMPLATES:  # else the platform's object holds the pods
            templates.append(_TEMPLATES[self.made["workload"]])
            context = {**context, **self.pods}
        if self.site.monitoring:
            templates.append("pod-monitor")
        yield from self._claims(prefix)
        for template in templates:
            yield objects_file(
                f"serving/{prefix}{template}.yaml", render_objects(f"serving/{template}.yaml.j2", context)
            )

    @cached_property
    def pods(self) -> Mapping[str, Any]:
        """The template of its pod, and that of the others of a group, by the names that templates have for them."""
        spec, made = self.plan.pairing.platform, {"pod": self._pod(leader=True)}
        if self.grouped:
            made["worker_pod"] = self._pod(leader=False)
        return {name: for_platform(pod, spec) if spec.kind else pod for name, pod in made.items()}

    def group_artifacts(self) -> Iterator[Artifact]:
        """What joins the pods of the pairing, where the layer has such objects."""
        group = self.made["resources"].get("groupClaim")
        if group is None:
            return
        values = {"name": self.pairing, "namespace": self.made["namespace"], "layer": self.layer.spec, "group": group}
        for template in templates_in(f"device-layer/{self.layer.name}/group"):
            yield objects_file(f"serving/{stem(template)}.yaml", render_objects(template, values))

    def _claims(self, prefix: str) -> Iterator[Artifact]:
        """What the pods claim, where the layer hands out devices by claims."""
        resources = self.made["resources"]
        if "claim" in resources:
            made = claim_objects(resources["claim"], self.made["namespace"], resources["name"], resources["devices"])
            yield objects_file(f"serving/{prefix}resource-claim-template.yaml", made)

    def _pod(self, *, leader: bool) -> dict[str, Any]:
        context, key, serves = (
            self._context,
            self.engine.endpoint.api_key_env,
            leader or self.made["processes"]["everyPod"],
        )
        values = {
            **context,
            "env": [entry for entry in context["env"] if serves or entry["name"] != key],
            "serves": serves,
            "script": self._script(leader=leader),
            "pod_labels": {**context["pod_labels"], "stowplan.dev/role": "leader" if leader else "worker"},
        }
        pod, resources = next(render_objects("serving/_pod.yaml.j2", values)), self.made["resources"]
        claims = [resources[kind] for kind in ("claim", "groupClaim") if kind in resources]
        return by_claims(pod, resources["name"], claims) if claims else pod

    def _script(self, *, leader: bool) -> str:
        path, run, handed = self.made["weights"]["path"], self.made["processes"], self.stack.transfer
        place = Place(
            nodes=self.role["nodes"],
            ranks=self.role["parallelism"]["dp"],
            leader=leader,
            every_pod=run["everyPod"],
            processes=run["eachPod"],
            devices=self.role["devicesPerNode"] // run["eachPod"],
            by_rank=handed.processes if handed and run["byRank"] else None,
        )
        return engine_script(self.engine, path, dict(self.role["flags"]), place, self.made)

    @cached_property
    def _context(self) -> Mapping[str, Any]:
        made, labels = self.made, selector(self.plan.pairing, self.role["name"])
        ports = pod_ports(self.role)
        return {
            "name": made["name"],
            "account": self.pairing,
            "namespace": made["namespace"],
            "replicas": self.role["replicas"],
            "nodes": self.role["nodes"],
            "selector": labels,
            "answering": answering(self.plan.pairing, self.role),
            "image": made["image"],
            "endpoint": self.engine.endpoint,
            "python": self.engine.container.python,
            "probes": made["probes"],
            "ports": [
                {"name": port_name(index, self.plan.pairing.platform.port_name), "containerPort": port}
                for index, port in enumerate(ports)
            ],
            "rpc_port": made["ports"].get("rpc"),
            "grace_period": made["gracePeriodSeconds"],
            "progress_deadline": made["deadlines"]["rollout"],
            "monitoring_labels": self.site.monitoring_labels,
            "pull_secrets": [{"name": secret} for secret in self.site.pull_secrets],
            "scaled": self.plan.pairing.spec.max_replicas is not None,
            "priority_class": self.site.priority_class,
            **self._weights(),
            **self._scheduling(labels),
            **self._resources(),
            **self._security(),
            "env": self._env(),
            "hidden_env": hidden_env(self.layer.spec.workload),
            "ready_script": ready_script(
                ports, self.engine.endpoint.models, self.plan.pairing.spec.variant, self.engine.endpoint.api_key_env
            ),
        }

    def _weights(self) -> dict[str, Any]:
        """The volume with the checkpoint, and what the pod waits for before it is read."""
        weights, site = self.made["weights"], self.site.weights
        kind, path = weights["volume"], weights["path"]
        volume: dict[str, Any] = {"persistentVolumeClaim": {"claimName": weights["claim"], "readOnly": True}}
        whole = marker(path)
        if kind == "hostPath":
            volume, whole = {"hostPath": {"path": site.host_path, "type": "Directory"}}, f"{path}/config.json"
        elif kind == "image":
            volume = {"image": {"reference": site.images[self.stack.checkpoint.id], "pullPolicy": "IfNotPresent"}}
            whole = ""
        return {
            "weights_volume": {"name": "weights", **volume},
            "weights_mount": {"name": "weights", "mountPath": path if kind == "image" else "/models", "readOnly": True},
            "wait_script": wait_script(whole) if whole else "",
        }

    def reasons(self) -> dict[str, str]:
        """An annotation for each privilege of the pods, with its reason."""
        return reason_annotations(self.made["security"]["reasons"])

    def _scheduling(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """Where the pods may run, and what marks them for that."""
        layer, workload = self.layer, self.layer.spec.workload
        reasons = self.reasons()
        apart = self.made["workload"] == "StatefulSet" or self.role["name"] not in _COMPONENTS
        within = layer.server.group if self.grouped or apart else None
        return {
            "pod_labels": {**labels, **layer.server.pod_labels},
            "pod_annotations": {
                **layer.server.pod_annotations,
                **(layer.server.distributed_annotations if self.grouped else {}),
                **reasons,
            },
            "reasons": reasons,
            "topology_key": within.topology_key if within else "",
            "neighbours": {"app.kubernetes.io/instance": self.pairing} if apart else labels,
            "by_group": not apart,
            "spread": not self.grouped
            and (self.role["replicas"] > 1 or self.plan.pairing.spec.max_replicas is not None),
            "scheduler_name": workload.scheduler_name,
            "runtime_class": workload.runtime_class,
            "node_selector": {**layer.server.node_selector, **self.site.node_selector},
            "tolerations": [*workload.tolerations, *self.site.tolerations],
            "host_network": self.made["security"]["hostNetwork"],
        }

    def _resources(self) -> dict[str, Any]:
        layer, resources = self.layer, self.made["resources"]
        device = {resources["name"]: str(resources["devices"])}
        if "rdma" in resources:
            device[resources["rdma"]] = "1"
        return {
            "host_mounts": mounts_of(layer.server.host_paths, self.site),
            "host_volumes": volumes_of(layer.server.host_paths, self.site),
            "requests": {"cpu": str(resources["cpu"]), "memory": f"{resources['requestedMemoryGib']}Gi", **device},
            "limits": {"memory": f"{resources['memoryGib']}Gi", **device},
            "shared_memory": f"{resources['sharedMemoryGib']}Gi",
        }

    def _env(self) -> list[dict[str, Any]]:
        endpoint, made = self.engine.endpoint, self.made
        budget = str(made["probes"]["startup"]["budgetSeconds"])
        values = {
            "HF_HUB_OFFLINE": "1",
            "HOME": self.engine.container.home,
            "USER": "root" if made["security"]["runAsUser"] is None else "engine",
            **({endpoint.ready_timeout_env: budget} if endpoint.ready_timeout_env else {}),
            **self.role["env"],
            **dict.fromkeys(made["network"]["interfaceEnv"], self.site.network.interface),
        }
        resource = self.layer.server.resource
        fields = {
            variable: f"metadata.annotations['{annotation.replace('{resource}', resource)}']"
            for variable, annotation in self.layer.spec.workload.env_from_annotation.items()
        } | dict.fromkeys(made["network"]["addressEnv"], "status.podIP")
        entries: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
        entries += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
        entries += key_env(endpoint.api_key_env, endpoint, self.pairing)
        return sorted(entries, key=lambda entry: str(entry["name"]))

    def _security(self) -> dict[str, Any]:
        security = self.made["security"]
        user, pod = security["runAsUser"], dict[str, Any]()
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
            "writable": list(self.engine.container.cache_paths),
        }


def port_name(index: int, plain: str = "http") -> str:
    """Name of a pod's HTTP port: the first has the plain one."""
    return f"{plain}-{index}" if index else plain
