"""How a pod finds hosts by name, and the gates that it waits at."""

from __future__ import annotations

from collections.abc import Iterator

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, pod_check
from stowplan.check.admission._syntax import dns_subdomain, is_ip, qualified_name, repeats, short, text, walk
from stowplan.check.objects import Pod, mapping, sequence

_SERVERS, _SEARCHES, _SEARCH_CHARACTERS = 3, 32, 2048
_UNDERSCORES = 34  # since then search domains may hold them


@pod_check(
    "M166",
    reason="The API server refuses DNS settings without a server where they are the only ones, and lists that no resolver can hold.",
    source=f"{CORE}: validatePodDNSConfig.",
    bad=pod(spec='dnsPolicy: "None"'),
    good=pod(spec='dnsPolicy: "None"\ndnsConfig:\n  nameservers: [10.0.0.10]'),
)
def dns_settings(pod: Pod, context: Context) -> Iterator[Problem]:
    """DNS settings have servers where needed, and short enough lists."""
    config, path = mapping(pod.spec.get("dnsConfig")), (*pod.spec_path, "dnsConfig")
    servers, searches = sequence(config.get("nameservers")), sequence(config.get("searches"))
    if pod.spec.get("dnsPolicy") == "None" and not servers:
        yield Problem((*pod.spec_path, "dnsPolicy"), "dnsPolicy None needs dnsConfig with a name server")
    if len(servers) > _SERVERS:
        yield Problem(
            (*path, "nameservers"),
            f"{len(servers)} name servers are given, at most {_SERVERS} are allowed",
        )
    if len(searches) > _SEARCHES or len(" ".join(text(s) for s in searches)) > _SEARCH_CHARACTERS:
        message = f"the search list is longer than {_SEARCHES} domains or {_SEARCH_CHARACTERS:,} characters"
        yield Problem((*path, "searches"), message)
    for index, search in enumerate(searches):
        domain = text(search).removesuffix(".").replace("_", "x" if context.minor >= _UNDERSCORES else "_")
        if text(search) != "." and (wrong := dns_subdomain(domain)):
            yield Problem((*path, "searches", index), f"the search domain {short(text(search))} {wrong}")
    for index, option in enumerate(sequence(config.get("options"))):
        if not mapping(option).get("name"):
            yield Problem((*path, "options", index), "the option has no name")
    for index, server in enumerate(servers):
        if isinstance(server, str) and not is_ip(server):
            yield Problem((*path, "nameservers", index), f"{short(server)} is not an IP address")


@pod_check(
    "M167",
    reason="The API server refuses host aliases that are no IP address or name no host.",
    source=f"{CORE}: ValidateHostAliases.",
    bad=pod(spec="hostAliases:\n  - {ip: node-1, hostnames: [storage]}"),
    good=pod(spec="hostAliases:\n  - {ip: 10.0.0.7, hostnames: [storage]}"),
)
def host_aliases(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Host aliases map an IP address to host names."""
    for index, item in enumerate(sequence(pod.spec.get("hostAliases"))):
        path, address = (*pod.spec_path, "hostAliases", index), mapping(item).get("ip")
        if isinstance(address, str) and not is_ip(address):
            yield Problem((*path, "ip"), f"{short(address)} is not an IP address")
        for name, inner in walk(item, ("hostnames", "*")):
            if isinstance(name, str) and (wrong := dns_subdomain(name)):
                yield Problem((*path, *inner), f"the host name {short(name)} {wrong}")


@pod_check(
    "M414",
    reason="The API server refuses a gate of a pod whose name is no qualified name, and a scheduling gate given twice.",
    source=f"{CORE}: validateReadinessGates and validateSchedulingGates.",
    bad=pod(spec="schedulingGates:\n  - name: wait for quota"),
    good=pod(spec="schedulingGates:\n  - name: example.com/quota"),
)
def gates(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Gates of a pod have qualified names."""
    for steps in (("readinessGates", "*", "conditionType"), ("schedulingGates", "*", "name")):
        for name, path in walk(pod.spec, steps):
            if isinstance(name, str) and (wrong := qualified_name(name)):
                yield Problem((*pod.spec_path, *path), f"the gate {short(name)} {wrong}")
    for name, path in repeats(walk(pod.spec, ("schedulingGates", "*", "name"))):
        yield Problem((*pod.spec_path, *path), f"the gate {short(text(name))} is given twice")
