"""What each score changed against the base model, in order of the table."""

from __future__ import annotations

from typing import NamedTuple

from analysis.fit.fit import Fit
from analysis.fit_file.winner import Interval


class ScoreChange(NamedTuple):
    """For the better above 0, in the score's own unit. `decided`: it is told from none after correction."""

    name: str
    together: bool
    change: float
    interval: Interval
    decided: bool


class ScoresInfo(NamedTuple):
    """`trial` stands for the winner. `scales`: tasks on a scale of their own are drawn apart from those from 0 to 1."""

    trial: str
    level: float
    scales: list[list[ScoreChange]]


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
            row.name,
            row.kind != "task",
            sign * row.change.value,
            Interval(low=low, high=high),
            row.verdict != "not distinguishable",
        )
        (unit if max(abs(low), abs(high)) <= 1 else other).append(change)
    trial = scores.winner_trial
    return ScoresInfo(trial.trial_id, scores.level, [scale for scale in (unit, other) if scale])
