"""Security contexts, host namespaces and DNS settings of pods."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check, pod_check
from stowplan.check.admission._syntax import (
    dns_subdomain,
    integer,
    local_path,
    short,
    walk,
)
from stowplan.check.objects import Container, Pod, containers, mapping, sequence

_SOURCE = f"{CORE}: ValidateSecurityContext and ValidatePodSecurityContext."
_MAX_ID = 2**31 - 1
_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?\Z")
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_HOST_NETWORK_WITH_USERS = 35
_SELINUX_MOUNTS = 37
_SERVERS, _SEARCHES, _SEARCH_CHARACTERS = 3, 32, 2048


@container_check(
    "M160",
    reason="A container that is privileged, or has CAP_SYS_ADMIN, can always escalate: the API server refuses to deny it that.",
    source=_SOURCE,
    bad=pod("securityContext: {privileged: true, allowPrivilegeEscalation: false}"),
    good=pod("securityContext: {privileged: true}"),
)
def privilege_escalation(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A privileged container does not deny privilege escalation."""
    data = mapping(container.data.get("securityContext"))
    if data.get("allowPrivilegeEscalation") is not False:
        return
    path = ("securityContext", "allowPrivilegeEscalation")
    if data.get("privileged") is True:
        yield Problem(
            path,
            "allowPrivilegeEscalation: false contradicts privileged: true",
            "remove one of them",
        )
    if "CAP_SYS_ADMIN" in sequence(mapping(data.get("capabilities")).get("add")):
        yield Problem(
            path,
            "allowPrivilegeEscalation: false contradicts the capability CAP_SYS_ADMIN",
            "remove one of them",
        )


@pod_check(
    "M422",
    reason="The API server refuses an unmasked /proc without user namespaces, an SELinux policy behind a gate, and impossible names of Windows.",
    source=f"{CORE}: ValidateSecurityContext and validateWindowsSecurityContextOptions.",
    bad=pod("securityContext: {procMount: Unmasked}"),
    good=pod("securityContext: {procMount: Unmasked}", "hostUsers: false"),
)
def special_contexts(pod: Pod, context: Context) -> Iterator[Problem]:
    """Rare security settings have what they need."""
    own = mapping(pod.spec.get("securityContext"))
    if own.get("seLinuxChangePolicy") == "MountOption" and context.minor < _SELINUX_MOUNTS:
        place = (*pod.spec_path, "securityContext", "seLinuxChangePolicy")
        yield Problem(place, f"Kubernetes 1.{context.minor} takes only Recursive here")
    for data, base in [(pod.spec, pod.spec_path), *((c.data, c.path) for c in containers(pod))]:
        settings, path = mapping(data.get("securityContext")), (*base, "securityContext")
        if settings.get("procMount") == "Unmasked" and pod.spec.get("hostUsers") is not False:
            yield Problem((*path, "procMount"), "procMount: Unmasked needs hostUsers: false of the pod")
        name = mapping(settings.get("windowsOptions")).get("gmsaCredentialSpecName")
        if isinstance(name, str) and (wrong := dns_subdomain(name)):
            yield Problem((*path, "windowsOptions", "gmsaCredentialSpecName"), f"the name {short(name)} {wrong}")


@pod_check(
    "M161",
    reason="The API server refuses user and group numbers outside 0 to 2147483647.",
    source=_SOURCE,
    bad=pod("securityContext: {runAsUser: -1}"),
    good=pod("securityContext: {runAsUser: 1000}"),
)
def user_numbers(pod: Pod, _context: Context) -> Iterator[Problem]:
    """User and group numbers are possible ones."""
    bases = [(pod.spec, pod.spec_path), *((c.data, c.path) for c in containers(pod))]
    fields = (("runAsUser",), ("runAsGroup",), ("fsGroup",), ("supplementalGroups", "*"))
    for data, base in bases:
        context = mapping(data.get("securityContext"))
        for steps in fields if context else ():
            for number, path in walk(context, steps):
                if type(number) is int and not 0 <= number <= _MAX_ID:
                    yield Problem(
                        (*base, "securityContext", *path),
                        f"{steps[0]} {number} is not in the range 0 to {_MAX_ID}",
                    )


@pod_check(
    "M162",
    reason="The API server refuses a seccomp or AppArmor profile whose type and local file do not fit together.",
    source=f"{CORE}: validateSeccompProfileField and ValidateAppArmorProfileField.",
    bad=pod("securityContext:\n  seccompProfile: {type: Localhost}"),
    good=pod("securityContext:\n  seccompProfile: {type: Localhost, localhostProfile: engine.json}"),
)
def profiles(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A local profile is named if, and only if, the type is Localhost."""
    for data, base in [(pod.spec, pod.spec_path), *((c.data, c.path) for c in containers(pod))]:
        for field in ("seccompProfile", "appArmorProfile"):
            profile = mapping(mapping(data.get("securityContext")).get(field))
            path, file = (*base, "securityContext", field), profile.get("localhostProfile")
            if profile.get("type") == "":
                yield Problem((*path, "type"), f"the type of {field} is empty")
            elif profile.get("type") == "Localhost" and file is None:
                yield Problem(path, f"{field} of type Localhost has no localhostProfile")
            elif profile.get("type") in ("RuntimeDefault", "Unconfined") and file is not None:
                yield Problem(
                    (*path, "localhostProfile"),
                    "localhostProfile is allowed only with the type Localhost",
                )
            elif field == "seccompProfile" and isinstance(file, str) and (wrong := local_path(file)):
                yield Problem((*path, "localhostProfile"), f"the path {short(file)} {wrong}")


@pod_check(
    "M163",
    reason="The API server refuses kernel settings with impossible names, given twice, or of a namespace that the pod shares with the host.",
    source=f"{CORE}: validateSysctls.",
    bad=pod(spec="hostNetwork: true\nsecurityContext:\n  sysctls:\n    - {name: net.core.somaxconn, value: '1024'}"),
    good=pod(spec="securityContext:\n  sysctls:\n    - {name: net.core.somaxconn, value: '1024'}"),
)
def sysctls(pod: Pod, _context: Context) -> Iterator[Problem]:
    """Kernel settings have possible names and belong to the pod."""
    seen: set[str] = set()
    base = (*pod.spec_path, "securityContext", "sysctls")
    for index, item in enumerate(sequence(mapping(pod.spec.get("securityContext")).get("sysctls"))):
        name, path = mapping(item).get("name"), (*base, index, "name")
        if not isinstance(name, str):
            continue
        dotted = name.replace("/", ".")
        if not _SYSCTL.match(name) or len(name) > 253:  # noqa: PLR2004 - the length of a subdomain
            yield Problem(path, f"{short(name)} is no name of a kernel setting")
        elif name in seen:
            yield Problem(path, f"the kernel setting {short(name)} is given twice")
        elif pod.spec.get("hostNetwork") is True and dotted.startswith("net."):
            yield Problem(path, f"{short(name)} cannot be set with hostNetwork: true", "set it on the host")
        elif pod.spec.get("hostIPC") is True and (dotted == "kernel.sem" or dotted.startswith(_IPC_SYSCTLS)):
            yield Problem(path, f"{short(name)} cannot be set with hostIPC: true", "set it on the host")
        seen.add(name)


@pod_check(
    "M164",
    reason="The API server refuses a pod that both shares its processes among its containers and uses those of the host.",
    source=_SOURCE,
    bad=pod(spec="hostPID: true\nshareProcessNamespace: true"),
    good=pod(spec="hostPID: true"),
)
def host_processes(pod: Pod, _context: Context) -> Iterator[Problem]:
    """HostPID and shareProcessNamespace exclude each other."""
    if pod.spec.get("hostPID") is True and pod.spec.get("shareProcessNamespace") is True:
        yield Problem(
            (*pod.spec_path, "shareProcessNamespace"),
            "shareProcessNamespace and hostPID exclude each other",
            "remove one of them",
        )


@pod_check(
    "M165",
    reason="A pod with a user namespace of its own cannot use other namespaces of the host; the API server refuses it.",
    source=f"{CORE}: validateHostUsers; hostNetwork is judged only until 1.34.",
    bad=pod(spec="hostUsers: false\nhostPID: true"),
    good=pod(spec="hostUsers: false"),
)
def own_users(pod: Pod, context: Context) -> Iterator[Problem]:
    """hostUsers: false excludes the host's other namespaces."""
    if pod.spec.get("hostUsers") is not False:
        return
    fields = (
        ("hostPID", "hostIPC") if context.minor >= _HOST_NETWORK_WITH_USERS else ("hostNetwork", "hostPID", "hostIPC")
    )
    for field in fields:
        if pod.spec.get(field) is True:
            yield Problem(
                (*pod.spec_path, field),
                f"{field} contradicts hostUsers: false",
                "remove one of them",
            )


@pod_check(
    "M168",
    reason="The API server refuses a deadline of a pod outside 1 to 2147483647 seconds.",
    source=f"{CORE}: ValidatePodSpec.",
    bad=pod(spec="activeDeadlineSeconds: 0"),
    good=pod(spec="activeDeadlineSeconds: 600"),
)
def pod_deadline(pod: Pod, _context: Context) -> Iterator[Problem]:
    """A pod's deadline is a positive number of seconds."""
    number = integer(pod.spec.get("activeDeadlineSeconds"))
    if number is not None and not 1 <= number <= _MAX_ID:
        yield Problem(
            (*pod.spec_path, "activeDeadlineSeconds"),
            f"activeDeadlineSeconds {number} is not in the range 1 to {_MAX_ID}",
        )
