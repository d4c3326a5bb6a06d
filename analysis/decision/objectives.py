"""The objective as a function of the languages' losses: their weighted mean, or one of them under a guard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis.fit_file.fit_file import FitFile
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, Optima
from analysis.table import table as tables
from sweep.study import LANGUAGES, InputError, Objective


def weighted(weights: Mapping[str, float], losses: Mapping[str, Array]) -> Array:
    """The weighted sum of the languages' losses, of any one shape."""
    return np.asarray(sum(share * losses[name] for name, share in weights.items()))


@dataclass(frozen=True)
class WeightedGoal:
    """The weighted mean of the languages' losses. Weights sum to 1."""

    weights: dict[str, float]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages whose losses the objective needs."""
        return tuple(self.loss_weights)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weights above 0."""
        return {name: share for name, share in self.weights.items() if share > 0}

    def optima(self, lattice: Lattice) -> Optima:
        """The objective on the lattice."""
        weights = self.loss_weights
        sd = np.sqrt(sum((share * lattice.sd[name]) ** 2 for name, share in weights.items()))
        mean, draws = weighted(weights, lattice.mean), weighted(weights, lattice.draws)
        return Optima(lattice.almr, lattice.lr, mean, sd, draws)

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        """The objective of each row; NaN where a loss is missing."""
        return tables.objective(table, self.weights)


@dataclass(frozen=True)
class GuardedGoal:
    """The additional language's loss, where the original language's is at most `bound` nats (the forgetting guard).

    The winner is the best point that keeps the guard with probability `level` or more; without such a point, the one
    with the lowest upper limit (at `level`) of the original language's loss.
    """

    bound: float
    level: float
    languages: tuple[str, ...] = LANGUAGES

    @property
    def loss_weights(self) -> dict[str, float]:
        return {"additional": 1.0}

    def optima(self, lattice: Lattice) -> Optima:
        upper = self.upper(lattice)
        allowed = upper <= max(self.bound, upper.min())
        draws = np.where(lattice.draws["original"] <= self.bound, lattice.draws["additional"], np.inf)
        mean = np.where(allowed, lattice.mean["additional"], np.inf)
        return Optima(lattice.almr, lattice.lr, mean, lattice.sd["additional"], draws)

    def probability(self, lattice: Lattice) -> Array:
        """The probability that the guard is kept at each point of the lattice: (A, L)."""
        return np.asarray(norm.cdf((self.bound - lattice.mean["original"]) / np.maximum(lattice.sd["original"], 1e-12)))

    def upper(self, lattice: Lattice) -> Array:
        """The upper limit (at `level`) of the original language's loss at each point: (A, L), in nats."""
        return np.asarray(lattice.mean["original"] + norm.ppf(self.level) * lattice.sd["original"])

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        """The objective of each row; NaN where a loss is missing or the guard is broken."""
        additional = table["loss_additional"].astype(float)
        return additional.where(table["loss_original"].astype(float) <= self.bound)


Goal = WeightedGoal | GuardedGoal


def goal(objective: Objective, table: pd.DataFrame) -> Goal:
    """The stated objective, for a table. Raises InputError where the table lacks a loss that it needs."""
    named = [name for _, name in objective.named_losses if name not in LANGUAGES]
    if named or objective.loss_guards:
        raise InputError(
            "objective: losses of single sources cannot be fitted yet: weigh the two languages, and remove guards of "
            "sources"
        )
    measured = tables.languages(table)
    if objective.forgetting_guard_percent is not None:
        return GuardedGoal(_bound(objective, measured, table), objective.level)
    if measured in ((), LANGUAGES):
        return WeightedGoal(objective.shares)
    if objective.weights is not None:
        raise InputError(
            f"weights need the losses of both languages, the table has {measured[0]} alone: remove the weights"
        )
    return WeightedGoal({name: 1 / len(measured) for name in measured})


def goal_of(file: FitFile) -> Goal:
    """The goal of a finished fit."""
    if file.guard:
        return GuardedGoal(file.guard.bound, file.winner.level)
    return WeightedGoal(file.weights or {})


def _bound(objective: Objective, measured: tuple[str, ...], table: pd.DataFrame) -> float:
    """The guard's limit in nats, from the median of the base model's losses in the table."""
    base = table["base_loss_original"].astype(float).dropna()
    if measured != LANGUAGES or not len(base):
        raise InputError(
            "the forgetting guard needs the losses of both languages and the base model's loss on the original one "
            "(base_loss_original): add these columns, or use weights instead"
        )
    return objective.bound(float(base.median()))
