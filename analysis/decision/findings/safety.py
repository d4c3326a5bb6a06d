"""How close the winner may be to divergence, with what the trials leave open counted against it."""

from __future__ import annotations

import math

from analysis.decision.case import Case
from analysis.table.tried_points import TriedPoints

SAFE = 2.0  # the divergence edge moves down with model size, and seeds scatter about it
# The edge lies anywhere between the highest LR that trained and the lowest that diverged. It is taken to lie at this
# share of the way, in ln LR: the middle would call a winner safe that is so only with an even chance.
CAUTIOUS = 0.25


def edge(case: Case, measured: TriedPoints) -> float:
    """The LR from which trials may diverge at the winner's ALMR; infinite where nothing says that they do."""
    by_line = case.edge.lr if case.edge.trials else None
    known = (by_line, _by_neighbours(measured, case.winner.almr))
    return min((lr for lr in known if lr is not None), default=math.inf)


def _by_neighbours(measured: TriedPoints, almr: float) -> float | None:
    lowest = measured.lowest_diverged(almr)
    if lowest is None:
        return None
    highest = measured.highest_trained(almr, below=lowest)
    return highest * (lowest / highest) ** CAUTIOUS if highest else lowest
