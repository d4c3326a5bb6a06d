"""The edges of the tried range: whether the optimum is at one, and whether the range can be extended there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.decision.case import Case
from analysis.table.table import HYPERPARAMETERS
from sweep.study import numbers

# For an optimum that truly is at an edge, any share of the posterior draws from 0.1 to 1 has it there.
LEAST_AT_EDGE = 0.1
ROUNDING = 1e-9
LABELS = {"almr": "ALMR", "lr": "LR"}
TEXTS = {"almr": numbers.almr, "lr": numbers.lr}


@dataclass(frozen=True)
class RangeEdge:
    """The lowest or the highest (`upper`) tried value of one hyper-parameter, `name`: "almr" or "lr"."""

    name: str
    value: float
    upper: bool

    @property
    def natural(self) -> bool:
        """ALMR 0 and 1: no value lies beyond."""
        return self.name == "almr" and abs(self.value - self.upper) < ROUNDING

    def passed_by(self, value: float) -> bool:
        """Whether a value lies beyond the edge."""
        return value > self.value * (1 + ROUNDING) if self.upper else value < self.value * (1 - ROUNDING)

    @property
    def text(self) -> str:
        """Such as "1e-5, the lowest tried"."""
        return f"{TEXTS[self.name](self.value)}, the {'highest' if self.upper else 'lowest'} tried"


def both(case: Case, name: str) -> tuple[RangeEdge, RangeEdge]:
    """The lower and the upper edge of a hyper-parameter."""
    axis = getattr(case.optima, name)
    return RangeEdge(name, float(axis[0]), False), RangeEdge(name, float(axis[-1]), True)


def of_optimum(case: Case, name: str) -> RangeEdge | None:
    """The edge at which the winner is, or a share of the draws' optima over LEAST_AT_EDGE; else None."""
    lower, upper = both(case, name)
    if name in case.winner.at_edge:
        best = np.array([getattr(case.winner, name)])
    elif case.winner.edge_probability[name] > LEAST_AT_EDGE:
        best = case.optima.drawn_best()[HYPERPARAMETERS.index(name)]
    else:
        return None
    on = [np.isclose(best, edge.value, rtol=ROUNDING, atol=ROUNDING**2).sum() for edge in (lower, upper)]
    return upper if on[1] > on[0] else lower


def interval_share(case: Case, name: str) -> float:
    """The interval's share of the tried range (of ln LR, for LR); 0 where one value was tried."""
    axis, found = getattr(case.optima, name), getattr(case.winner, f"{name}_interval")
    if len(axis) == 1:
        return 0.0
    if name == "lr":
        return float(np.log(found.high / found.low) / np.log(axis[-1] / axis[0]))
    return float((found.high - found.low) / (axis[-1] - axis[0]))


def known(case: Case) -> bool:
    """Whether any draw has an optimum. Under a guard that no draw keeps, the intervals are the whole range."""
    return bool(np.isfinite(case.optima.draws).any())
