"""What the objective minimises, and where its forgetting guard holds: common to several figures."""

from __future__ import annotations

import pandas as pd

from analysis.decision.objectives import GuardedGoal, WeightedGoal
from analysis.fit.fit import Fit
from analysis.fit_file.result import FitResult
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice
from analysis.table import table as tables


def unguarded(fit: FitResult) -> WeightedGoal:
    """The objective as weights, also under a guard, which then forbids none of it."""
    return WeightedGoal(fit.file.weights or {"additional": 1.0})


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
    """How far the original language's loss is under what is allowed, (A, L) in nats: 0 or more is allowed.

    None without a guard.
    """
    if not isinstance(fit.goal, GuardedGoal):
        return None
    # Where no point of the whole lattice keeps the guard, the fit takes the safest, and so do its figures.
    allowed = max(fit.goal.bound, float(fit.goal.upper(fit.lattice).min()))
    return allowed - fit.goal.upper(lattice)
