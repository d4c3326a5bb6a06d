"""Results of replayed searches: of each one, and summaries over repeats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

ALL = "all cells"


class SearchOutcome(NamedTuple):
    """The result of one search after `trials` trials. Units as in MeasuredTable; `time` as SearchedTrials.time."""

    strategy: str
    trials: int
    regret_percent: float
    curve_error: float | None
    curve_excess_percent: float | None
    tokens: float | None
    time: float


@dataclass(frozen=True)
class StrategySummary:
    """A strategy after `trials` trials, over its repeats. `curve_error` and `curve_excess_percent` are means over the
    repeats that have one, `tokens` and `time` (wall-clock, in mean durations of a trial) are means over the repeats;
    None where none is known.
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
    time: float | None

    @classmethod
    def of(cls, outcomes: Sequence[SearchOutcome]) -> Self:
        """The repeats of one strategy and one number of trials."""
        first, regrets = outcomes[0], [outcome.regret_percent for outcome in outcomes]
        tokens = [outcome.tokens for outcome in outcomes]
        return cls(
            strategy=first.strategy,
            trials=first.trials,
            repeats=len(outcomes),
            regret_percent_mean=float(np.mean(regrets)),
            regret_percent_median=float(np.median(regrets)),
            regret_percent_p90=float(np.percentile(regrets, 90)),
            curve_error=_mean([o.curve_error for o in outcomes]),
            curve_excess_percent=_mean([o.curve_excess_percent for o in outcomes]),
            tokens=None if None in tokens else _mean(tokens),
            time=_mean([o.time for o in outcomes if np.isfinite(o.time)]),
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def rows(outcomes: Iterable[SearchOutcome]) -> list[StrategySummary]:
    """One summary per strategy and number of trials, in order of first appearance."""
    groups: dict[tuple[str, int], list[SearchOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.strategy, outcome.trials), []).append(outcome)
    return [StrategySummary.of(group) for group in groups.values()]
