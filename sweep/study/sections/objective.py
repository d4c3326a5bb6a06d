"""Guards: what a winner's benchmark scores have to keep, as the study states it. A leaf: pydantic only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from sweep.study.fields import Finite, Positive, Schema, exactly_one
from sweep.study.record import Record
from sweep.study.trial import Status

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


class Weights(Schema):
    original: Annotated[Finite, Field(ge=0, le=1e6)] = 0.5
    additional: Annotated[Finite, Field(ge=0, le=1e6)] = 0.5

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.original + self.additional <= 0:
            raise ValueError("both weights are 0: give at least one language a weight")
        return self

    @property
    def shares(self) -> dict[str, float]:
        total = self.original + self.additional
        return {"original": self.original / total, "additional": self.additional / total}


class Objective(Schema):
    """What the winner minimises: the weighted mean of the two held-out losses, or the additional language's loss where
    the original's is at most `forgetting_guard_percent` above the base model's. Intervals are at `level`.

    A winner under which a trial reads a corpus more than `max_epochs` times is refused: up to four passes are about
    as good as new text (Muennighoff et al., arXiv 2305.16264). So is one that does not keep every one of `guards`, on
    benchmark scores, with the probability of the intervals.
    """

    weights: Weights | None = None
    forgetting_guard_percent: Annotated[Finite, Field(ge=0)] | None = None
    level: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    max_epochs: Positive = 4.0
    guards: tuple[ScoreGuard, ...] = ()

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.weights is not None and self.forgetting_guard_percent is not None:
            raise ValueError("give weights or forgetting_guard_percent, not both")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Each language's weight in what is minimised; equal where the study names none."""
        if self.forgetting_guard_percent is not None:
            return {"original": 0.0, "additional": 1.0}
        return (self.weights or Weights()).shares

    def bound(self, base: float) -> float:
        """The forgetting guard's limit of the original language's loss, from the base model's; both in nats per token.

        Infinite without a guard.
        """
        percent = self.forgetting_guard_percent
        return math.inf if percent is None else base * (1 + percent / 100)

    def of_losses(self, loss: Mapping[str, float | None], base: Mapping[str, float | None]) -> float | None:
        """What is minimised, of one trial, in nats per token.

        `loss` and `base` hold a loss for each language, of the trained model and of the base model. None where a loss
        that is needed is missing, or the forgetting guard is broken.
        """
        if self.forgetting_guard_percent is not None:
            original, before = loss.get("original"), base.get("original")
            if original is None or before is None or not original <= self.bound(before):
                return None
        parts = [(share, loss.get(language)) for language, share in self.shares.items() if share]
        return (
            None if any(part is None for _, part in parts) else sum(w * part for w, part in parts if part is not None)
        )

    def of_record(self, record: Record) -> float | None:
        """As `of_losses`, of a trial's record; None of a trial that is not complete."""
        if record.status is not Status.COMPLETE:
            return None
        return self.of_losses(record.loss.model_dump(), record.base_loss.model_dump())
