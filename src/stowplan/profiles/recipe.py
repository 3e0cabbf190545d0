"""Recipes: documented deployments, as a layout plus what deviates from the rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stowplan.profiles.fact import Date, Items, Model, Name, Text
from stowplan.profiles.measurement import Published
from stowplan.profiles.rule import Set
from stowplan.profiles.source import Source

Evidence = Literal[
    "recipe_hw_verified",
    "cookbook_verified",
    "vendor_doc",
    "ci_baseline",
    "vendor_recipe_benchmarked",
    "vendor_recipe_day0",
    "project_guide",
    "platform_doc",
    "community",
    "upstream_pr_test",
    "benchmark_harness",
]
EVIDENCE: dict[Evidence, str] = {
    "recipe_hw_verified": "the engine's recipe page marks the hardware as verified; each strategy of it may not have been run",
    "cookbook_verified": "the engine's cookbook marks this very cell as verified",
    "vendor_doc": "a tutorial of the chip's vendor or of the engine",
    "ci_baseline": "a job of the engine's continuous integration, with a gate on throughput or accuracy",
    "vendor_recipe_benchmarked": "a vendor's recipe with published numbers",
    "vendor_recipe_day0": "a vendor's recipe of the release day: it works, nothing was measured",
    "project_guide": "a guide of another project",
    "platform_doc": "documentation of a platform",
    "community": "a repository of one author",
    "upstream_pr_test": "the command in the test section of a merged pull request",
    "benchmark_harness": "a configuration of a benchmark harness",
}
"""What each level of evidence says."""


class Layout(Model):
    """Parallelism of one replica: devices = tp x dp x pp; ep is the expert-parallel group (1: off)."""

    tp: Annotated[int, Field(ge=1)] = 1
    dp: Annotated[int, Field(ge=1)] = 1
    ep: Annotated[int, Field(ge=1)] = 1
    pp: Annotated[int, Field(ge=1)] = 1

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.tp * self.dp * self.pp


class RecipeRole(Model):
    """One role of the deployment."""

    nodes: int
    """Hosts of one instance."""
    layout: Layout
    instances: Annotated[int, Field(ge=1)] = 1
    """Instances of this role in one replica of the deployment."""
    set: Set = Set()
    """What the rules do not already give."""


class Difference(Model):
    """A place where the documented command and ours differ on purpose."""

    key: Text
    documented: Text
    reason: Text


class RecipeSpec(Model):
    """One documented deployment."""

    title: Text
    variant: Name
    servers: Items[Name]
    """Servers that the document names or that its hardware is; a plan on them is `documented`."""
    chips: Items[Name]
    """Chips it was shown on; on another server with one of them a plan follows it as `derived`."""
    engine: Name
    versions: Text
    checkpoint: Text
    mode: Literal["aggregated", "disaggregated"]
    use_cases: Items[Name] = ()
    """Only for these; empty: any."""
    roles: dict[Name, RecipeRole]
    evidence: Evidence
    published: Published | None = None
    """What was measured on this deployment."""
    differences: Items[Difference] = ()
    sources: Annotated[Items[Source], Field(min_length=1)]
    as_of: Annotated[Date, Field(alias="as_of")]
