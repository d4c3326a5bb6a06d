"""The loss that the objective weighs, without its forgetting guard, and where that guard holds."""

from __future__ import annotations

import pandas as pd

from analysis.decision.objectives import GuardedGoal, WeightedGoal
from analysis.fit.fit import Fit
from analysis.fit_file.result import FitResult
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice
from analysis.table import table as tables


def unguarded(fit: FitResult) -> WeightedGoal:
    """The objective as weights of the losses; under a guard, the additional language's loss alone."""
    return WeightedGoal(fit.file.weights or {"additional": 1.0})


def quantity(fit: Fit) -> str:
    """The name of that loss, for an axis."""
    languages = unguarded(fit).languages
    if languages == ("total",):
        return "held-out loss"
    return f"{fit.label(languages[0])}: held-out loss" if len(languages) == 1 else "weighted held-out loss"


def usable_trials(fit: Fit) -> pd.DataFrame:
    """The usable rows of the table, with `loss` (nats per token) and `allowed`: the trial keeps the guard."""
    return with_losses(fit, tables.usable(fit.table))


def with_losses(fit: Fit, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(loss=unguarded(fit).of_trials(rows), allowed=fit.goal.of_trials(rows).notna())


def margin(fit: Fit, lattice: Lattice) -> Array | None:
    """The allowed minus the predicted loss of the original language, (A, L) in nats: below 0 the guard is broken.

    None without a guard.
    """
    if not isinstance(fit.goal, GuardedGoal):
        return None
    # Where no point of the whole lattice keeps the guard, the fit takes the safest, and so do its figures.
    allowed = max(fit.goal.bound, float(fit.goal.upper(fit.lattice).min()))
    return allowed - fit.goal.upper(lattice)
