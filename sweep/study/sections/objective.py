"""`objective`: the loss that the winner minimises, and the guards that it has to keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from sweep.study.fields import LANGUAGES, Finite, Positive, Section, Text, exactly_one
from sweep.study.record import Record, Status

Weight = Annotated[Finite, Field(ge=0, le=1e6)]


class Guard(Section):
    """A limit on the change against the base model: of a benchmark score (a `task` or `group`) or of a held-out loss
    (a `source`). Give one name and one limit.

    Changes of a score are in its own unit. Where a lower score is better, a rise counts as a drop.
    """

    group: Text | None = None
    """A group of tasks by its name, or all tasks of a language: original or additional."""
    task: Text | None = None
    """A single task by its name."""
    source: Text | None = None
    """A source of the corpora by its name, or a language: its held-out loss is limited."""
    at_most_drop: Annotated[Finite, Field(ge=0)] | None = None
    """The largest drop of the score that is allowed."""
    at_least_gain: Annotated[Finite, Field(ge=0)] | None = None
    """The smallest gain of the score that is required."""
    at_most_percent: Annotated[Finite, Field(ge=0)] | None = None
    """With `source`: its loss may rise by this many percent over the base model's."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        exactly_one(self, "group", "task", "source")
        exactly_one(self, "at_most_drop", "at_least_gain", "at_most_percent")
        if (self.source is None) != (self.at_most_percent is None):
            raise ValueError(f"the limit of {self.name} is of another kind: at_most_percent is for a source, no other")
        return self

    @property
    def name(self) -> str:
        return self.group or self.task or self.source or ""

    @property
    def least(self) -> float:
        """The smallest improvement of a score that keeps the guard; negative where a drop is allowed."""
        return -self.at_most_drop if self.at_most_drop is not None else self.at_least_gain or 0.0

    def bound(self, base: float) -> float:
        """The highest loss of the source that keeps the guard, in nats per token. `base` is the base model's loss."""
        return base * (1 + (self.at_most_percent or 0.0) / 100)

    @property
    def words(self) -> str:
        if self.at_most_percent is not None:
            return f"the loss of {self.name} may rise by at most {self.at_most_percent:g}%"
        if self.at_most_drop is not None:
            return f"{self.name} may drop by at most {self.at_most_drop:g}"
        return f"{self.name} has to gain at least {self.at_least_gain:g}"


class Weights(Section):
    """Weight of each language's held-out loss, or of each source's by its name; only their ratio matters.

    Where sources are named, a loss that is not listed has weight 0.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Weight]  # of sources; the study refuses names that it does not have

    original: Weight = 0.5
    """Weight of the original language."""
    additional: Weight = 0.5
    """Weight of the additional language."""

    @model_validator(mode="before")
    @classmethod
    def _unlisted_is_zero(cls, given: Any) -> Any:
        names_sources = isinstance(given, dict) and bool(given.keys() - {*LANGUAGES})
        return dict.fromkeys(LANGUAGES, 0.0) | given if names_sources else given

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not sum(self.by_name.values()):
            raise ValueError("all weights are 0: give at least one a weight")
        return self

    @property
    def by_name(self) -> dict[str, float]:
        """As stated, by language and source."""
        return {"original": self.original, "additional": self.additional, **(self.__pydantic_extra__ or {})}

    @property
    def shares(self) -> dict[str, float]:
        """Of a sum of 1."""
        total = sum(self.by_name.values())
        return {name: weight / total for name, weight in self.by_name.items()}


class Objective(Section):
    """The loss that the winner minimises, in nats per token, and the conditions under which a winner is refused.

    The default of `max_epochs` is from Muennighoff et al., arXiv 2305.16264: up to four passes over a corpus are about
    as good as new text.
    """

    weights: Weights | None = None
    """Minimise the weighted mean of the held-out losses of languages or sources. Default: both languages, equally."""
    forgetting_guard_percent: Annotated[Finite, Field(ge=0)] | None = None
    """Instead: minimise the additional language's loss; the original's may rise this many percent over the base's."""
    level: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    """Probability that the reported intervals cover."""
    max_epochs: Positive = 4.0
    """Refuse a winner with which a trial reads a corpus more often than this."""
    guards: tuple[Guard, ...] = ()
    """Limits on benchmark scores and losses; the winner has to keep each with probability `level`. Default: none."""

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.weights is not None and self.forgetting_guard_percent is not None:
            raise ValueError("give weights or forgetting_guard_percent, not both")
        return self

    @property
    def score_guards(self) -> tuple[Guard, ...]:
        return tuple(guard for guard in self.guards if guard.source is None)

    @property
    def loss_guards(self) -> tuple[Guard, ...]:
        """The guards of sources."""
        return tuple(guard for guard in self.guards if guard.source is not None)

    @property
    def named_losses(self) -> list[tuple[str, str]]:
        """The field and the name of each loss that weights and guards are given for."""
        weighted = self.weights.by_name if self.weights else {}
        guarded = [(f"guards[{number}].source", g.source) for number, g in enumerate(self.guards) if g.source]
        return [*((f"weights.{name}", name) for name in weighted), *guarded]

    @property
    def shares(self) -> dict[str, float]:
        """Each language's weight in the objective, and that of sources by their names; equal weights by default."""
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

        `loss` and `base` hold the losses of languages and sources, of the trained model and of the base model. None
        where a needed loss is missing, or where the trial exceeds the forgetting guard or the guard of a source.
        """
        if not all(_within(loss.get(name), base.get(name), bound) for name, bound in self._bounds()):
            return None
        parts = [(share, loss.get(name)) for name, share in self.shares.items() if share]
        return (
            None if any(part is None for _, part in parts) else sum(w * part for w, part in parts if part is not None)
        )

    def _bounds(self) -> Iterator[tuple[str, Callable[[float], float]]]:
        """The losses that are limited, each with its limit as a function of the base model's loss."""
        if self.forgetting_guard_percent is not None:
            yield "original", self.bound
        yield from ((guard.name, guard.bound) for guard in self.loss_guards)

    @property
    def guarded(self) -> tuple[str, ...]:
        """The losses that are limited by those of the base model."""
        return tuple(name for name, _ in self._bounds())

    def broken(self, record: Record) -> list[tuple[str, float, float]]:
        """The guards of losses that a recorded trial exceeds: name, loss and highest allowed loss of each."""
        loss, base = record.losses(), record.losses("base_loss")
        known = [(name, loss.get(name), base.get(name), bound) for name, bound in self._bounds()]
        limits = [(name, a, bound(b)) for name, a, b, bound in known if a is not None and b is not None]
        return [(name, reached, most) for name, reached, most in limits if reached > most]

    def of_record(self, record: Record) -> float | None:
        """The objective of a recorded trial, as `of_losses`; None where the trial is not complete."""
        if record.status is not Status.COMPLETE:
            return None
        return self.of_losses(record.losses(), record.losses("base_loss"))


def _within(loss: float | None, base: float | None, bound: Callable[[float], float]) -> bool:
    return loss is not None and base is not None and loss <= bound(base)
