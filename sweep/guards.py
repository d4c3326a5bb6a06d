"""Guards: what a winner's benchmark scores have to keep, as the study states it. A leaf: pydantic only."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from sweep.fields import Finite, exactly_one
from sweep.trial import Schema

Name = Annotated[str, Field(min_length=1)]


class ScoreGuard(Schema):
    """A task, or a group of tasks by its name or by its language (original, additional), whose score may fall by
    `at_most_drop`, or has to rise by `at_least_gain`, against the base model. Both in the score's own unit; a score of
    which lower is better "falls" when it rises.
    """

    group: Name | None = None
    task: Name | None = None
    at_most_drop: Annotated[Finite, Field(ge=0)] | None = None
    at_least_gain: Annotated[Finite, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        exactly_one(self, "group", "task")
        exactly_one(self, "at_most_drop", "at_least_gain")
        return self

    @property
    def name(self) -> str:
        return self.group or self.task or ""

    @property
    def least(self) -> float:
        """The smallest change for the better that keeps the guard: below 0 where a drop is allowed."""
        return -self.at_most_drop if self.at_most_drop is not None else self.at_least_gain or 0.0

    @property
    def words(self) -> str:
        if self.at_most_drop is not None:
            return f"{self.name} may drop by at most {self.at_most_drop:g}"
        return f"{self.name} has to gain at least {self.at_least_gain:g}"
