"""A cautious estimate of the LR from which trials may diverge at the winner's ALMR."""

from __future__ import annotations

import math

from analysis.decision.case import Case
from analysis.table.table import TriedPoints

SAFE = 2.0  # least ratio of the edge to the winner's LR: the edge falls with model size and varies with the seed
# The edge lies anywhere between the highest LR that trained and the lowest that diverged. The estimate is at this share
# of the way, in ln LR: at the middle, a winner called safe would be so with an even chance only.
CAUTIOUS = 0.25


def edge(case: Case, measured: TriedPoints) -> float:
    """The lowest LR at which trials may diverge at the winner's ALMR; infinite where none diverged at a higher LR."""
    by_line = case.edge.lr if case.edge.trials else None
    estimates = (by_line, _by_neighbours(measured, case.winner.almr))
    return min((lr for lr in estimates if lr is not None), default=math.inf)


def _by_neighbours(measured: TriedPoints, almr: float) -> float | None:
    """The estimate from the trials near the ALMR; None where none diverged."""
    lowest = measured.lowest_diverged(almr)
    if lowest is None:
        return None
    highest = measured.highest_trained(almr, below=lowest)
    return highest * (lowest / highest) ** CAUTIOUS if highest else lowest
