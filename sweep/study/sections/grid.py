"""`grid`: the ALMRs, LRs and seeds of a study."""

from __future__ import annotations

from typing import Annotated, Any, Self

import pydantic
from pydantic import Field, model_validator

from sweep.study.fields import Count, OneOrMore, Positive, Section, Seed, Share, listed


class LrRange(Section):
    """Log-spaced LRs, both ends included, rounded to four significant digits so that they can be written down."""

    model_config = pydantic.ConfigDict(populate_by_name=True)
    start: Annotated[Positive, Field(alias="from")]
    """The lowest LR."""
    to: Positive
    """The highest LR."""
    points: Annotated[Count, Field(ge=2, le=1000)]
    """Number of LRs."""

    @property
    def values(self) -> tuple[float, ...]:
        ratio = (self.to / self.start) ** (1 / (self.points - 1))
        return tuple(float(f"{self.start * ratio**i:.3e}") for i in range(self.points))


LR_LIST = pydantic.TypeAdapter(tuple[Positive, ...])


class Grid(Section):
    """Every combination of `almr`, `lr` and `seeds` is a point of the grid."""

    almr: OneOrMore[Share]
    """Additional language mixture ratios: the share of training tokens from the additional language, 0 to 1."""
    lr: LrRange | OneOrMore[Positive]
    """Peak learning rates: a list, or a log-spaced range {from: 1e-5, to: 1e-3, points: 5}."""
    seeds: OneOrMore[Seed] = (0,)
    """Seeds of the data order. Several repeat each (ALMR, LR), which measures the noise."""

    @pydantic.field_validator("lr", mode="before")
    @classmethod
    def _range_or_list(cls, value: Any) -> Any:
        # To decide here keeps the errors of the union's other branch out of the user's message.
        return LrRange.model_validate(value) if isinstance(value, dict) else LR_LIST.validate_python(listed(value))

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name, values in (("almr", self.almr), ("lr", self.lrs), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} lists a value twice: {list(values)}")
        return self

    @property
    def points(self) -> list[tuple[float, float, int]]:
        """Every (almr, lr, seed), seed by seed."""
        return [(almr, lr, seed) for seed in self.seeds for almr in self.almr for lr in self.lrs]

    @property
    def lrs(self) -> tuple[float, ...]:
        return self.lr.values if isinstance(self.lr, LrRange) else self.lr
