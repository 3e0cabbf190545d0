"""A role under its layout in; how its pods run the engine, and where they answer, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stowplan.plan.model import Role, Stack


@dataclass(frozen=True, slots=True)
class Processes:
    """The engine's processes of a role."""

    each_pod: int
    """In each pod; each has an HTTP port of its own, one after the other."""
    every_pod: bool
    """Each pod of a group answers for its own ranks; else the leader for all."""
    by_rank: bool
    """Each process is one data-parallel rank, which the pod's shell starts."""


def processes(stack: Stack, role: Role) -> Processes:
    """How many processes each pod of the role has, and which pods answer."""
    handed, layout, nodes = stack.transfer, role.placement.layout, role.placement.nodes
    if handed and handed.processes and layout.dp > 1:
        return Processes(layout.dp // nodes, every_pod=True, by_rank=True)
    multi = stack.engine.multi_node
    flag = multi.every_host_flag if multi else None
    fronts = bool(nodes > 1 and flag and role.settings.get("flags", flag))
    return Processes(1, every_pod=fronts, by_rank=False)


def pod_ports(role: Mapping[str, Any]) -> list[int]:
    """HTTP ports of a pod that answers, from the role's document."""
    made = role["deployment"]
    first = made["ports"]["http"]
    return [first + index for index in range(made["processes"]["eachPod"])]


def hosts(role: Mapping[str, Any]) -> Iterator[str]:
    """Names under which the pods that answer are found in the cluster, by the headless Service of their object."""
    made = role["deployment"]
    name, domain = made["name"], f"{made['name']}.{made['namespace']}.svc"
    answering = role["nodes"] if made["processes"]["everyPod"] else 1
    for replica in range(role["replicas"]):
        yield f"{name}-{replica}.{domain}"
        yield from (f"{name}-{replica}-{worker}.{domain}" for worker in range(1, answering))
