"""A kubeconfig in; requests to its API server, and their answers as plain data, out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

import urllib3
from kubernetes import client
from kubernetes.dynamic import DynamicClient, Resource
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError, ResourceNotFoundError

from stowplan.check.objects import Object, mapping, sequence
from stowplan.cluster.kubeconfig import configure, reason
from stowplan.diagnostics import Diagnostic, Location, Refused

_TIMEOUT = (5, 60)
"""Seconds to connect, and to wait for an answer: admission webhooks may take 30."""
_RETRIES = urllib3.Retry(
    total=3,
    connect=1,
    read=0,
    backoff_factor=0.2,
    allowed_methods={"GET", "PATCH"},
    status_forcelist={HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE},
    raise_on_status=False,
)
"""A dry run changes nothing, so that it may be asked again when the server is busy."""
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
CLIENT_SIDE = "kubectl-client-side-apply"
"""The name under which `kubectl apply` without --server-side leaves its traces."""
_CLAIM_VERSIONS = ("v1", "v1beta2", "v1beta1")
"""Of claims, the newest first: Kubernetes 1.33 serves no other than the last two."""


class Answer(NamedTuple):
    """What the server said to one request."""

    status: int
    body: Mapping[str, Any]
    """The object, or a Status."""
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the body is the object that was asked for or would be stored."""
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def details(self) -> Mapping[str, Any]:
        """Those of a Status: kind, name and causes of a refusal."""
        return mapping(self.body.get("details"))

    @property
    def message(self) -> str:
        """The server's own words."""
        return str(self.body.get("message") or self.body.get("reason") or f"HTTP status {self.status}")


@dataclass
class Server:
    """One API server, asked as the user of a kubeconfig; nothing that it is asked changes anything."""

    dynamic: DynamicClient
    namespace: str
    """Of objects that name none."""
    _resources: dict[tuple[str, str], Resource | None] = field(default_factory=dict)

    @property
    def minor(self) -> str:
        """`1.36`."""
        said = self.dynamic.version["kubernetes"]
        return f"{said['major']}.{str(said['minor']).rstrip('+')}"

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """Where objects of a kind are found; none where the server does not serve it."""
        key = (api_version, kind)
        if key not in self._resources:
            group, _, version = api_version.rpartition("/")
            search = {"prefix": "apis", "group": group} if group else {"prefix": "api"}
            with _answering():
                try:
                    self._resources[key] = self.dynamic.resources.get(api_version=version, kind=kind, **search)
                except (ResourceNotFoundError, NotFoundError):
                    self._resources[key] = None
        return self._resources[key]

    def apply(self, item: Object, resource: Resource, manager: str, *, force: bool = False) -> Answer:
        """Server-side apply as a dry run; `force` takes over the fields of other managers."""
        asked = [("dryRun", "All"), ("fieldManager", manager), ("fieldValidation", "Strict")]
        if force:
            asked.append(("force", "true"))
        return self._ask(
            "patch",
            self._path(item, resource),
            body=dict(item.data),
            content_type="application/apply-patch+yaml",
            query_params=asked,
        )

    def merged(self, item: Object, resource: Resource, manager: str) -> Answer:
        """As `apply`; what only kubectl's client-side apply holds is the same hand that applies the files."""
        answer = self.apply(item, resource, manager)
        held = [str(mapping(cause).get("message")) for cause in sequence(answer.details.get("causes"))]
        if answer.status == HTTPStatus.CONFLICT and held and all(f'"{CLIENT_SIDE}"' in said for said in held):
            return self.apply(item, resource, manager, force=True)
        return answer

    def read(self, item: Object, resource: Resource) -> Answer:
        """The live object."""
        return self._ask("get", self._path(item, resource))

    def nodes(self) -> Iterator[Mapping[str, Any]]:
        """Every node.

        Raises:
            Refused: the user may not list them.
        """
        return self._listed("/api/v1/nodes", "its nodes")

    def resource_slices(self) -> list[Mapping[str, Any]]:
        """What drivers hand out by claims; nothing where the server has no such kind, or does not show it to the user."""
        found = (self.resource(f"resource.k8s.io/{version}", "ResourceSlice") for version in _CLAIM_VERSIONS)
        served = next(filter(None, found), None)
        try:
            return list(self._listed(served.path(), "what is claimed")) if served else []
        except Refused:
            return []

    def _listed(self, path: str, what: str) -> Iterator[Mapping[str, Any]]:
        token: str | None = ""
        while token is not None:
            answer = self._ask("get", path, **({"_continue": token} if token else {}))
            if not answer.accepted:
                raise unreachable(f"does not list {what}: {answer.message}")
            yield from (item for item in sequence(answer.body.get("items")) if isinstance(item, Mapping))
            token = mapping(answer.body.get("metadata")).get("continue") or None

    def _path(self, item: Object, resource: Resource) -> str:
        """Names are quoted: one of a hostile manifest must not lead to another resource."""
        namespace = quote(item.namespace or self.namespace, safe="") if resource.namespaced else None
        return str(resource.path(name=quote(item.name, safe=""), namespace=namespace))

    def _ask(self, method: str, path: str, **asked: Any) -> Answer:
        with _answering():
            try:
                answer = self.dynamic.request(method, path, serialize=False, _request_timeout=_TIMEOUT, **asked)
            except DynamicApiError as error:
                return Answer(int(error.status), _parsed(error.body), _warnings(error.headers))
        return Answer(answer.status, _parsed(answer.data), _warnings(answer.headers))


def connect(context: str | None = None) -> Server:
    """The server of the kubeconfig (of `KUBECONFIG`, else the default one), or of the pod that this runs in.

    Raises:
        Refused: there is no kubeconfig, it is not valid, or the server does not answer its user (all: exit 2).
    """
    configuration = client.Configuration()
    namespace = configure(configuration, context)
    configuration.retries = _RETRIES
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the kubeconfig's own choice
    api = client.ApiClient(configuration)
    with _answering(configuration.host), TemporaryDirectory(prefix="stowplan-") as folder:
        # the client's default cache is a file that others on the machine can guess
        dynamic = DynamicClient(api, cache_file=str(Path(folder) / "discovery.json"))
    return Server(dynamic, namespace)


@contextmanager
def _answering(host: str = "the API server") -> Iterator[None]:
    """Whatever keeps a server from answering is the answer that it cannot be asked."""
    try:
        yield
    except DynamicApiError as error:
        answer = Answer(int(error.status), _parsed(error.body))
        what = "does not know the user of the kubeconfig" if error.status in _DENIED else "does not say what it serves"
        raise unreachable(f"{what}: {answer.message}", host) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(f"does not answer: {reason(error)}", host) from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise unreachable(f"does not answer as an API server does: {reason(error)}", host) from None


def unreachable(message: str, host: str = "the API server") -> Refused:
    """The answer where nothing can be said of a cluster."""
    hint = "`kubectl cluster-info` tells whether the cluster answers; --context names another one"
    return Refused([Diagnostic("K002", message, Location(host), hint=hint)], unreadable=True)


def _parsed(text: bytes | str | None) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(text or "{}"))
    except ValueError:
        told = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return {"message": told.strip()}


def _warnings(headers: Any) -> tuple[str, ...]:
    """Texts of `Warning: 299 - "TEXT"`, as RFC 7234 writes them."""
    given = headers.getlist("Warning") if hasattr(headers, "getlist") else []
    return tuple(
        json.loads(found) if found.startswith('"') else found for found in (w.split(" ", 2)[-1] for w in given)
    )
