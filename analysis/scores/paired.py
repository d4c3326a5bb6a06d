"""How much one model scores above another, from the same questions where both answered them.

A model's standard error is mostly the choice of questions, which two models share: the difference of two scores is
known far better question by question than from their two standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes fifty times as long for one number
from scipy.stats import norm

from analysis.fit_file.winner import Interval
from analysis.scores.read import QuestionAnswers
from analysis.surfaces.kernels import Array
from sweep.study.record import Score

POWER = 0.8
MOST_QUESTIONS = 10**9  # a difference that takes more is none
SAME = 1e-3  # of a score: beyond, it is not the mean of its questions (a corpus-level metric)


@dataclass(frozen=True)
class Difference:
    """`value` is what was measured over n questions; `centre`, `se` and `df` are the interval's, by Student's t.

    `unpaired` says why the questions were not compared one by one; None where they were.
    """

    value: float
    centre: float
    se: float
    df: float
    n: int
    unpaired: str | None = None

    def interval(self, level: float) -> Interval:
        half = float(stdtrit(self.df, (1 + level) / 2)) * self.se
        return Interval(low=self.centre - half, high=self.centre + half)

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference: the interval of level 1 - p just reaches 0."""
        return float(2 * stdtr(self.df, -abs(self.centre) / self.se))

    def above(self, bound: float) -> float:
        """The probability that the true difference is `bound` or more."""
        return float(stdtr(self.df, (self.centre - bound) / self.se))

    def needed(self, significance: float) -> int | None:
        """How many questions would tell this difference from none, at that two-sided significance, with a power of 0.8.

        None where no sensible number would.
        """
        if not self.value:
            return None
        reach, variance = norm.isf(significance / 2), self.n * self.se**2
        # The usual normal approximation, and what Student's t takes more (Guenther 1981, American Statistician 35).
        wanted = (reach + norm.ppf(POWER)) ** 2 * variance / self.value**2 + reach**2 / 2
        return int(np.ceil(wanted)) if wanted <= MOST_QUESTIONS else None


def incomparable(one: QuestionAnswers, other: QuestionAnswers) -> str | None:
    """Why two scores of a task say nothing of each other; None where they do."""
    if why := of_another(one.score, other.score):
        return why
    errors = (one.score.stderr, other.score.stderr)
    if (why := _why_unpaired(one, other)) is None:
        return None
    if None in errors:
        return why
    return None if any(errors) else f"{why}, and both standard errors are 0: nothing says how far the scores are known"


def of_another(one: Score, other: Score) -> str | None:
    """Why two scores are of other questions; None where they are of the same."""
    names = {"version": "version", "prompt_sha256": "prompt", "metric": "metric"}
    apart = (name for field, name in names.items() if getattr(one, field) != getattr(other, field))
    return next((f"scored with another {name} of the task" for name in apart), None)


def difference(one: QuestionAnswers, other: QuestionAnswers) -> Difference:
    """`one` minus `other`, which must be comparable."""
    why = _why_unpaired(one, other)
    if why is None:
        assert one.questions is not None
        assert other.questions is not None
        return _paired(one.questions, other.questions)
    assert one.score.stderr is not None
    assert other.score.stderr is not None
    value = one.score.value - other.score.value
    se = float(np.hypot(one.score.stderr, other.score.stderr))
    return Difference(value, value, se, np.inf, min(one.score.n or 0, other.score.n or 0), why)


def _why_unpaired(one: QuestionAnswers, other: QuestionAnswers) -> str | None:
    if one.questions is None or other.questions is None:
        return "no questions.json with its questions"
    if len(one.questions) != len(other.questions):
        return "another number of questions"
    if np.isfinite(one.questions + other.questions).sum() < 2:
        return "fewer than two questions that both answered"
    apart = [abs(np.nanmean(q) - a.score.value) for a, q in ((one, one.questions), (other, other.questions))]
    return "its score is not the mean of its questions" if max(apart) > SAME * max(1, abs(one.score.value)) else None


def _paired(one: Array, other: Array) -> Difference:
    """With one more difference of the largest size each way, which for 0/1 answers is the adjusted Wald interval of
    Bonett and Price (2012, Journal of Educational and Behavioral Statistics 37): differences that are nearly all 0 look
    far better known than they are. Student's t in place of the normal, for small n.
    """
    both = np.isfinite(one + other)
    apart = (one - other)[both]
    largest = np.abs(apart).max() or np.abs(one[both]).max() or 1.0
    n = len(apart) + 2
    centre = apart.sum() / n
    variance = (np.sum(apart**2) + 2 * largest**2) / n - centre**2
    return Difference(float(apart.mean()), float(centre), float(np.sqrt(variance / n)), n - 1, n - 2)


def mean(parts: Sequence[Difference]) -> Difference:
    """Of several tasks, each counting the same; the tasks are taken as given, only their questions as drawn.

    The degrees of freedom are those of Welch and Satterthwaite.
    """
    errors = np.array([part.se for part in parts])
    variances = (errors / errors.max()) ** 2  # relative to the largest: a tiny one's square would be 0
    share = np.sum((variances / variances.sum()) ** 2 / [part.df for part in parts])
    return Difference(
        value=float(np.mean([part.value for part in parts])),
        centre=float(np.mean([part.centre for part in parts])),
        se=float(errors.max() * np.sqrt(variances.sum()) / len(parts)),
        df=float(1 / share) if share else np.inf,
        n=sum(part.n for part in parts),
        unpaired=next((part.unpaired for part in parts if part.unpaired), None),
    )


def holm(p_values: Sequence[float]) -> Array:
    """p-values (m,) corrected for their number: none true is called false with more than the nominal probability.

    Holm (1979), Scandinavian Journal of Statistics 6; holds however the comparisons depend on each other.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1)
    return corrected
