"""The change of each score against the base model, in the order of the table."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from analysis.fit.fit import Fit
from analysis.fit_file.winner import Interval


class ScoreChange(NamedTuple):
    """`change` in the score's unit, above 0: better; `decided`: significant, corrected; `mean`: of several tasks."""

    name: str
    mean: bool
    change: float
    interval: Interval
    decided: bool


class ScoresInfo(NamedTuple):
    """Changes of the chosen trial. `scales`: scores from 0 to 1 and scores on other scales, which are drawn apart."""

    level: float
    scales: list[list[ScoreChange]]

    def table(self) -> pd.DataFrame:
        """Columns what, change, low, high, decided."""
        every = [one for scale in self.scales for one in scale]
        rows = [(one.name, one.change, one.interval.low, one.interval.high, one.decided) for one in every]
        return pd.DataFrame(rows, columns=["what", "change", "low", "high", "decided"])


def scores_info(fit: Fit) -> ScoresInfo | None:
    """None where no change is known."""
    scores = fit.file.scores
    if scores is None or scores.winner_trial is None or not scores.comparisons:
        return None
    unit: list[ScoreChange] = []
    other: list[ScoreChange] = []
    for row in scores.rows:
        if row.change is None:
            continue
        sign, ends = 1 if row.higher_is_better else -1, row.change.interval
        low, high = sorted((sign * ends.low, sign * ends.high))
        change = ScoreChange(
            name=fit.score_label(row.name),
            mean=row.kind != "task",
            change=sign * row.change.value,
            interval=Interval(low=low, high=high),
            decided=row.verdict != "not distinguishable",
        )
        (unit if max(abs(low), abs(high)) <= 1 else other).append(change)
    return ScoresInfo(scores.level, [scale for scale in (unit, other) if scale])
