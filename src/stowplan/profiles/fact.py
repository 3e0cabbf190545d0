"""The building blocks of every profile: strict models, and facts that carry their source."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from stowplan.profiles.source import Source, is_derived, is_missing

T = TypeVar("T")

Confidence = Literal["primary", "secondary", "estimate"]
Scalar = str | int | float | bool


def as_tuple(value: object) -> object:
    """A YAML list as the tuple that a frozen model keeps."""
    return tuple(value) if isinstance(value, list) else value


Items = Annotated[tuple[T, ...], BeforeValidator(as_tuple)]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=80)]
Versions = Annotated[str, Field(pattern=r"^((>=|<=|==|<|>)[0-9][0-9a-z.]*)(,(>=|<=|==|<|>)[0-9][0-9a-z.]*)*$")]
Settings = dict[str, JsonValue]


class Model(BaseModel):
    """Frozen, strict, camelCase in YAML, and no field that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class Said(Model):
    """Who says something, when it was read, and how sure that is."""

    source: Source
    """What a reader can open; "measured by ...", "computed from ...", "assumption" or "estimate" where nobody can."""
    as_of: Annotated[Date, Field(alias="as_of")]
    """Date of the source that was read."""
    confidence: Confidence
    """primary: vendor, engine code or hardware log; secondary: press, third party; estimate: computed."""
    note: str = ""

    @model_validator(mode="after")
    def _derived_is_an_estimate(self) -> Self:
        if is_derived(self.source) and self.confidence != "estimate":
            raise ValueError("what is computed, assumed or estimated has the confidence estimate")
        return self


class Claim(Said):
    """What another source says of the same thing."""

    value: JsonValue


class Sourced(Said):
    """Provenance of one number, or of a group of numbers that one source gives together."""

    conflicts: Items[Claim] = ()
    """What other sources say; all are kept."""
    used_because: str = ""
    """Why this value is used and not one of `conflicts`."""

    @model_validator(mode="after")
    def _provenance(self) -> Self:
        if self.conflicts and not self.used_because:
            raise ValueError("a fact with conflicts says in usedBecause why its own value is used")
        if is_missing(self.source) and self._states():
            raise ValueError("a value has a source: where none was found, the value is null")
        return self

    def _states(self) -> bool:
        """Whether it says anything; what is unknown may go without a source."""
        return True


class Bounds(Model):
    """Between what an unknown value certainly lies."""

    low: float
    high: float


class Fact(Sourced, Generic[T]):
    """One value with its source; `value: null` is legal and says what would settle it."""

    value: T | None
    unit: str = ""
    bounds: Bounds | None = None
    settled_by: str = ""
    """What would turn an unknown value into a known one."""

    @model_validator(mode="after")
    def _unknown_says_what_settles_it(self) -> Self:
        if self.value is None and not self.settled_by:
            raise ValueError("an unknown value says in settledBy what would settle it")
        return self

    def _states(self) -> bool:
        return self.value is not None
