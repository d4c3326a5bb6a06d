"""The parts of `fit.json` about the curve of best LR against ALMR, the Pareto front and the divergence edge."""

from __future__ import annotations

import math

from analysis.fit_file.unknown import OrUnknown
from analysis.fit_file.winner import Interval
from sweep.study import Schema


class CurvePoint(Schema):
    """The best LR at one ALMR. `at_edge`: it is the lowest or highest LR tried, and so only a bound."""

    almr: OrUnknown
    lr: float
    lr_low: float
    lr_high: float
    at_edge: bool


class AlmrPoint(Schema):
    """The best ALMR at one LR. `at_edge`: it is the lowest or highest ALMR tried, and so only a bound."""

    lr: float
    almr: float
    almr_low: float
    almr_high: float
    at_edge: bool


class Coupling(Schema):
    """The slope of ln(best LR) per unit of `form`, a transform of ALMR, from `almr_low` to `almr_high`.

    `probability`: posterior probability that it is above 0; `p_value`: two-sided test of no coupling. `straight`: the
    line stays inside the curve's intervals; if not, the slope is only an average.
    """

    form: str
    slope: float
    interval: Interval
    probability: float
    p_value: float
    straight: bool
    almr_low: float
    almr_high: float

    @property
    def factor(self) -> float:
        """The change of the best LR from `almr_low` to `almr_high`, along the line."""
        return math.exp(self.slope * self._span)

    @property
    def factor_interval(self) -> Interval:
        return Interval(low=math.exp(self.interval.low * self._span), high=math.exp(self.interval.high * self._span))

    @property
    def shown(self) -> bool:
        """Whether the interval of the slope leaves out 0."""
        return not self.interval.low <= 0 <= self.interval.high

    @property
    def _span(self) -> float:
        import numpy as np  # here, since reading fit.json needs none

        from analysis.fit_file.forms import FORMS

        form = next(form for form in FORMS if form.name == self.form)
        return float(np.ptp(form.of(np.array([self.almr_low, self.almr_high]))))


class FrontPoint(Schema):
    """The winner with `weight` on the additional language; losses in nats per token, by language."""

    weight: float
    almr: OrUnknown
    almr_interval: Interval
    lr: float
    lr_interval: Interval
    losses: dict[str, float]
    at_edge: tuple[str, ...]


class DivergenceEdge(Schema):
    """The LR above which trials diverge at the winner's ALMR, and `factor`, its ratio to the winner's LR.

    `trials`: number of diverged trials. With 0, `lr` is the highest LR tried, a lower bound of the edge. None where the
    diverged trials lie at lower LRs than the others.
    """

    trials: int
    lr: float | None
    factor: float | None
