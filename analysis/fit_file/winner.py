"""The part of `fit.json` about the winner and its joint region."""

from __future__ import annotations

from analysis.fit_file.unknown import OrUnknown
from sweep.study import Schema


class Interval(Schema):
    low: OrUnknown
    high: OrUnknown


class LossAtWinner(Schema):
    """One language's predicted loss at the winner, in nats per token."""

    mean: float
    interval: Interval


class Winner(Schema):
    """The chosen point: the minimum of the mean objective surface. `objective` is that minimum, in nats per token.

    `at_edge` names the hyper-parameters ("almr", "lr") whose best value is at an edge of the tried range;
    `edge_probability` is the share of posterior draws whose optimum is at one of its edges. Intervals are at `level`.
    `almr` is NaN, in fit.json null, where the table does not state it.
    """

    almr: OrUnknown
    lr: float
    objective: float
    objective_interval: Interval
    almr_interval: Interval
    lr_interval: Interval
    level: float
    at_edge: tuple[str, ...]
    edge_probability: dict[str, float]
    losses: dict[str, LossAtWinner]


class RegionRow(Schema):
    """The region's LRs at one ALMR."""

    almr: float
    lr_low: float
    lr_high: float


class Region(Schema):
    """The joint region that contains the optimum with probability `level`.

    `share` is its share of the tried range of ALMR and ln LR.
    """

    level: float
    share: float
    rows: list[RegionRow]
