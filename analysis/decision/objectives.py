"""What a winner minimises, as a function of the languages' losses: a weighted mean, or one language under a guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis.fit_file.fit_file import FitFile
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, Optima
from analysis.table import table as tables
from sweep.study.errors import InputError
from sweep.study.sections.objective import Objective


class Goal(Protocol):
    @property
    def languages(self) -> tuple[str, ...]:
        """Whose losses the objective is made of."""

    def optima(self, lattice: Lattice) -> Optima: ...

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        """The objective of each row in nats per token; NaN where it has none."""


@dataclass(frozen=True)
class WeightedGoal:
    """The weighted mean of the languages' losses. Weights sum to 1."""

    weights: dict[str, float]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(name for name, share in self.weights.items() if share > 0)

    def optima(self, lattice: Lattice) -> Optima:
        sd = np.sqrt(sum((self.weights[name] * lattice.sd[name]) ** 2 for name in self.languages))
        return Optima(lattice.almr, lattice.lr, self._mean(lattice.mean), sd, self._mean(lattice.draws))

    def _mean(self, losses: dict[str, Array]) -> Array:
        return np.asarray(sum(self.weights[name] * losses[name] for name in self.languages))

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        return tables.objective(table, self.weights)


@dataclass(frozen=True)
class GuardedGoal:
    """The additional language's loss where the original's is at most `bound` nats (the forgetting guard).

    The winner is the best point at which the guard holds with probability `level` or more; where no point is so safe,
    the one whose original-language loss is at most so high with that probability.
    """

    bound: float
    level: float
    languages: tuple[str, ...] = ("original", "additional")

    def optima(self, lattice: Lattice) -> Optima:
        upper = self.upper(lattice)
        holds = upper <= max(self.bound, upper.min())
        draws = np.where(lattice.draws["original"] <= self.bound, lattice.draws["additional"], np.inf)
        mean = np.where(holds, lattice.mean["additional"], np.inf)
        return Optima(lattice.almr, lattice.lr, mean, lattice.sd["additional"], draws)

    def probability(self, lattice: Lattice) -> Array:
        """That the original language's loss is at most the bound, at each point of the lattice: (A, L)."""
        return np.asarray(norm.cdf((self.bound - lattice.mean["original"]) / np.maximum(lattice.sd["original"], 1e-12)))

    def upper(self, lattice: Lattice) -> Array:
        """What the original language's loss is at most, with probability `level`, at each point: (A, L), in nats."""
        return np.asarray(lattice.mean["original"] + norm.ppf(self.level) * lattice.sd["original"])

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        additional = table["loss_additional"].astype(float)
        return additional.where(table["loss_original"].astype(float) <= self.bound)


def goal(objective: Objective, table: pd.DataFrame) -> Goal:
    """Raises InputError where the table lacks what the objective needs."""
    measured = tables.languages(table)
    if objective.forgetting_guard_percent is not None:
        return GuardedGoal(_bound(objective, measured, table), objective.level)
    if measured in ((), ("original", "additional")):
        return WeightedGoal(objective.shares)
    if objective.weights is not None:
        raise InputError(f"weights are of two languages, and the only loss here is {measured[0]}: leave them out")
    return WeightedGoal({name: 1 / len(measured) for name in measured})


def goal_of(file: FitFile) -> Goal:
    """The goal of a finished fit."""
    if file.guard:
        return GuardedGoal(file.guard.bound, file.winner.level)
    return WeightedGoal(file.weights or {})


def _bound(objective: Objective, measured: tuple[str, ...], table: pd.DataFrame) -> float:
    base = table["base_loss_original"].astype(float).dropna()
    if measured != ("original", "additional") or not len(base):
        raise InputError(
            "the forgetting guard needs the losses of both languages and the base model's loss of the original one "
            "(base_loss_original): give them, or use weights"
        )
    return objective.bound(float(base.median()))
