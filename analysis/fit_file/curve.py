"""The curve of best LR against ALMR, the Pareto front and the divergence edge, as `fit.json` has them."""

from __future__ import annotations

from analysis.fit_file.winner import Interval
from sweep.study.fields import Schema


class CurvePoint(Schema):
    """The best LR at one ALMR. `at_edge`: that best is the smallest or largest LR measured."""

    almr: float
    lr: float
    lr_low: float
    lr_high: float
    at_edge: bool


class AlmrPoint(Schema):
    """The best ALMR at one LR. `at_edge`: that best is the smallest or largest ALMR measured."""

    lr: float
    almr: float
    almr_low: float
    almr_high: float
    at_edge: bool


class Coupling(Schema):
    """Slope of ln LR* per unit of `form`, a function of ALMR, over the ALMRs from `almr_low` to `almr_high`.

    `probability` is the posterior probability that it is above zero; `p_value` the two-sided test of no coupling.
    `straight`: the line stays within the curve's intervals; where it does not, the slope is only an average.
    """

    form: str
    slope: float
    interval: Interval
    probability: float
    p_value: float
    straight: bool
    almr_low: float
    almr_high: float


class FrontPoint(Schema):
    """The winner where the additional language weighs `weight`; losses in nats per token, by language."""

    weight: float
    almr: float
    almr_interval: Interval
    lr: float
    lr_interval: Interval
    losses: dict[str, float]
    at_edge: tuple[str, ...]


class DivergenceEdge(Schema):
    """`lr` is the edge at the winner's ALMR and `factor` its ratio to the winner's LR.

    With `trials` = 0 nothing diverged: `lr` is then the highest LR measured, and the edge lies above it. None where the
    diverged trials do not say on which side of the winner they lie.
    """

    trials: int
    lr: float | None
    factor: float | None
