"""The ends of the measured range: whether the optimum lies on one, and whether anything lies beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.decision.case import Case

# Where the optimum truly is on an end, any share of the posterior draws from 0.1 to 1 has it there.
PINNED = 0.1
ROUNDING = 1e-9
DIALS = ("almr", "lr")
NAMES = {"almr": "ALMR", "lr": "LR"}


@dataclass(frozen=True)
class End:
    """An end of the measured range of a dial."""

    dial: str
    value: float
    upper: bool

    @property
    def natural(self) -> bool:
        """ALMR 0 and 1: there is nothing beyond."""
        return self.dial == "almr" and abs(self.value - self.upper) < ROUNDING

    def passed_by(self, value: float) -> bool:
        return value > self.value * (1 + ROUNDING) if self.upper else value < self.value * (1 - ROUNDING)

    @property
    def words(self) -> str:
        return f"the {'highest' if self.upper else 'lowest'} that was measured ({self.value:.4g})"


def both(case: Case, dial: str) -> tuple[End, End]:
    """The lower and the upper end."""
    axis = getattr(case.optima, dial)
    return End(dial, float(axis[0]), False), End(dial, float(axis[-1]), True)


def of_optimum(case: Case, dial: str) -> End | None:
    """The end on which the winner lies, or on which so many of the draws' optima do that it may be there."""
    lower, upper = both(case, dial)
    if dial in case.winner.at_edge:
        best = np.array([getattr(case.winner, dial)])
    elif case.winner.edge_probability[dial] > PINNED:
        best = case.optima.drawn_best()[DIALS.index(dial)]
    else:
        return None
    on = [np.isclose(best, end.value, rtol=ROUNDING, atol=ROUNDING**2).sum() for end in (lower, upper)]
    return upper if on[1] > on[0] else lower


def interval_share(case: Case, dial: str) -> float:
    """How much of the measured range (in ln LR) the dial's interval covers; 0 where one value was measured."""
    axis, found = getattr(case.optima, dial), getattr(case.winner, f"{dial}_interval")
    if len(axis) == 1:
        return 0.0
    if dial == "lr":
        return float(np.log(found.high / found.low) / np.log(axis[-1] / axis[0]))
    return float((found.high - found.low) / (axis[-1] - axis[0]))


def known(case: Case) -> bool:
    """Whether any draw has an optimum: under a guard that none of them keeps, the intervals are the whole range."""
    return bool(np.isfinite(case.optima.draws).any())
