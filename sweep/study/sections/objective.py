"""`objective`: the loss that the winner minimises, and the guards that it has to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from sweep.study.fields import Finite, Positive, Section, Text, exactly_one
from sweep.study.record import Record, Status


class ScoreGuard(Section):
    """A limit on the change of a benchmark score against the base model: one `task` or `group`, one limit.

    Changes are in the score's own unit. Where a lower score is better, a rise counts as a drop.
    """

    group: Text | None = None
    """A group of tasks by its name, or all tasks of a language: original or additional."""
    task: Text | None = None
    """A single task by its name."""
    at_most_drop: Annotated[Finite, Field(ge=0)] | None = None
    """The largest drop that is allowed."""
    at_least_gain: Annotated[Finite, Field(ge=0)] | None = None
    """The smallest gain that is required."""

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
        """The smallest improvement that keeps the guard; negative where a drop is allowed."""
        return -self.at_most_drop if self.at_most_drop is not None else self.at_least_gain or 0.0

    @property
    def words(self) -> str:
        if self.at_most_drop is not None:
            return f"{self.name} may drop by at most {self.at_most_drop:g}"
        return f"{self.name} has to gain at least {self.at_least_gain:g}"


class Weights(Section):
    """Weight of each language's held-out loss; only their ratio matters."""

    original: Annotated[Finite, Field(ge=0, le=1e6)] = 0.5
    """Weight of the original language."""
    additional: Annotated[Finite, Field(ge=0, le=1e6)] = 0.5
    """Weight of the additional language."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.original + self.additional <= 0:
            raise ValueError("both weights are 0: give at least one language a weight")
        return self

    @property
    def shares(self) -> dict[str, float]:
        total = self.original + self.additional
        return {"original": self.original / total, "additional": self.additional / total}


class Objective(Section):
    """The loss that the winner minimises, in nats per token, and the conditions under which a winner is refused.

    The default of `max_epochs` is from Muennighoff et al., arXiv 2305.16264: up to four passes over a corpus are about
    as good as new text.
    """

    weights: Weights | None = None
    """Minimise the weighted mean of the two held-out losses. Default: equal weights."""
    forgetting_guard_percent: Annotated[Finite, Field(ge=0)] | None = None
    """Instead: minimise the additional language's loss; the original's may rise this many percent over the base's."""
    level: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    """Probability that the reported intervals cover."""
    max_epochs: Positive = 4.0
    """Refuse a winner with which a trial reads a corpus more often than this."""
    guards: tuple[ScoreGuard, ...] = ()
    """Limits on benchmark scores; the winner has to keep each with probability `level`. Default: none."""

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.weights is not None and self.forgetting_guard_percent is not None:
            raise ValueError("give weights or forgetting_guard_percent, not both")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Each language's weight in the objective; equal weights by default."""
        if self.forgetting_guard_percent is not None:
            return {"original": 0.0, "additional": 1.0}
        return (self.weights or Weights()).shares

    def bound(self, base: float) -> float:
        """The highest loss of the original language that the forgetting guard allows, in nats per token.

        `base` is the base model's loss. Infinite without a guard.
        """
        percent = self.forgetting_guard_percent
        return math.inf if percent is None else base * (1 + percent / 100)

    def of_losses(self, loss: Mapping[str, float | None], base: Mapping[str, float | None]) -> float | None:
        """The objective of one trial, in nats per token.

        `loss` and `base` hold each language's loss of the trained model and of the base model. None where a needed
        loss is missing, or where the trial exceeds the forgetting guard.
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
        """The objective of a recorded trial, as `of_losses`; None where the trial is not complete."""
        if record.status is not Status.COMPLETE:
            return None
        return self.of_losses(record.loss.model_dump(), record.base_loss.model_dump())
