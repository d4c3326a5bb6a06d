"""What the objective minimises, and where its forgetting guard holds: common to several figures."""

from __future__ import annotations

import pandas as pd

from analysis import table as tables
from analysis.fit import Fit
from analysis.kernels import Array
from analysis.objectives import Guarded, Weighted
from analysis.optima import Lattice


def unguarded(fit: Fit) -> Weighted:
    """The objective as weights, also under a guard, which then forbids none of it."""
    return fit.goal if isinstance(fit.goal, Weighted) else Weighted({"additional": 1.0})


def quantity(fit: Fit) -> str:
    """What is minimised, in words."""
    languages = unguarded(fit).languages
    if languages == ("total",):
        return "held-out loss"
    return f"{fit.label(languages[0])}: held-out loss" if len(languages) == 1 else "weighted held-out loss"


def trials(fit: Fit) -> pd.DataFrame:
    """The usable rows, with `loss`, which is what is minimised (nats), and `allowed`: the trial kept the guard."""
    return judged(fit, tables.usable(fit.table))


def judged(fit: Fit, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(loss=unguarded(fit).of_trials(rows), allowed=fit.goal.of_trials(rows).notna())


def safety(fit: Fit, lattice: Lattice) -> Array | None:
    """The probability that the guard holds less the one that is asked for, (A, L): 0 or more is allowed.

    None without a guard.
    """
    if not isinstance(fit.goal, Guarded):
        return None
    # The fit asks for less where no point of the whole lattice is as safe as the level, and so do its figures.
    asked = min(fit.goal.level, float(fit.goal.probability(fit.lattice).max()))
    return fit.goal.probability(lattice) - asked
