"""Table -> Fit: the surfaces, the curve, the winner and what qualifies them, and the same as `fit.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from analysis import table as tables
from analysis.surface import Surface, WeightedSurface, fit_languages
from analysis.transfer import Transfer, direct
from analysis.winner import Coupling, CurvePoint, Optima, Winner
from sweep.study import Study
from sweep.trial import Schema


class CrossValidation(Schema):
    """Leave-one-out: root mean square error in nats, and the share of trials inside their predicted band."""

    rmse: float
    coverage: float


class Counts(Schema):
    complete: int
    diverged: int
    failed: int
    excluded: int


class FitFile(Schema):
    """`fit.json`. Losses in nats per token; `noise` is one trial's sd around its surface; `trials` counts rows."""

    schema_version: int = 1
    study: str
    weights: dict[str, float]
    winner: Winner
    curve: list[CurvePoint]
    coupling: Coupling | None
    noise: dict[str, float]
    cross_validation: dict[str, CrossValidation]
    trials: Counts
    warnings: list[str]
    transfer: Transfer | None


@dataclass(frozen=True)
class Fit:
    """Everything that figures and reports draw from. `table` holds all rows, used or not."""

    study: Study
    table: pd.DataFrame
    surfaces: dict[str, Surface]
    objective: WeightedSurface
    optima: Optima
    file: FitFile

    @property
    def weights(self) -> dict[str, float]:
        return self.study.objective.weights.shares


def fit_run(study: Study, run: Path) -> Fit:
    return fit_table(study, tables.read_run(run))


def fit_table(study: Study, table: pd.DataFrame, seed: int = 0) -> Fit:
    """Raises InputError where fewer trials are usable than a surface needs."""
    with threadpool_limits(1):  # small matrices: more threads are slower, and their number would change last digits
        return _fit(study, table, seed)


def _fit(study: Study, table: pd.DataFrame, seed: int) -> Fit:
    used = tables.usable(table)
    weights = study.objective.weights.shares
    surfaces = fit_languages(used, list(weights), seed)
    objective = WeightedSurface(tuple((weights[name], surfaces[name]) for name in weights if weights[name] > 0))
    almr, lr = used["almr"].to_numpy(float), used["lr"].to_numpy(float)
    optima = Optima.of(objective, almr, lr, study.objective.level, seed)
    winner = optima.winner()
    file = FitFile(
        study=study.name,
        weights=weights,
        winner=winner,
        curve=optima.curve(),
        coupling=optima.coupling(),
        noise={name: surface.noise for name, surface in surfaces.items()},
        cross_validation={name: _cross_validate(s, study.objective.level) for name, s in surfaces.items()},
        trials=_count(table),
        warnings=_warnings(winner, optima, table),
        transfer=direct(winner, study) if study.launch else None,
    )
    return Fit(study, table, surfaces, objective, optima, file)


def _cross_validate(surface: Surface, level: float) -> CrossValidation:
    predicted, sd = surface.leave_one_out()
    error = surface.loss - predicted
    inside = np.abs(error) <= norm.ppf((1 + level) / 2) * sd
    return CrossValidation(rmse=float(np.sqrt((error**2).mean())), coverage=float(inside.mean()))


def _count(table: pd.DataFrame) -> Counts:
    status = table["status"].value_counts()
    numbers = {name: int(status.get(name, 0)) for name in ("complete", "diverged", "failed")}
    return Counts(**numbers, excluded=int(table["excluded"].notna().sum()))


def _warnings(winner: Winner, optima: Optima, table: pd.DataFrame) -> list[str]:
    found = [
        f"the winner's {name} is at the edge of the grid ({getattr(winner, name):.4g}): the optimum may lie beyond; "
        f"add grid points past it and run again"
        for name in winner.at_edge
    ]
    for name, measured in (("almr", optima.almr), ("lr", optima.lr)):
        interval = getattr(winner, f"{name}_interval")
        touches = interval.low <= measured[0] or interval.high >= measured[-1]
        if len(measured) > 1 and touches and name not in winner.at_edge:
            found.append(
                f"the {winner.level:.0%} interval of {name} reaches the edge of the grid "
                f"({interval.low:.4g} to {interval.high:.4g}): it is a lower bound on what is not known"
            )
    found += [
        f"only one {name} was measured: nothing is known of any other"
        for name, axis in (("almr", optima.almr), ("lr", optima.lr))
        if len(axis) == 1
    ]
    counts = _count(table)
    if counts.failed:
        found.append(f"{_trials(counts.failed)} failed and are missing from the fit: run the study again to retry")
    if counts.diverged:
        found.append(f"{_trials(counts.diverged)} diverged: left out of the surfaces, shown in the figures")
    return found


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"
