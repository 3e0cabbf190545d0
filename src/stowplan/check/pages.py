"""The page of every code that `check` gives for manifests: those of the checks, and those of the schema level."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from stowplan.check.registry import Check, all_checks
from stowplan.diagnostics import Level, Severity

_UNREAD = "https://kubernetes.io/docs/concepts/overview/working-with-objects/#required-fields"
_CUSTOM = "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/"
_WIDGET = "apiVersion: example.com/{version}\nkind: Widget\nmetadata: {{name: w}}\nspec: {spec}\n"
_MAP = "apiVersion: v1\n{kind}metadata: {{name: settings}}\ndata: {data}\n"
_IGNORED = "# stowplan: ignore {}\n" + _MAP.format(kind="kind: ConfigMap\n", data="{mode: '1'}")


class Page(NamedTuple):
    """What `explain` and docs/reference say of a code."""

    code: str
    title: str
    level: Level
    severity: Severity
    reason: str
    source: str
    bad: str
    good: str
    kinds: tuple[str, ...] = ()
    """Kinds that are looked at; none: every object."""

    def text(self) -> str:
        """The page without its examples."""
        return f"{self.title}\n\n{self.reason}\nSource: {self.source}"


@cache
def pages() -> dict[str, Page]:
    """Every page, in order of the code."""
    found = [*_SCHEMA_LEVEL, *map(_page, all_checks())]
    return {page.code: page for page in sorted(found)}


def page_of(code: str) -> Page | None:
    """The page of a code; codes of profiles, plans and files are told where they occur."""
    return pages().get(code)


def _page(check: Check) -> Page:
    kinds = tuple(sorted(check.kinds or ()))
    return Page(
        check.code, check.title, check.level, check.severity, check.reason, check.source, check.bad, check.good, kinds
    )


_SCHEMA_LEVEL = (
    Page(
        "M001",
        "A document of manifests is an object with apiVersion and kind.",
        "schema",
        "error",
        "Nothing can be created from a text that does not say what it is.",
        _UNREAD,
        _MAP.format(kind="", data="{mode: '1'}"),
        _MAP.format(kind="kind: ConfigMap\n", data="{mode: '1'}"),
    ),
    Page(
        "M002",
        "The version of Kubernetes, or the definition of a custom kind, serves the object's apiVersion and kind.",
        "schema",
        "error",
        "The API server answers that there is no such resource.",
        "https://kubernetes.io/docs/reference/using-api/deprecation-guide/",
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: engine}\nspec: {maxUnavailable: 1}\n",
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: engine}\nspec: {maxUnavailable: 1}\n",
    ),
    Page(
        "M003",
        "There is a schema for the object and its fields.",
        "schema",
        "unchecked",
        "Without the definition of its kind, nobody can say offline whether the object is right. Give it with --crds; --strict makes this an error.",
        _CUSTOM,
        _WIDGET.format(version="v1", spec="{size: 3}"),
        _MAP.format(kind="kind: ConfigMap\n", data="{mode: '1'}"),
    ),
    Page(
        "M004",
        "Fields, types and values are those of the schema.",
        "schema",
        "error",
        "The API server refuses the object: unknown fields too, where the client asks for strict validation, as kubectl does.",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation",
        _MAP.format(kind="kind: ConfigMap\n", data="{mode: 1}"),
        _MAP.format(kind="kind: ConfigMap\n", data="{mode: '1'}"),
    ),
    Page(
        "M005",
        "The version of a custom kind is not deprecated by its definition.",
        "schema",
        "warning",
        "The API server warns; a later release of the project serves the version no more.",
        _CUSTOM,
        _WIDGET.format(version="v1beta1 # deprecated: true in its definition", spec="{size: 3}"),
        _WIDGET.format(version="v1", spec="{size: 3}"),
    ),
    Page(
        "M006",
        "An object of a custom kind keeps the rules of its definition.",
        "schema",
        "error",
        "The API server evaluates x-kubernetes-validations on creation and refuses the object with the rule's message.",
        f"{_CUSTOM}#validation-rules",
        _WIDGET.format(version="v1", spec="{size: 3, most: 2} # rule: self.size <= self.most"),
        _WIDGET.format(version="v1", spec="{size: 2, most: 2}"),
    ),
    Page(
        "M007",
        "The rules of a custom kind's definition can be evaluated here.",
        "schema",
        "unchecked",
        "The library that evaluates rules lacks a function or a type that this one needs; only a server can judge it.",
        f"{_CUSTOM}#available-validation-libraries",
        _WIDGET.format(version="v1", spec="{day: today} # rule: format.date().validate(self.day) == optional.none()"),
        _WIDGET.format(version="v1", spec="{size: 2} # rule: self.size <= 9"),
    ),
    Page(
        "M008",
        "An ignore leaves something out.",
        "schema",
        "warning",
        "An ignore that nothing needs any more hides the next finding of its code.",
        "docs/how-to/check-in-ci.md",
        _IGNORED.replace("{}", "D102 because the registry has no tags"),
        _MAP.format(kind="kind: ConfigMap\n", data="{mode: '1'}"),
    ),
    Page(
        "M009",
        "An ignore names codes and a reason.",
        "schema",
        "error",
        "Whoever reads the file later must be able to judge whether the reason still holds.",
        "docs/how-to/check-in-ci.md",
        _IGNORED.replace("{}", "D102"),
        "# stowplan: ignore M003 because the kind is our own\n" + _WIDGET.format(version="v1", spec="{size: 3}"),
    ),
)
