"""The serving objects as someone who runs them reads them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import planned

from stowplan.catalog import Catalog
from stowplan.diagnostics import Refused
from stowplan.plan.deployment import object_name
from stowplan.plan.model import Plan
from stowplan.render.labels import name_by_content
from stowplan.render.pairing import render_pairing

Objects = dict[tuple[str, str], Mapping[str, Any]]


def objects(plan: Plan) -> Objects:
    """Kind and component (its label, else its name) to the object."""
    found = [o for artifact in render_pairing(plan) for o in artifact.objects]
    return {
        (o["kind"], o["metadata"]["labels"].get("app.kubernetes.io/component", o["metadata"]["name"])): o for o in found
    }


def of_kind(plan: Plan, kind: str) -> list[Mapping[str, Any]]:
    return [o for artifact in render_pairing(plan) for o in artifact.objects if o["kind"] == kind]


def pods(plan: Plan) -> Iterator[Mapping[str, Any]]:
    for artifact in render_pairing(plan):
        for item in artifact.objects:
            spec = item.get("spec", {})
            group = spec.get("leaderWorkerTemplate", {})
            templates = (spec.get("template"), group.get("leaderTemplate"), group.get("workerTemplate"))
            yield from (t.get("spec", t) for t in templates if isinstance(t, Mapping))
            yield from (part["podTemplate"]["spec"] for part in spec.get("components", ()))


def containers(plan: Plan) -> Iterator[Mapping[str, Any]]:
    for pod in pods(plan):
        yield from (*pod.get("initContainers", ()), *pod["containers"])


def env(container: Mapping[str, Any]) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container.get("env", ())}


def test_a_container_without_devices_sees_none(plans: dict[str, Plan]) -> None:
    seen = 0
    for plan in plans.values():
        assert plan.layer
        hidden = plan.layer.spec.workload.hide_devices
        for container in containers(plan):
            resources = container["resources"]
            if plan.layer.server.resource not in resources["limits"] and "claims" not in resources:
                assert hidden.items() <= env(container).items(), container["name"]
                seen += bool(hidden)
    assert seen


def test_front_ends_wait_as_long_as_the_startup_probe(plans: dict[str, Plan]) -> None:
    waiting = 0
    for plan in plans.values():
        assert plan.chosen
        name = plan.chosen.stack.engine.endpoint.ready_timeout_env
        for container in containers(plan):
            probe = container.get("startupProbe")
            if probe and name in env(container) and name not in plan.chosen.roles[0].settings.env:
                seconds = probe["periodSeconds"] * probe["failureThreshold"]
                assert seconds - probe["periodSeconds"] < int(env(container)[name]) <= seconds
                waiting += 1
    assert waiting >= 5


def test_what_waits_for_the_weights_waits_longer_than_they_may_take(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        jobs = {o["metadata"]["name"].rpartition("-")[0].rpartition("-")[2]: o["spec"] for o in of_kind(plan, "Job")}
        arrival = next(spec for name, spec in jobs.items() if name in ("download", "quantize"))
        assert jobs["test"]["activeDeadlineSeconds"] > arrival["activeDeadlineSeconds"]
        for deployment in of_kind(plan, "Deployment"):
            assert deployment["spec"]["progressDeadlineSeconds"] > arrival["activeDeadlineSeconds"]


def test_a_changed_job_is_another_job_and_an_unchanged_one_is_not() -> None:
    job = {"kind": "Job", "metadata": {"name": "download"}, "spec": {"backoffLimit": 1}}
    other = {**job, "spec": {"backoffLimit": 2}}
    names = [name_by_content(j)["metadata"]["name"] for j in (job, job, other)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("download-") for name in names)
    service = {**job, "kind": "Service"}
    assert name_by_content(service) == service


def test_a_deployed_job_is_named_by_what_it_runs(plans: dict[str, Plan]) -> None:
    plan = plans["v4-flash-0731.hgx-h200.coding-agent"]
    site = plan.pairing.site.model_copy(
        update={
            "weights": plan.pairing.site.weights.model_copy(
                update={"endpoints": {"huggingface": "https://hub.example.com"}}
            )
        }
    )
    moved = replace(plan, pairing=replace(plan.pairing, site=site))
    names = [{o["metadata"]["name"] for o in of_kind(p, "Job")} for p in (plan, moved)]
    assert len(names[0] & names[1]) == 1, "the smoke test stays, the download is another"


def test_a_rollout_takes_one_pod_or_group_at_a_time(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        assert {o["spec"]["maxUnavailable"] for o in of_kind(plan, "PodDisruptionBudget")} == {1}


def test_metrics_can_be_scraped_where_the_site_monitors(plans: dict[str, Plan]) -> None:
    plan = plans["v4-pro-0813.hgx-b200.chat"]
    silent = replace(
        plan, pairing=replace(plan.pairing, site=plan.pairing.site.model_copy(update={"monitoring": False}))
    )
    peers = [of_kind(p, "NetworkPolicy")[0]["spec"]["ingress"][0]["from"] for p in (plan, silent)]
    assert [any("prometheus" in str(peer) for peer in allowed) for allowed in peers] == [True, False]
    assert of_kind(plan, "PrometheusRule")
    assert not of_kind(silent, "PrometheusRule")


def test_alerts_are_about_the_pairing_s_own_pods(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        name = of_kind(plan, "ServiceAccount")[0]["metadata"]["name"]
        for group in of_kind(plan, "PrometheusRule")[0]["spec"]["groups"]:
            for rule in group["rules"]:
                named = plan.pairing.platform.pod_names
                own = re.escape(named.single) if named else r"(-prefill|-decode)?-\[0-9"
                assert re.search(rf'pod=~"{name}{own}', rule["expr"])


def test_prerequisites_name_every_secret_and_every_custom_kind(plans: dict[str, Plan]) -> None:
    plan = plans["v4-pro.atlas-800i-a3.search"]
    text = next(a.text for a in render_pairing(plan) if a.path.endswith("PREREQUISITES.md"))
    for words in (
        "create secret generic v4-pro-atlas-800i-a3-search-api-key --from-literal=api-key=",
        "LeaderWorkerSet of leaderworkerset.x-k8s.io",
        "PodMonitor, PrometheusRule of monitoring.coreos.com",
        "schedulerProvider: volcano",
        "as ReadWriteMany",
    ):
        assert words in text


@pytest.mark.parametrize("pairing", ["v4-pro.atlas-800i-a3.search", "v4-flash.cambricon-x8-mlu590.chat-short"])
def test_start_scripts_are_bash_and_source_the_image_s_own_setup_first(pairing: str, plans: dict[str, Plan]) -> None:
    plan = plans[pairing]
    assert plan.chosen
    for container in containers(plan):
        if container["name"] == "engine":
            script = container["args"][0]
            subprocess.run(["bash", "-n", "-c", script], check=True)
            positions = [script.index(file) for file in plan.chosen.stack.engine.container.setup]
            assert positions == sorted(positions)
            assert positions[-1] < script.index("exec ")


def pinned_at(plan: Plan, checkpoint: str, revision: str) -> Plan:
    weights = plan.pairing.site.weights.model_copy(update={"revisions": {checkpoint: revision}})
    return replace(plan, pairing=replace(plan.pairing, site=plan.pairing.site.model_copy(update={"weights": weights})))


def test_a_pinned_revision_has_a_folder_of_its_own(catalog: Catalog) -> None:
    plan = planned(catalog, "deepseek-v4-flash", "hgx-h200", "chat")
    checkpoint = "deepseek-ai/DeepSeek-V4-Flash"
    pinned = pinned_at(plan, checkpoint, "0123456789abcdef")
    for one, folder in ((plan, f"/models/{checkpoint}"), (pinned, f"/models/{checkpoint}/0123456789ab")):
        scripts = {c["name"]: c["args"][0] for c in containers(one)}
        assert f"-f {folder}/.complete ]" in scripts["wait-for-weights"]
        assert f"-f {folder}/.complete ]" in scripts["download"]
        assert f" {folder} \\\n" in scripts["engine"]


def test_a_converted_checkpoint_is_of_the_native_revision(plans: dict[str, Plan]) -> None:
    pinned = pinned_at(
        plans["v4-flash.cambricon-x8-mlu590.chat-short"], "deepseek-ai/DeepSeek-V4-Flash", "fedcba9876543210"
    )
    scripts = {c["name"]: c["args"][0] for c in containers(pinned)}
    for name in ("wait-for-weights", "quantize", "engine", "download"):
        assert "/fedcba987654" in scripts[name], name


def test_a_claim_that_could_not_be_changed_is_another_claim(plans: dict[str, Plan]) -> None:
    plan = plans["v4-pro-0813.hgx-b200.chat"]
    names = set()
    for change in ({}, {"storage_class": "fast"}, {"access_mode": "ReadWriteOnce"}, {"headroom_percent": 50}):
        weights = plan.pairing.site.weights.model_copy(update=change)
        site = plan.pairing.site.model_copy(update={"weights": weights})
        moved = replace(plan, pairing=replace(plan.pairing, site=site))
        names.add(of_kind(moved, "PersistentVolumeClaim")[0]["metadata"]["name"])
    assert len(names) == 3, "a larger claim is the same claim"


SGLANG_PRO = {"variant": "deepseek-v4-pro", "server": "hgx-h200", "use_case": "chat", "engine": "sglang", "nodes": 2}


def with_network(plan: Plan, **network: str) -> Plan:
    site = plan.pairing.site.model_copy(update={"network": plan.pairing.site.network.model_copy(update=network)})
    return replace(plan, pairing=replace(plan.pairing, site=site))


def test_an_exchange_by_rdma_needs_the_site_s_resource(catalog: Catalog) -> None:
    plan = with_network(planned(catalog, **SGLANG_PRO), interface="bond0")
    with pytest.raises(Refused, match=r"site default must give network\.rdmaResource"):
        render_pairing(plan)
    group = of_kind(with_network(plan, rdma_resource="rdma/hca"), "LeaderWorkerSet")[0]
    for template in ("leaderTemplate", "workerTemplate"):
        pod = group["spec"]["leaderWorkerTemplate"][template]["spec"]["containers"][0]
        assert pod["resources"]["limits"]["rdma/hca"] == "1"
        assert "IPC_LOCK" in pod["securityContext"]["capabilities"]["add"]


def test_every_pod_of_a_group_by_host_number_knows_its_place(catalog: Catalog) -> None:
    plan = with_network(planned(catalog, **SGLANG_PRO), interface="bond0", rdma_resource="rdma/hca")
    group = of_kind(plan, "LeaderWorkerSet")[0]["spec"]["leaderWorkerTemplate"]
    for template in ("leaderTemplate", "workerTemplate"):
        engine = group[template]["spec"]["containers"][0]
        script = engine["args"][0]
        assert '--dist-init-addr "$LWS_LEADER_ADDRESS:20000"' in script
        assert "--nnodes 2" in script
        assert '--node-rank "$LWS_WORKER_INDEX"' in script
        assert ("SGLANG_API_KEY" in env(engine)) == (template == "leaderTemplate")


def test_an_object_s_name_begins_with_a_letter() -> None:
    assert object_name("4-pro.chat") == "p-4-pro-chat"
    assert len(object_name("4" * 80)) <= 40


def at_site(plan: Plan, **changed: Any) -> Plan:
    return replace(plan, pairing=replace(plan.pairing, site=plan.pairing.site.model_copy(update=changed)))


def test_a_pairing_with_most_replicas_is_scaled_by_what_is_in_flight(plans: dict[str, Plan]) -> None:
    plan = plans["v4-flash.mi355x-8x.recommendation"]
    (scaled,), (deployment,) = of_kind(plan, "ScaledObject"), of_kind(plan, "Deployment")
    assert "replicas" not in deployment["spec"], "the autoscaler's, so that applying again does not reset it"
    spec = scaled["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 6)
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (trigger,) = spec["triggers"]
    endpoint = plan.chosen.stack.engine.endpoint if plan.chosen else None
    assert endpoint and endpoint.running_metric in trigger["metadata"]["query"]
    assert int(trigger["metadata"]["threshold"]) <= plan.pairing.use_case.load.concurrency
    with pytest.raises(Refused, match="must give prometheus"):
        render_pairing(at_site(plan, prometheus=""))


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"replicas": 3, "maxReplicas": 2}, "maxReplicas is 2 and replicas is 3"),
        ({"maxReplicas": 2, "mode": "disaggregated"}, "keep their proportion"),
    ],
)
def test_scaling_that_cannot_be_is_refused(pins: dict[str, Any], message: str, catalog: Catalog) -> None:
    with pytest.raises(Refused, match=message):
        planned(catalog, "deepseek-v4-flash", "atlas-800i-a3", **pins)


def test_pods_of_a_priority_class(plans: dict[str, Plan]) -> None:
    classes = [pod.get("priorityClassName") for pod in pods(plans["v4-flash.mi355x-8x.recommendation"])]
    assert classes.count("serving") == 1, "the engine's pods, not the Jobs'"


def test_replicas_are_spread_over_hosts(plans: dict[str, Plan], catalog: Catalog) -> None:
    several = next(pod for pod in pods(plans["v4-flash.mi355x-8x.recommendation"]) if "priorityClassName" in pod)
    (spread,) = several["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert not any(
        "topologySpreadConstraints" in pod for pod in pods(planned(catalog, "deepseek-v4-flash", "hgx-h200"))
    )


def test_weights_in_a_folder_of_the_hosts(plans: dict[str, Plan]) -> None:
    plan = plans["v4-pro-0813.hgx-b200.chat"]
    weights = plan.pairing.site.weights.model_copy(update={"host_path": "/srv/checkpoints"})
    moved = at_site(plan, weights=weights)
    assert not of_kind(moved, "PersistentVolumeClaim")
    assert len(of_kind(moved, "Job")) == 1, "the smoke test; nothing is fetched"
    (deployment,) = of_kind(moved, "Deployment")
    assert deployment["metadata"]["namespace"].endswith("-privileged")
    assert "stowplan.dev/reason-host-path" in deployment["metadata"]["annotations"]
    pod = deployment["spec"]["template"]["spec"]
    assert {"name": "weights", "hostPath": {"path": "/srv/checkpoints", "type": "Directory"}} in pod["volumes"]
    assert "config.json" in pod["initContainers"][0]["args"][0]


def test_weights_in_an_image(plans: dict[str, Plan]) -> None:
    plan = plans["v4-pro-0813.hgx-b200.chat"]
    reference = "registry.example.com/models/deepseek-v4-pro-0813:1"
    images = {"deepseek-ai/DeepSeek-V4-Pro-0813": reference}
    moved = at_site(plan, weights=plan.pairing.site.weights.model_copy(update={"images": images}))
    assert not of_kind(moved, "PersistentVolumeClaim")
    pod = of_kind(moved, "Deployment")[0]["spec"]["template"]["spec"]
    assert {"name": "weights", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}} in pod["volumes"]
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "weights")
    assert f" {mount['mountPath']} \\\n" in pod["containers"][0]["args"][0]
    assert "initContainers" not in pod


def test_a_checkpoint_that_a_job_makes_needs_a_claim(plans: dict[str, Plan]) -> None:
    plan = plans["v4-flash.cambricon-x8-mlu590.chat-short"]
    weights = plan.pairing.site.weights.model_copy(update={"host_path": "/srv/checkpoints"})
    with pytest.raises(Refused, match="needs a claim"):
        render_pairing(at_site(plan, weights=weights))
