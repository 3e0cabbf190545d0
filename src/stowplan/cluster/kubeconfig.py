"""The user's kubeconfig in; the client's configuration out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubernetes import client, config

from stowplan.check.objects import mapping, sequence
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
    users = _users(file for file in files if file.is_file())
    try:
        config.load_kube_config(file, context=context, client_configuration=configuration, persist_config=False)
        contexts, active = config.list_kube_config_contexts(file)
    except (config.ConfigException, OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _no_cluster(f"cannot be used: {reason(error)}", file) from None
    chosen = mapping(
        (next((c for c in contexts if c["name"] == context), active) if context else active).get("context")
    )
    user = users.get(str(chosen.get("user")), {})
    if any(key in user for key in ("as", "as-groups", "as-uid", "as-user-extra")):
        raise _no_cluster(f"user {chosen.get('user')} asks as somebody else (as:), which is not done here", file)
    if "exec" in user and not (configuration.api_key or configuration.cert_file):
        command = mapping(user["exec"]).get("command")
        raise _no_cluster(f"the credential helper {command} of user {chosen.get('user')} gave nothing", file)
    return str(chosen.get("namespace") or "default")


def _users(files: Iterable[Path]) -> dict[str, Mapping[str, Any]]:
    """Users by name, the first file's going before the others'.

    Raises:
        Refused: a file that is not YAML, which the client answers with a traceback; its line may be a token, and is not shown.
    """
    found: dict[str, Mapping[str, Any]] = {}
    try:
        for file in files:
            for document in read_file(file):
                for entry in map(mapping, sequence(mapping(document.data).get("users"))):
                    found.setdefault(str(entry.get("name")), mapping(entry.get("user")))
    except Refused as refused:
        told = (replace(d, location=d.location and replace(d.location, text="")) for d in refused.report)
        raise Refused(told, unreadable=True) from None
    return found


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
