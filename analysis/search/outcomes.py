"""What replayed searches found, one by one and over their repeats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

ALL = "all cells"


class SearchOutcome(NamedTuple):
    """What one search had found after `trials` trials."""

    strategy: str
    trials: int
    regret_percent: float
    curve_error: float | None
    curve_excess_percent: float | None
    tokens: float | None


@dataclass(frozen=True)
class StrategySummary:
    """A strategy after `trials` trials, over its repeats. `curve_error` and `curve_excess_percent` are means over the
    repeats that have one, `tokens` the mean of what a search spent; None where there is none.
    """

    strategy: str
    trials: int
    repeats: int
    regret_percent_mean: float
    regret_percent_median: float
    regret_percent_p90: float
    curve_error: float | None
    curve_excess_percent: float | None
    tokens: float | None

    @classmethod
    def of(cls, outcomes: Sequence[SearchOutcome]) -> Self:
        """The repeats of one strategy and one number of trials."""
        first, regrets = outcomes[0], [outcome.regret_percent for outcome in outcomes]
        spread = float(np.mean(regrets)), float(np.median(regrets)), float(np.percentile(regrets, 90))
        errors = _mean([o.curve_error for o in outcomes if o.curve_error is not None])
        excess = _mean([o.curve_excess_percent for o in outcomes if o.curve_excess_percent is not None])
        tokens = [outcome.tokens for outcome in outcomes if outcome.tokens is not None]
        spent = _mean(tokens) if len(tokens) == len(outcomes) else None
        return cls(first.strategy, first.trials, len(outcomes), *spread, errors, excess, spent)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def rows(outcomes: Iterable[SearchOutcome]) -> list[StrategySummary]:
    """One row per strategy and number of trials, in the order in which they first come."""
    groups: dict[tuple[str, int], list[SearchOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.strategy, outcome.trials), []).append(outcome)
    return [StrategySummary.of(group) for group in groups.values()]
