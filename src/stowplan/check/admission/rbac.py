"""Roles and who has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stowplan.check.admission._examples import thing
from stowplan.check.admission._register import Context, Problem, object_check
from stowplan.check.admission._syntax import dns_subdomain, path_segment, short
from stowplan.check.objects import Object, Path, mapping, sequence

_GROUP = "rbac.authorization.k8s.io"
_SOURCE = "Kubernetes API validation, pkg/apis/rbac/validation"
_API = f"{_GROUP}/v1"
_ROLE = f"roleRef: {{apiGroup: {_GROUP}, kind: Role, name: engine}}\n"


@object_check(
    "M195",
    "Role ClusterRole",
    reason="The API server refuses a rule of a role that names no verbs, no resources, or resources and URLs together.",
    source=f"{_SOURCE}: ValidatePolicyRule.",
    bad=thing(_API, "Role", "rules:\n  - apiGroups: ['']\n    resources: [pods]\n    verbs: []"),
    good=thing(_API, "Role", "rules:\n  - apiGroups: ['']\n    resources: [pods]\n    verbs: [get, list]"),
)
def rules(item: Object, _context: Context) -> Iterator[Problem]:
    """A rule has verbs, and either resources or URLs."""
    gathered = item.data.get("aggregationRule")
    if item.kind == "ClusterRole" and isinstance(gathered, Mapping) and not gathered.get("clusterRoleSelectors"):
        yield Problem(("aggregationRule",), "the aggregation rule has no clusterRoleSelectors")
    for index, entry in enumerate(sequence(item.data.get("rules"))):
        rule, path = mapping(entry), ("rules", index)
        if not rule:
            continue
        if not rule.get("verbs"):
            yield Problem(path, "the rule has no verbs", "give for example [get, list, watch]")
        if rule.get("nonResourceURLs"):
            if item.kind == "Role":
                yield Problem(
                    (*path, "nonResourceURLs"),
                    "a Role grants no URLs",
                    "use a ClusterRole",
                    key=True,
                )
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                yield Problem(
                    (*path, "nonResourceURLs"),
                    "a rule grants either resources or URLs",
                    "make two rules",
                    key=True,
                )
            continue
        for field, hint in (("apiGroups", "give [''] for the core group"), ("resources", "")):
            if not rule.get(field):
                yield Problem(path, f"the rule has no {field}", hint)


@object_check(
    "M196",
    "RoleBinding ClusterRoleBinding",
    reason="The API server refuses a binding to something that is no role, or of a subject it cannot know.",
    source=f"{_SOURCE}: ValidateRoleBinding and ValidateRoleBindingSubject.",
    bad=thing(
        _API,
        "RoleBinding",
        f"{_ROLE}subjects:\n  - {{kind: ServiceAccount, name: engine, apiGroup: {_GROUP}}}",
    ),
    good=thing(
        _API,
        "RoleBinding",
        f"{_ROLE}subjects:\n  - {{kind: ServiceAccount, name: engine, namespace: serving}}",
    ),
)
def binding(item: Object, _context: Context) -> Iterator[Problem]:
    """A binding gives a role to users, groups or service accounts."""
    role = mapping(item.data.get("roleRef"))
    kinds = ("ClusterRole",) if item.kind == "ClusterRoleBinding" else ("Role", "ClusterRole")
    if role.get("apiGroup") not in (None, "", _GROUP):
        yield Problem(("roleRef", "apiGroup"), f"the group of a role is {_GROUP}")
    if isinstance(role.get("kind"), str) and role["kind"] not in kinds:
        yield Problem(
            ("roleRef", "kind"),
            f"a {item.kind} cannot refer to a {short(role['kind'])}",
            f"use {' or '.join(kinds)}",
        )
    name = role.get("name")
    if name == "" or (isinstance(name, str) and path_segment(name)):
        yield Problem(("roleRef", "name"), f"{short(name)} is no name of a role")
    for index, subject in enumerate(sequence(item.data.get("subjects"))):
        yield from _subject(mapping(subject), ("subjects", index), cluster=item.kind == "ClusterRoleBinding")


def _subject(subject: Mapping[str, Any], path: Path, *, cluster: bool) -> Iterator[Problem]:
    kind, name, group = subject.get("kind"), subject.get("name"), subject.get("apiGroup")
    if name == "":
        yield Problem((*path, "name"), "the subject has an empty name")
    if kind == "ServiceAccount":
        if group not in (None, ""):
            yield Problem(
                (*path, "apiGroup"),
                "the group of a ServiceAccount is the empty core group",
                "remove apiGroup",
            )
        if isinstance(name, str) and name and (wrong := dns_subdomain(name)):
            yield Problem((*path, "name"), f"the name {short(name)} {wrong}")
        if cluster and subject.get("namespace") in (None, ""):
            yield Problem(path, "a ServiceAccount of a ClusterRoleBinding needs its namespace")
    elif kind in ("User", "Group"):
        if group not in (None, "", _GROUP):
            yield Problem((*path, "apiGroup"), f"the group of a {kind} is {_GROUP}")
    elif isinstance(kind, str):
        yield Problem(
            (*path, "kind"),
            f"{short(kind)} is no kind of subject",
            "use ServiceAccount, User or Group",
        )
