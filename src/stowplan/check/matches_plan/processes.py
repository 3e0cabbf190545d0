"""Pods that run one process for each rank, and the router before them, against the plan beside the YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.canonical_yaml import dump
from stowplan.check.commands import Command, commands
from stowplan.check.matches_plan._roles import SOURCE, WORKLOADS, made, role_of, roles
from stowplan.check.objects import Bundle, Object, containers, mapping, sequence
from stowplan.check.registry import Found, check

_LOOP = re.compile(r"^for index in ([0-9 ]+); do$", re.MULTILINE)
_PORT = re.compile(r"\$\(\((\d+) \+ index\)\)")
_RANK = re.compile(r"\$\(\(LWS_WORKER_INDEX \* (\d+) \+ index\)\)")

_PLAN: dict[str, Any] = {
    "apiVersion": "stowplan/v1",
    "kind": "Plan",
    "roles": [
        {
            "name": "decode",
            "replicas": 1,
            "nodes": 1,
            "parallelism": {"tp": 1, "dp": 2, "ep": 2, "pp": 1},
            "deployment": {
                "name": "server-decode",
                "ports": {"http": 8000},
                "processes": {"eachPod": 2, "everyPod": True, "byRank": True},
            },
        }
    ],
    "router": {
        "port": 1999,
        "command": ["router", "--decode", "http://server-decode-0.server-decode.serving.svc:8000"],
    },
}
_SET = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: server-decode}
spec:
  serviceName: server-decode
  selector: {matchLabels: {app: decode}}
  template:
    metadata: {labels: {app: decode}}
    spec:
      containers:
        - name: engine
          image: example.com/engine:1.0
          command: [/bin/bash, -c]
          args:
            - |
              for index in 0 1; do
                vllm serve /models/m --port "$((8000 + index))" --data-parallel-size 2 --data-parallel-rank "$((index))" &
              done
              wait -n
"""
_BEFORE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: server-router}}
spec:
  selector: {{matchLabels: {{app: router}}}}
  template:
    metadata: {{labels: {{app: router}}}}
    spec:
      containers:
        - name: router
          image: example.com/router:1.0
          command: [router, --decode, "http://server-decode-0.server-decode.serving.svc:{port}"]
          ports: [{{name: http, containerPort: 1999}}]
"""
_GOOD = f"{dump(_PLAN)}---\n{_SET}---\n{_BEFORE.format(port=8000)}"


def http_ports(role: Mapping[str, Any]) -> dict[str, int]:
    """Name to number of the HTTP ports of a pod of the role."""
    first, count = mapping(made(role).get("ports")).get("http"), mapping(made(role).get("processes")).get("eachPod", 1)
    if not isinstance(first, int) or not isinstance(count, int):
        return {}
    return {f"http-{index}" if index else "http": first + index for index in range(count)}


def computed(command: Command) -> set[str]:
    """Flags whose values the shell computes for each process."""
    return {flag for flag, value in command.flags.items() if isinstance(value, str) and "$((" in value}


def _numbers(pattern: re.Pattern[str], command: Command) -> list[int]:
    return [int(m[1]) for v in command.flags.values() if isinstance(v, str) and (m := pattern.fullmatch(v))]


@check(
    "M310",
    level="plan",
    kinds=WORKLOADS,
    reason="A rank that is not started leaves all others waiting for it, and one at another port is not found by the router.",
    source=SOURCE,
    bad=_GOOD.replace("for index in 0 1; do", "for index in 0 1 2; do"),
    good=_GOOD,
)
def processes(item: Object, bundle: Bundle) -> Iterator[Found]:
    """Each pod starts the plan's processes, one for each of its ranks, at the plan's ports."""
    role = role_of(item, bundle)
    run = mapping(made(role).get("processes"))
    if not run.get("byRank"):
        return
    count, first = run.get("eachPod"), mapping(made(role).get("ports")).get("http")
    for command in commands(item, bundle):
        scripts = [text for text in sequence(command.container.data.get("args")) if isinstance(text, str)]
        started = [len(words.split()) for text in scripts for words in _LOOP.findall(text)]
        if started != [count]:
            yield Found(
                item, command.path, f"starts {started or 'no'} processes by rank; the plan has {count} in each pod"
            )
        if _numbers(_PORT, command) != [first]:
            yield Found(item, command.path, f"gives its processes no ports from {first} on, as the plan has them")
        if role.get("nodes") != 1 and _numbers(_RANK, command) != [count]:
            yield Found(
                item, command.path, f"does not count {count} ranks for each pod before it, as the plan has them"
            )


@check(
    "M311",
    level="plan",
    kinds="Deployment",
    reason="A router that lists another address than the engines have sends requests nowhere.",
    source=SOURCE,
    bad=_GOOD.replace('serving.svc:8000"]', 'serving.svc:9000"]'),
    good=_GOOD,
)
def router(item: Object, bundle: Bundle) -> Iterator[Found]:
    """The router's command and port are the plan's."""
    wanted = mapping((bundle.plan or {}).get("router"))
    if not wanted or not item.name.endswith("-router"):
        return
    for pod in item.pods:
        for container in containers(pod):
            if container.init:
                continue
            if container.data.get("command") != wanted.get("command"):
                yield Found(item, (*container.path, "command"), "is not the command of the plan's router")
            ports = [mapping(port).get("containerPort") for port in sequence(container.data.get("ports"))]
            if ports != [wanted.get("port")]:
                yield Found(
                    item, (*container.path, "ports"), f"names {ports}; the plan's router has {wanted.get('port')}"
                )


@check(
    "M312",
    level="plan",
    whole_bundle=True,
    reason="A role that nothing runs leaves the others waiting, and the plan's numbers hold for all of them together.",
    source=SOURCE,
    bad=f"{dump(_PLAN)}---\n{_SET.replace('{name: server-decode}', '{name: other}')}",
    good=_GOOD,
)
def every_role(bundle: Bundle) -> Iterator[Found]:
    """Each role of the plan has its workload."""
    held = {item.name for kind in WORKLOADS.split() for item in bundle.of(kind)}
    for role in roles(bundle):
        name = made(role).get("name")
        if held and name and name not in held:
            kind = made(role).get("workload", "workload")
            found = next(item for k in WORKLOADS.split() for item in bundle.of(k))
            yield Found(
                found,
                ("metadata", "name"),
                f"no {kind} {name} is here, which the plan has for its role {role.get('name')}",
            )
