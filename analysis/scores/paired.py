"""Differences between two models' scores, paired by question where both answered the same questions.

Most of a score's standard error is the choice of questions, which two models share: paired differences are known far
better than the two standard errors suggest.
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
from sweep.study import Score

POWER = 0.8
MOST_QUESTIONS = 10**9  # a difference that needs more counts as none
SAME = 1e-3  # relative: a score further from the mean of its questions is a corpus-level metric


@dataclass(frozen=True)
class Difference:
    """A measured difference, `value`, over n questions. `centre`, `se` and `df` define its interval (Student's t).

    `unpaired`: why the questions were not compared one by one; None where they were.
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
        """Two-sided test of no difference: the interval of level 1 - p just reaches 0."""
        return float(2 * stdtr(self.df, -abs(self.centre) / self.se))

    def above(self, bound: float) -> float:
        """The probability that the true difference is `bound` or more."""
        return float(stdtr(self.df, (self.centre - bound) / self.se))

    def needed(self, significance: float) -> int | None:
        """The number of questions at which a difference of this size is significant (two-sided) with a power of 0.8.

        None where it is over MOST_QUESTIONS.
        """
        if not self.value:
            return None
        reach, variance = norm.isf(significance / 2), self.n * self.se**2
        # The normal approximation, with the correction for Student's t (Guenther 1981, American Statistician 35).
        wanted = (reach + norm.ppf(POWER)) ** 2 * variance / self.value**2 + reach**2 / 2
        return int(np.ceil(wanted)) if wanted <= MOST_QUESTIONS else None


def incomparable(one: QuestionAnswers, other: QuestionAnswers) -> str | None:
    """Why two scores of a task cannot be compared; None where they can."""
    if why := other_questions(one.score, other.score):
        return why
    errors = (one.score.stderr, other.score.stderr)
    if (why := _why_unpaired(one, other)) is None:
        return None
    if None in errors:
        return why
    return None if any(errors) else f"{why}, and both standard errors are 0, so the noise is not known"


def other_questions(one: Score, other: Score) -> str | None:
    """Why two scores are for different questions; None where they are for the same."""
    names = {"version": "version", "prompt_sha256": "prompt", "metric": "metric"}
    apart = (name for field, name in names.items() if getattr(one, field) != getattr(other, field))
    return next((f"scored with a different {name} of the task" for name in apart), None)


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
    n = min(one.score.n or 0, other.score.n or 0)
    return Difference(value=value, centre=value, se=se, df=np.inf, n=n, unpaired=why)


def _why_unpaired(one: QuestionAnswers, other: QuestionAnswers) -> str | None:
    if one.questions is None or other.questions is None:
        return "questions.json does not have its questions"
    if len(one.questions) != len(other.questions):
        return "the numbers of questions differ"
    if np.isfinite(one.questions + other.questions).sum() < 2:
        return "fewer than two questions were answered by both"
    apart = [abs(np.nanmean(q) - a.score.value) for a, q in ((one, one.questions), (other, other.questions))]
    return "the score is not the mean of its questions" if max(apart) > SAME * max(1, abs(one.score.value)) else None


def _paired(one: Array, other: Array) -> Difference:
    """Adds one difference of the largest size in each direction: for 0/1 answers this is the adjusted Wald interval of
    Bonett and Price (2012, Journal of Educational and Behavioral Statistics 37), without which differences that are
    nearly all 0 look too certain. Student's t in place of the normal, for small n.
    """
    both = np.isfinite(one + other)
    apart = (one - other)[both]
    largest = np.abs(apart).max() or np.abs(one[both]).max() or 1.0
    n = len(apart) + 2
    centre = apart.sum() / n
    variance = (np.sum(apart**2) + 2 * largest**2) / n - centre**2
    se = float(np.sqrt(variance / n))
    return Difference(value=float(apart.mean()), centre=float(centre), se=se, df=n - 1, n=n - 2)


def mean(parts: Sequence[Difference]) -> Difference:
    """The mean difference of several tasks, equally weighted. Only the choice of questions is random, not the tasks.

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
    """p-values (m,) corrected for their number: the family-wise error rate is at most the significance level.

    Holm (1979), Scandinavian Journal of Statistics 6; valid under any dependence of the comparisons.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1)
    return corrected


def holm_of_known(p_values: Sequence[float | None]) -> list[float | None]:
    """`holm` over the p-values that are known; None stays None."""
    corrected = iter(holm([p for p in p_values if p is not None]).tolist())
    return [None if p is None else next(corrected) for p in p_values]
