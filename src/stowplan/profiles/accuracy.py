"""What a number format does to the answers of a model, as somebody published it."""

from __future__ import annotations

from stowplan.profiles.fact import Sourced, Text


class Accuracy(Sourced):
    """One published score; `before` where the same harness measured the model it was made from."""

    benchmark: Text
    score: float
    before: float | None = None
    measured_on: Text
    """Engine, chip, and what else the score depends on."""
