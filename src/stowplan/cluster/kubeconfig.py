"""The user's kubeconfig in; the client's configuration out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from kubernetes import client, config

from stowplan.check.objects import mapping
from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.located_yaml import read_file

_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_DEFAULT = "~/.kube/config"


def configure(configuration: client.Configuration, context: str | None) -> str:
    """Fill in address and credentials; the namespace of the context."""
    given = os.environ.get("KUBECONFIG", "")
    files = [Path(name).expanduser() for name in (given.split(os.pathsep) if given else [_DEFAULT]) if name]
    if not any(file.is_file() for file in files):
        if not given and not context and os.environ.get(_IN_CLUSTER):
            return _in_cluster(configuration)
        missing = (
            f"KUBECONFIG names {given}, which is no file"
            if given
            else f"KUBECONFIG is not set, and there is no {_DEFAULT}"
        )
        raise _no_cluster(missing)
    file = os.pathsep.join(str(file) for file in files)
    _readable(file for file in files if file.is_file())
    try:
        config.load_kube_config(file, context=context, client_configuration=configuration, persist_config=False)
        contexts, active = config.list_kube_config_contexts(file)
    except (config.ConfigException, OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _no_cluster(f"cannot be used: {reason(error)}", file) from None
    chosen = next((c for c in contexts if c["name"] == context), active) if context else active
    return str(mapping(chosen.get("context")).get("namespace") or "default")


def _readable(files: Iterable[Path]) -> None:
    """That each is YAML: the client answers other text with a traceback. The line is not shown: it may be a token."""
    try:
        for file in files:
            read_file(file)
    except Refused as refused:
        told = (replace(d, location=d.location and replace(d.location, text="")) for d in refused.report)
        raise Refused(told, unreadable=True) from None


def _in_cluster(configuration: client.Configuration) -> str:
    try:
        config.load_incluster_config(client_configuration=configuration)
        namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
        return namespace.read_text("utf-8").strip() if namespace.is_file() else "default"
    except config.ConfigException as error:
        raise _no_cluster(f"cannot be used: {reason(error)}", "the pod's service account") from None


def _no_cluster(message: str, place: str = "cluster") -> Refused:
    hint = "set KUBECONFIG to the kubeconfig of a cluster; `stowplan check` needs none"
    return Refused([Diagnostic("K001", message, Location(place), hint=hint)], unreadable=True)


def reason(error: BaseException) -> str:
    """The innermost cause, in one line: clients wrap it several times."""
    while (inner := getattr(error, "reason", None) or error.__cause__) and isinstance(inner, BaseException):
        error = inner
    return " ".join(str(error).split()) or type(error).__name__
