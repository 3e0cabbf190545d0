"""Benchmarks: measured runs that are no recipe, whose numbers serve the calibration of the estimate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stowplan.profiles.fact import Name, Sourced, Text
from stowplan.profiles.measurement import Published
from stowplan.profiles.recipe import Layout


class BenchmarkSpec(Sourced):
    """Measurements of a run that is no recipe: an offline executor, or a deployment whose command is not public."""

    title: Text
    variant: Name
    server: Name
    engine: Name
    """Whose factors it informs."""
    executor: Text
    """What ran it."""
    checkpoint: Text
    """Checkpoint of the catalogue that is stored in the same formats."""
    nodes: int
    layout: Layout
    draft_tokens: int = 0
    accepted: Annotated[float, Field(ge=1)] = 1.0
    """Tokens that a step yields for each request, as the source assumes or measures."""
    decode_only: bool = False
    """Nothing is prefilled beside the decode steps that were timed."""
    published: Published
