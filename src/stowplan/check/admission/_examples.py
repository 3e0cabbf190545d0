"""Small complete manifests for the examples of the checks."""

from __future__ import annotations

from textwrap import dedent, indent


def _put(lines: str, depth: int) -> str:
    return indent(dedent(lines).strip("\n"), " " * depth) + "\n" if lines else ""


def pod(container: str = "", spec: str = "") -> str:
    """A Pod with more fields in its container and in its spec."""
    head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: engine\nspec:\n"
    return f"{head}{_put(spec, 2)}  containers:\n    - name: engine\n      image: registry.example/engine:1.0\n{_put(container, 6)}"


def workload(kind: str, spec: str = "", pod_spec: str = "", labels: str = "{app: engine}") -> str:
    """A Deployment, DaemonSet, StatefulSet or ReplicaSet."""
    head = f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: engine\nspec:\n  selector:\n    matchLabels: {{app: engine}}\n{_put(spec, 2)}"
    return f"{head}{_template(pod_spec, labels)}"


def _template(pod_spec: str, labels: str = "", depth: int = 2) -> str:
    metadata = f"  metadata:\n    labels: {labels}\n" if labels else ""
    body = "    containers:\n      - name: engine\n        image: registry.example/engine:1.0\n"
    return indent(f"template:\n{metadata}  spec:\n{_put(pod_spec, 4)}{body}", " " * depth)


def job(spec: str = "", pod_spec: str = "restartPolicy: Never", name: str = "convert") -> str:
    """A Job."""
    return f"apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\nspec:\n{_put(spec, 2)}{_template(pod_spec)}"


def cron_job(schedule: str, spec: str = "", name: str = "nightly") -> str:
    """A CronJob."""
    head = f"apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: {name}\nspec:\n  schedule: {schedule}\n{_put(spec, 2)}"
    return f"{head}  jobTemplate:\n    spec:\n{_template('restartPolicy: Never', depth=6)}"


def thing(api_version: str, kind: str, body: str = "", name: str = "engine", metadata: str = "") -> str:
    """Any object: what follows its metadata is given."""
    return f"apiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {name}\n{_put(metadata, 2)}{_put(body, 0)}"


def service(spec: str, name: str = "engine") -> str:
    """A Service."""
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n{_put(spec, 2)}"
