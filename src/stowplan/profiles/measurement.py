"""Published speed and accuracy, with the load that an estimate needs to be held against them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stowplan.profiles.fact import Items, Model, Sourced, Text


class Measurement(Model):
    """One run with its load and what came out; null: the source does not say."""

    version: str = ""
    """Engine version, as the source prints it."""
    dataset: str = ""
    input_tokens: Annotated[int, Field(ge=1)] | None
    """Mean of a request."""
    output_tokens: Annotated[int, Field(ge=1)] | None
    """Mean of a request."""
    concurrency: Annotated[int, Field(ge=1)] | None
    """Requests in flight at most, in the whole deployment; the batch of an offline run."""
    prefix_reuse: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the input that a prefix cache held."""
    request_rate: Annotated[float, Field(gt=0)] | None = None
    """Requests per second at most."""
    latency: Literal["mean", "median", "p99", "unstated"] = "unstated"
    """What the two latencies are of their distribution."""
    ttft_ms: Annotated[float, Field(gt=0)] | None = None
    tpot_ms: Annotated[float, Field(gt=0)] | None = None
    """(end to end - TTFT) / (output tokens - 1)."""
    output_tokens_per_second_per_device: Annotated[float, Field(gt=0)] | None = None
    total_tokens_per_second_per_device: Annotated[float, Field(gt=0)] | None = None
    """Input and output together, where the source prints only that."""
    note: str = ""

    @property
    def output_rate(self) -> float | None:
        """Output tokens per second and device; of a total, the output's share of the tokens."""
        if self.output_tokens_per_second_per_device or not self.total_tokens_per_second_per_device:
            return self.output_tokens_per_second_per_device
        if not (self.input_tokens and self.output_tokens):
            return None
        share = self.output_tokens / (self.input_tokens + self.output_tokens)
        return self.total_tokens_per_second_per_device * share

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.output_tokens_per_second_per_device and self.total_tokens_per_second_per_device:
            raise ValueError("give output tokens per second; total tokens only where the source prints nothing else")
        return self


class Accuracy(Model):
    """A score that the source reports, or that its test holds."""

    dataset: Text
    score: float
    tolerance: float | None = None
    """How far below a test lets it fall."""


class Published(Sourced):
    """What a source measured on one deployment."""

    measurements: Items[Measurement] = ()
    accuracy: Items[Accuracy] = ()
