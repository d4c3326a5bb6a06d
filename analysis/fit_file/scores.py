"""The part of `fit.json` about benchmark scores: changes against the base model, and where each score is best."""

from __future__ import annotations

from typing import Literal

from analysis.fit_file.winner import Interval, Region
from sweep.study import Schema

Verdict = Literal["better", "worse", "not distinguishable"]


class Change(Schema):
    """A trial's score minus the base model's, over n questions, in the score's own unit.

    `interval` is of this comparison alone; `p_corrected` is Holm's, over all `comparisons` of the file. `unpaired`: why
    the questions could not be compared one by one, so that the interval is from the two standard errors.
    """

    value: float
    interval: Interval
    n: int
    p_value: float
    p_corrected: float
    unpaired: str | None = None


class BestTrial(Schema):
    """The trial with the best score of all, and how far it is above the base model and above the winner's trial.

    The best of many trials is partly luck: `change_interval` is as wide as the choice among `among` trials makes it.
    """

    trial_id: str
    almr: float
    lr: float
    value: float
    among: int
    change: float | None = None
    change_interval: Interval | None = None
    above_winner: float | None = None
    above_winner_interval: Interval | None = None


class Correlation(Schema):
    """Spearman's rank correlation of the score with the held-out `loss` over the trials, and its interval.

    -1: a lower loss always goes with a higher score.
    """

    loss: str
    value: float
    interval: Interval
    trials: int


class ScoreOptimum(Schema):
    """The optimum of the score's own surface, with its joint region; for this benchmark's questions.

    `holds_winner`: the region contains the winner. `behind`: how much worse the surface is at the
    winner than at the optimum.
    """

    almr: float
    lr: float
    value: float
    value_interval: Interval
    almr_interval: Interval
    lr_interval: Interval
    at_edge: tuple[str, ...]
    region: Region | None
    holds_winner: bool | None
    behind: float
    behind_interval: Interval
    trials: int


class ScoreRow(Schema):
    """One task, or the mean over a group's or a language's tasks. Nothing that was not measured has a number.

    `why_no_change` and `why_no_optimum` give the reason where there is none; `needed`: the number of questions that
    would decide a difference of this size, where these did not.
    """

    name: str
    kind: Literal["task", "group", "language"]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    group: str | None = None
    language: str | None = None
    metric: str | None = None
    higher_is_better: bool = True
    questions: int | None = None
    base: float | None = None
    winner: float | None = None
    change: Change | None = None
    verdict: Verdict | None = None
    needed: int | None = None
    why_no_change: str | None = None
    best: BestTrial | None = None
    correlation: Correlation | None = None
    optimum: ScoreOptimum | None = None
    why_no_optimum: str | None = None


class WinnerTrial(Schema):
    """The scored trial nearest to the winner, which represents it; `steps`: its distance in grid steps."""

    trial_id: str
    almr: float
    lr: float
    seed: int
    steps: float


class GuardVerdict(Schema):
    """A guard of the objective at the winner. `change` is for the better where it is above 0.

    `probability` that the guard is kept; None where it cannot be checked, and `why_not` says why. `source`: what the
    change is read off.
    """

    guard: str
    least: float
    change: float | None = None
    interval: Interval | None = None
    probability: float | None = None
    kept: bool = False
    source: str | None = None
    why_not: str | None = None


class ScoresFile(Schema):
    """Scores of a run. `winner_trial` is None where no trial has a score; `notes` are for readers of the table."""

    level: float
    winner_trial: WinnerTrial | None
    trials: int
    comparisons: int
    rows: tuple[ScoreRow, ...]
    guards: tuple[GuardVerdict, ...] = ()
    notes: tuple[str, ...] = ()
