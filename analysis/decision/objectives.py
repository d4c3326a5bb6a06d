"""The objective as a function of losses, of languages and sources: their weighted mean, alone or under guards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.fit_file.fit_file import FitFile
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface
from analysis.table import table as tables
from sweep.study import LANGUAGES, InputError, Objective
from sweep.study.errors import shown

ADDITIONAL = {"additional": 1.0}


def weighted(weights: Mapping[str, float], losses: Mapping[str, Array]) -> Array:
    """The weighted sum of the losses, of any one shape."""
    return np.asarray(sum(share * losses[name] for name, share in weights.items()))


@dataclass(frozen=True)
class WeightedGoal:
    """The weighted mean of losses: of the languages, or of sources by their names. Weights sum to 1."""

    weights: dict[str, float]

    @property
    def losses(self) -> tuple[str, ...]:
        """The names of the losses that the objective needs."""
        return tuple(self.loss_weights)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weights above 0."""
        return {name: share for name, share in self.weights.items() if share > 0}

    def optima(self, lattice: Lattice) -> Optima:
        """The objective on the lattice."""
        mean, sd, draws = _weighted_on(lattice, self.loss_weights)
        return Optima(lattice.almr, lattice.lr, mean, sd, draws)

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        """The objective of each row; NaN where a loss is missing."""
        return tables.objective(table, self.weights)


@dataclass(frozen=True)
class GuardedGoal:
    """The weighted mean of losses, by default the additional language's loss, at the points that keep every guard.

    `bound`: the highest loss in nats of the original language (the forgetting guard), or of each language or source by
    its name. The winner is the best point that keeps each guard with probability `level` or more; without such a point,
    the one where the upper limits (at `level`) of the losses exceed their bounds by the least.
    """

    bound: float | dict[str, float]
    level: float
    weights: dict[str, float] = field(default_factory=lambda: dict(ADDITIONAL))

    @property
    def bounds(self) -> dict[str, float]:
        """By the name of the loss."""
        return self.bound if isinstance(self.bound, dict) else {"original": self.bound}

    @property
    def losses(self) -> tuple[str, ...]:
        """The names of the losses that the objective and the guards need."""
        return tuple(dict.fromkeys([*self.loss_weights, *self.bounds]))

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weights above 0."""
        return {name: share for name, share in self.weights.items() if share > 0}

    def optima(self, lattice: Lattice) -> Optima:
        mean, sd, draws = _weighted_on(lattice, self.loss_weights)
        excess = self.excess(lattice)
        allowed = excess <= max(0.0, excess.min())
        kept = self.kept({name: lattice.draws[name] for name in self.bounds})
        return Optima(lattice.almr, lattice.lr, np.where(allowed, mean, np.inf), sd, np.where(kept, draws, np.inf))

    def kept(self, losses: Mapping[str, Array]) -> NDArray[np.bool_]:
        """Whether these losses, arrays of one shape by name, keep every guard."""
        return np.asarray(np.logical_and.reduce([losses[name] <= bound for name, bound in self.bounds.items()]))

    def probability(self, lattice: Lattice, name: str = "original") -> Array:
        """The probability that the guard of one loss is kept at each point of the lattice: (A, L)."""
        margin = self.bounds[name] - lattice.mean[name]
        return np.asarray(norm.cdf(margin / np.maximum(lattice.sd[name], 1e-12)))

    def excess(self, lattice: Lattice) -> Array:
        """How far the upper limit (at `level`) of a loss is over its bound at each point, in nats, the largest of all
        guards: (A, L). 0 and less: every guard is kept with probability `level`.
        """
        upper = {name: lattice.mean[name] + norm.ppf(self.level) * lattice.sd[name] for name in self.bounds}
        return np.asarray(np.maximum.reduce([upper[name] - bound for name, bound in self.bounds.items()]))

    def of_trials(self, table: pd.DataFrame) -> pd.Series:
        """The objective of each row; NaN where a loss is missing or a guard is broken."""
        kept = self.kept({name: table[f"loss_{name}"].to_numpy(float) for name in self.bounds})
        return tables.objective(table, self.weights).where(kept)


Goal = WeightedGoal | GuardedGoal


def _weighted_on(lattice: Lattice, weights: Mapping[str, float]) -> tuple[Array, Array, Array]:
    """Mean and sd (A, L) and draws (D, A, L) of the weighted sum; the surfaces are independent."""
    sd = np.sqrt(sum((share * lattice.sd[name]) ** 2 for name, share in weights.items()))
    return weighted(weights, lattice.mean), np.asarray(sd), weighted(weights, lattice.draws)


def goal(objective: Objective, table: pd.DataFrame) -> Goal:
    """The stated objective, for a table. Raises InputError where the table lacks a loss that it needs."""
    _refuse_unmeasured(objective, table)
    bounds = _bounds(objective, table)
    if not bounds:
        return WeightedGoal(_weights(objective, table))
    weights = ADDITIONAL if objective.forgetting_guard_percent is not None else _weights(objective, table)
    bound = bounds if objective.loss_guards else bounds["original"]
    return GuardedGoal(bound, objective.level, dict(weights))


def goal_of(file: FitFile) -> Goal:
    """The goal of a finished fit."""
    bounds = file.bounds
    if not bounds:
        return WeightedGoal(file.weights or {})
    return GuardedGoal(bounds, file.winner.level, dict(file.weights or ADDITIONAL))


def over_tried(aim: Goal, surfaces: dict[str, Surface], table: pd.DataFrame, seed: int = 0) -> tuple[Lattice, Optima]:
    """The losses over the range that the table tried, and the objective's optima there."""
    used = tables.usable(table)
    lattice = Lattice.of(surfaces, used["almr"].to_numpy(float), used["lr"].to_numpy(float), seed)
    if isinstance(aim, GuardedGoal):  # its optimum lies on the border of what is allowed, where no parabola helps
        lattice = lattice.finer()
    return lattice, aim.optima(lattice)


def _weights(objective: Objective, table: pd.DataFrame) -> dict[str, float]:
    """The weights of the losses: as stated, or equal ones of the losses that were measured."""
    measured = tables.languages(table)
    weighed = {name for name, share in objective.shares.items() if share and name in LANGUAGES}
    if measured in ((), LANGUAGES) or not weighed:
        return objective.shares
    if objective.weights is not None:
        raise InputError(
            f"weights need the losses of both languages, the table has {measured[0]} alone: remove the weights"
        )
    return {name: 1 / len(measured) for name in measured}


def _refuse_unmeasured(objective: Objective, table: pd.DataFrame) -> None:
    """Raises InputError for a source without a loss in any usable row."""
    used = tables.usable(table)
    for name in tables.named_losses(objective):
        if f"loss_{name}" not in used or not used[f"loss_{name}"].notna().any():
            raise InputError(
                f"the objective needs the loss of {shown(name)}, and no usable trial has it (column loss_ and the "
                f"name): measure it in every trial, or take it out of the objective"
            )


def _bounds(objective: Objective, table: pd.DataFrame) -> dict[str, float]:
    """The highest loss in nats that the guards allow, by the name of the loss; the lowest of several for one loss."""
    found: dict[str, float] = {}
    for name, bound in _limits(objective, table):
        found[name] = min(bound, found.get(name, bound))
    return found


def _limits(objective: Objective, table: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """From the median of the base model's losses in the table."""
    if objective.forgetting_guard_percent is not None:
        base = base_loss(table, "original")
        if tables.languages(table) != LANGUAGES:
            raise InputError(
                "the forgetting guard needs the losses of both languages: name their columns, "
                "--columns original=...,additional=..., or use weights instead"
            )
        if base is None:
            raise InputError(
                "the forgetting guard needs the base model's loss on the original language: pass --base original=L, "
                "add a column base_loss_original, or use weights instead"
            )
        yield "original", objective.bound(base)
    for guard in objective.loss_guards:
        base, measured = base_loss(table, guard.name), table.get(f"loss_{guard.name}")
        if base is None or measured is None or not measured.notna().any():
            raise InputError(
                f"the guard of {shown(guard.name)} needs its loss in every trial (column loss_{guard.name}) and the "
                f"base model's: pass --base {guard.name}=L or add a column base_loss_{guard.name}, or remove the guard"
            )
        yield guard.name, guard.bound(base)


def base_loss(table: pd.DataFrame, name: str) -> float | None:
    """The base model's loss of a language or source, in nats: the median over the trials that are fitted, or else over
    all; None where not measured. Rows that are left out may be of another text, or another model.
    """
    if (column := f"base_loss_{name}") not in table:
        return None
    fitted = tables.usable(table)[column].astype(float).dropna()
    known = fitted if len(fitted) else table[column].astype(float).dropna()
    return float(known.median()) if len(known) else None
