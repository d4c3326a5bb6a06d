"""Scores across all trials: whether the trials differ, and how well the loss predicts the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f as fisher
from scipy.stats import norm, spearmanr

from analysis.fit_file.scores import Correlation
from analysis.fit_file.winner import Interval
from analysis.scores.read import QuestionAnswers, Scored
from analysis.scores.targets import ScoreTarget
from analysis.surfaces.kernels import Array

FEWEST_RANKS = 5  # trials: with fewer, the interval is useless


@dataclass(frozen=True)
class ScoreSpread:
    """A target's scores over the t trials that have it: `index` of the trials and `values` (t,).

    `covariance` (t, t) of the scores' differences from their mean, due to the choice of questions, with `df` degrees of
    freedom; None where neither questions nor standard errors are known.
    """

    index: list[int]
    values: Array
    covariance: Array | None = None
    df: float = 0.0

    @property
    def noise(self) -> float:
        """The standard error of one trial's score against the others, without the part that all share."""
        if self.covariance is None:
            return 0.0
        return float(np.sqrt(max(np.trace(self.covariance), 0.0) / (len(self.index) - 1)))

    def p_value(self) -> float | None:
        """Test that all trials have the same score: repeated-measures analysis of variance over the questions, with the
        degrees of freedom of Greenhouse and Geisser (1959, Psychometrika 24) for unequally correlated trials. None
        where the errors are not known.
        """
        if self.covariance is None or len(self.index) < 2:
            return None
        trace, squares = float(np.trace(self.covariance)), float(np.sum(self.covariance**2))
        if trace <= 0:
            return 1.0 if np.ptp(self.values) == 0 else 0.0
        epsilon = trace**2 / ((len(self.index) - 1) * squares)
        freedom = epsilon * (len(self.index) - 1)
        return float(fisher.sf(self.values.var(ddof=1) / self.noise**2, freedom, freedom * self.df))


def across(scored: Scored, target: ScoreTarget) -> ScoreSpread:
    values = [target.value(model) for model in scored.trials]
    index = [k for k, value in enumerate(values) if value is not None]
    measured = np.array([values[k] for k in index], float)
    if len(index) < 2:
        return ScoreSpread(index=index, values=measured)
    parts = [_covariance([scored.trials[k].answers[task] for k in index]) for task in target.tasks]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return ScoreSpread(index=index, values=measured)
    total = np.asarray(sum(covariance for covariance, _ in known) / len(parts) ** 2)
    # Of the trials' differences from their mean.
    centred = np.asarray(total - total.mean(0) - total.mean(1)[:, None] + total.mean())
    return ScoreSpread(index=index, values=measured, covariance=centred, df=sum(df for _, df in known))


def _covariance(answers: Sequence[QuestionAnswers]) -> tuple[Array, float] | None:
    """The covariance (t, t) of the trials' scores over questions, and its degrees of freedom, questions - 1.

    From the standard errors where not all questions are known; that is too large, since the trials share the questions.
    """
    questions = [a.questions for a in answers if a.questions is not None]
    prompts = {(a.score.version, a.score.prompt_sha256) for a in answers}
    if len(questions) == len(answers) and len({len(q) for q in questions}) == 1 and len(prompts) == 1:
        every = np.array(questions)
        every = every[:, np.isfinite(every).all(axis=0)]
        if every.shape[1] > 2:
            return np.cov(every) / every.shape[1], every.shape[1] - 1.0
    errors = [a.score.stderr for a in answers]
    if any(error is None for error in errors):
        return None
    return np.diag(np.array(errors, float) ** 2), float(min(a.score.n or 0 for a in answers) or np.inf)


def correlation(name: str, loss: ArrayLike, values: ArrayLike, level: float) -> Correlation | None:
    """Spearman's rank correlation; the interval by Fisher's z with the variance of Bonett and Wright (2000,
    Psychometrika 65). None for fewer than five trials, or where either does not vary.
    """
    x, y = np.asarray(loss, float), np.asarray(values, float)
    both = np.isfinite(x + y)
    if both.sum() < FEWEST_RANKS or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return None
    rho = float(spearmanr(x[both], y[both]).statistic)
    half = norm.ppf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (both.sum() - 3))
    low, high = np.tanh(np.arctanh(np.clip(rho, -0.9999, 0.9999)) + np.array([-half, half]))
    return Correlation(
        loss=name,
        value=rho,
        interval=Interval(low=min(float(low), rho), high=max(float(high), rho)),
        trials=int(both.sum()),
    )
