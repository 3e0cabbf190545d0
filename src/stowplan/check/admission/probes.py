"""Probes and lifecycle hooks of containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import pod
from stowplan.check.admission._register import CORE, Context, Problem, container_check
from stowplan.check.admission._syntax import MAX_PORT, integer, port_number_or_name, short, walk
from stowplan.check.objects import Container, Path, Pod, mapping

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_COUNTS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_SOURCE = f"{CORE}: validateProbe and validateHandler."
_GET = "httpGet: {path: /health, port: 8000}"
_DEFAULT_GRACE = 30


def _probes(container: Container) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in _PROBES:
        probe = container.data.get(name)
        if isinstance(probe, Mapping):
            yield name, probe


def _handlers(container: Container) -> Iterator[tuple[Mapping[str, Any], Path]]:
    for name, probe in _probes(container):
        yield probe, (name,)
    for hook in _HOOKS:
        handler = mapping(container.data.get("lifecycle")).get(hook)
        if isinstance(handler, Mapping):
            yield handler, ("lifecycle", hook)


@container_check(
    "M150",
    reason="The API server refuses a probe or hook that does not have exactly one handler.",
    source=_SOURCE,
    bad=pod("readinessProbe:\n  periodSeconds: 5"),
    good=pod(f"readinessProbe:\n  periodSeconds: 5\n  {_GET}"),
)
def one_handler(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A probe or hook has one handler."""
    for handler, path in _handlers(container):
        names = _HOOK_HANDLERS if path[0] == "lifecycle" else _PROBE_HANDLERS
        given = [name for name in names if handler.get(name) is not None]
        if not given:
            yield Problem(path, f"{path[-1]} has no handler", f"give one of {', '.join(names)}", key=True)
        elif len(given) > 1:
            yield Problem(
                (*path, given[-1]),
                f"{path[-1]} has {len(given)} handlers, one is allowed: {', '.join(given)}",
                key=True,
            )


@container_check(
    "M151",
    reason="The API server refuses negative times and thresholds of a probe.",
    source=_SOURCE,
    bad=pod(f"readinessProbe:\n  periodSeconds: -5\n  {_GET}"),
    good=pod(f"readinessProbe:\n  periodSeconds: 5\n  {_GET}"),
)
def probe_counts(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """Times and thresholds of a probe are not negative."""
    for name, probe in _probes(container):
        for field in _COUNTS:
            number = integer(probe.get(field))
            if number is not None and number < 0:
                yield Problem((name, field), f"{field} {number} is negative")


@container_check(
    "M152",
    reason="A liveness or startup probe succeeds at once: the API server refuses another successThreshold than 1.",
    source=f"{CORE}: validateLivenessProbe and validateStartupProbe.",
    bad=pod(f"livenessProbe:\n  successThreshold: 3\n  {_GET}"),
    good=pod(f"readinessProbe:\n  successThreshold: 3\n  {_GET}"),
)
def success_threshold(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """SuccessThreshold is 1 except for readiness."""
    for name, probe in _probes(container):
        number = integer(probe.get("successThreshold"))
        if name != "readinessProbe" and number is not None and number > 1:
            yield Problem((name, "successThreshold"), f"successThreshold {number} of a {name} must be 1")


@container_check(
    "M153",
    reason="The API server refuses a grace period on a readiness probe, which stops nothing, and one that is not positive.",
    source=f"{CORE}: validateReadinessProbe and validateProbe.",
    bad=pod(f"readinessProbe:\n  terminationGracePeriodSeconds: 60\n  {_GET}"),
    good=pod(f"livenessProbe:\n  terminationGracePeriodSeconds: 60\n  {_GET}"),
)
def probe_grace_period(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A probe's grace period is positive, and a readiness probe has none."""
    for name, probe in _probes(container):
        number = integer(probe.get("terminationGracePeriodSeconds"))
        if number is None:
            continue
        path = (name, "terminationGracePeriodSeconds")
        if name == "readinessProbe":
            yield Problem(path, "a readiness probe takes no terminationGracePeriodSeconds", "remove it")
        elif number <= 0:
            yield Problem(path, f"terminationGracePeriodSeconds {number} is not greater than 0")


@container_check(
    "M154",
    reason="The API server refuses a handler without a command, with an impossible port, or with an impossible header name.",
    source=f"{CORE}: validateHTTPGetAction, validateTCPSocketAction, validateGRPCAction and validateExecAction.",
    bad=pod('readinessProbe:\n  httpGet: {path: /health, port: "8000"}'),
    good=pod("readinessProbe:\n  httpGet: {path: /health, port: 8000}"),
)
def handler_fields(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """A handler has a possible port, command and headers."""
    for handler, path in _handlers(container):
        for kind in ("httpGet", "tcpSocket"):
            port = mapping(handler.get(kind)).get("port")
            if wrong := port_number_or_name(port):
                hint = "write the number without quotes" if isinstance(port, str) and port.isdigit() else ""
                yield Problem((*path, kind, "port"), wrong, hint)
        number = integer(mapping(handler.get("grpc")).get("port"))
        if number is not None and not 1 <= number <= MAX_PORT:
            yield Problem((*path, "grpc", "port"), f"{number} is not a port: expected 1 to {MAX_PORT}")
        action = handler.get("exec")
        if isinstance(action, Mapping) and not action.get("command"):
            yield Problem((*path, "exec"), "exec has no command")
        for name, inner in walk(handler, ("httpGet", "httpHeaders", "*", "name")):
            if isinstance(name, str) and not (name and all(c.isascii() and (c.isalnum() or c == "-") for c in name)):
                yield Problem((*path, *inner), f"{short(name)} is no name of an HTTP header")


@container_check(
    "M155",
    reason="The API server refuses a hook that sleeps longer than the pod has to stop.",
    source=f"{CORE}: validateSleepAction.",
    bad=pod("lifecycle:\n  preStop:\n    sleep: {seconds: 60}"),
    good=pod("lifecycle:\n  preStop:\n    sleep: {seconds: 60}", "terminationGracePeriodSeconds: 120"),
)
def sleep_in_hook(container: Container, pod: Pod, _context: Context) -> Iterator[Problem]:
    """A hook sleeps at most for the grace period."""
    grace = pod.spec.get("terminationGracePeriodSeconds")
    period = _DEFAULT_GRACE if grace is None else integer(grace)
    for hook in _HOOKS:
        path = ("lifecycle", hook, "sleep", "seconds")
        seconds = integer(
            mapping(mapping(mapping(container.data.get("lifecycle")).get(hook)).get("sleep")).get("seconds")
        )
        if seconds is not None and period is not None and not 0 <= seconds <= period:
            message = f"the hook sleeps {seconds} s, allowed are 0 to terminationGracePeriodSeconds ({period} s)"
            yield Problem(path, message)


@container_check(
    "M156",
    reason="An init container that ends takes no probes and no hooks; the API server refuses them.",
    source=f"{CORE}: validateInitContainers.",
    bad=pod(
        spec=f"initContainers:\n  - name: fetch\n    image: registry.example/fetch:1\n    readinessProbe:\n      {_GET}"
    ),
    good=pod(
        spec=f"initContainers:\n  - name: fetch\n    image: registry.example/fetch:1\n    restartPolicy: Always\n    readinessProbe:\n      {_GET}"
    ),
)
def init_container_probes(container: Container, _pod: Pod, _context: Context) -> Iterator[Problem]:
    """An init container has probes and hooks only if it keeps running."""
    if not container.init or container.data.get("restartPolicy") == "Always":
        return
    for field in (*_PROBES, "lifecycle"):
        if container.data.get(field) is not None:
            message = f"an init container without restartPolicy: Always takes no {field}"
            yield Problem((field,), message, key=True)
