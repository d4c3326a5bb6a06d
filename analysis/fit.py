"""Table -> Fit: the surfaces, the curve, the winner and what qualifies them, and the same as `fit.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from analysis import caveats
from analysis import table as tables
from analysis.surface import Surface, WeightedSurface, fit_languages
from analysis.transfer import Transfer, direct
from analysis.winner import Coupling, CurvePoint, Optima, Winner
from sweep.study import Study
from sweep.trial import Schema


class CrossValidation(Schema):
    """Leave-one-out: root mean square error in nats, and the share of trials inside their predicted band.

    In `rmse` a trial counts by the precision that the fit gives it: far from the optimum little.
    """

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
    return fit_table(study, tables.mark_foreign(tables.read_run(run), study))


def fit_table(study: Study, table: pd.DataFrame, seed: int = 0) -> Fit:
    """Raises InputError where fewer trials are usable than a surface needs."""
    with threadpool_limits(1):  # small matrices: more threads are slower, and their number would change last digits
        return _fit(study, table, seed)


def _fit(study: Study, table: pd.DataFrame, seed: int) -> Fit:
    used = tables.usable(table)
    weights = study.objective.weights.shares
    surfaces = fit_languages(used, weights, seed)
    objective = WeightedSurface(tuple((weights[name], surfaces[name]) for name in weights if weights[name] > 0))
    almr, lr = used["almr"].to_numpy(float), used["lr"].to_numpy(float)
    optima = Optima.of(objective, almr, lr, study.objective.level, seed)
    winner = optima.winner()
    noise = {name: surface.noise for name, surface in surfaces.items()}
    checks = {name: _cross_validate(s, study.objective.level) for name, s in surfaces.items()}
    file = FitFile(
        study=study.name,
        weights=weights,
        winner=winner,
        curve=optima.curve(),
        coupling=optima.coupling(),
        noise=noise,
        cross_validation=checks,
        trials=_count(table),
        warnings=caveats.find(study, table, optima, winner, noise, checks),
        transfer=direct(winner, study) if study.launch else None,
    )
    return Fit(study, table, surfaces, objective, optima, file)


def _cross_validate(surface: Surface, level: float) -> CrossValidation:
    predicted, sd = surface.leave_one_out()
    error = surface.loss - predicted
    inside = np.abs(error) <= norm.ppf((1 + level) / 2) * sd
    rmse = np.sqrt(np.average(error**2, weights=1 / surface.sd_of_trials**2))
    return CrossValidation(rmse=float(rmse), coverage=float(inside.mean()))


def _count(table: pd.DataFrame) -> Counts:
    status = table["status"].value_counts()
    numbers = {name: int(status.get(name, 0)) for name in ("complete", "diverged", "failed")}
    return Counts(**numbers, excluded=int(table["excluded"].notna().sum()))
