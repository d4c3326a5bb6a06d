"""The loss that the objective weighs, without its guards, and where the guards of losses hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.decision.objectives import GuardedGoal, WeightedGoal
from analysis.fit.fit import Fit
from analysis.fit_file.result import FitResult
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice
from analysis.table import table as tables


def unguarded(fit: FitResult) -> WeightedGoal:
    """The objective as weights of the losses; under a forgetting guard, the additional language's loss alone."""
    return WeightedGoal(fit.file.weights or {"additional": 1.0})


def quantity(fit: Fit) -> str:
    """The name of that loss, for an axis."""
    losses = unguarded(fit).losses
    if losses == ("total",):
        return "held-out loss"
    return f"{fit.label(losses[0])}: held-out loss" if len(losses) == 1 else "weighted held-out loss"


def usable_trials(fit: Fit) -> pd.DataFrame:
    """The usable rows of the table, with `loss` (nats per token) and `allowed`: the trial keeps the guards."""
    return with_losses(fit, tables.usable(fit.table))


def with_losses(fit: Fit, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(loss=unguarded(fit).of_trials(rows), allowed=fit.goal.of_trials(rows).notna())


def margin(fit: Fit, lattice: Lattice) -> Array | None:
    """The allowed minus the predicted loss of the original language or of guarded sources, (A, L) in nats, the smallest
    of all guards: below 0 a guard is broken. None without a guard.
    """
    if not isinstance(fit.goal, GuardedGoal):
        return None
    # Where no point of the whole lattice keeps the guards, the fit takes the safest, and so do its figures.
    return np.asarray(max(0.0, float(fit.goal.excess(fit.lattice).min())) - fit.goal.excess(lattice))
