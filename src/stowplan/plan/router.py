"""Roles with the numbers of their objects in; the router that stands before prefill and decode, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from stowplan.plan.images import mirrored
from stowplan.plan.model import Candidate, Plan
from stowplan.plan.processes import hosts, pod_ports
from stowplan.profiles.engine import Router

ROUTER = "router"
COPIES = 2
"""Of what stands before the engines: one may be replaced while the other answers."""

_Role = Mapping[str, Any]
_Name = Literal["prefill", "decode"]
_NAMES: tuple[_Name, _Name] = ("prefill", "decode")


def router(plan: Plan, chosen: Candidate, roles: Sequence[_Role]) -> dict[str, Any] | None:
    """Image, command and addresses of the router; None where the pairing has one role, or an operator brings one."""
    handed = chosen.stack.transfer
    if handed is None or handed.router is None:
        return None
    spec, by_name, site = handed.router, {role["name"]: role for role in roles}, plan.pairing.site
    public = mirrored(spec.image, site.registry_mirrors) if spec.image else roles[0]["deployment"]["image"]
    waits = max(role["deployment"]["probes"]["startup"]["budgetSeconds"] for role in roles)
    return {
        "name": spec.name,
        "image": site.images.get(spec.name, public),
        "replicas": COPIES,
        "command": [*spec.command, *_flags(spec, by_name, waits)],
        "port": spec.port,
        "health": spec.health,
        "keyEnv": spec.key_env,
        "runAsUser": spec.run_as,
        "waitSeconds": waits,
        "engines": {
            name: [f"http://{host}:{port}" for host, port in _addresses(role)] for name, role in by_name.items()
        },
        "source": spec.source,
    }


def _addresses(role: _Role) -> Iterator[tuple[str, int]]:
    for host in hosts(role):
        yield from ((host, port) for port in pod_ports(role))


def _flags(spec: Router, roles: Mapping[str, _Role], waits: int) -> Iterator[str]:
    for flag, value in spec.set.items():
        yield from (flag,) if value is True else (flag, str(value))
    yield from (spec.flags.port, str(spec.port))
    if spec.flags.startup:
        yield from (spec.flags.startup, str(waits))
    ranks = {_ranks_behind(role) for role in roles.values()}
    if spec.flags.ranks and len(ranks) == 1 and ranks != {1}:
        yield from (spec.flags.ranks, str(*ranks))
    for name in _NAMES:
        yield from _METHODS[spec.method](spec, name, roles[name])


def _ranks_behind(role: _Role) -> int:
    """Data-parallel ranks that one address stands for."""
    run = role["deployment"]["processes"]
    fronts: int = (role["nodes"] if run["everyPod"] else 1) * run["eachPod"]
    ranks: int = role["parallelism"]["dp"]
    return ranks // fronts


def _urls(spec: Router, name: _Name, role: _Role) -> Iterator[str]:
    (flag,) = spec.flags.peers[name]
    variable = spec.flags.bootstrap_env if name == "prefill" else None
    bootstrap = [role["env"][variable]] if variable else []
    return chain.from_iterable((flag, f"http://{host}:{port}", *bootstrap) for host, port in _addresses(role))


def _hosts_and_ports(spec: Router, name: _Name, role: _Role) -> Iterator[str]:
    hosts_flag, ports_flag = spec.flags.peers[name]
    addresses = list(_addresses(role))
    yield from (hosts_flag, *(host for host, _ in addresses))
    yield from (ports_flag, *(str(port) for _, port in addresses))


_METHODS: dict[str, Callable[[Router, _Name, _Role], Iterator[str]]] = {
    "urls": _urls,
    "hosts-and-ports": _hosts_and_ports,
}
