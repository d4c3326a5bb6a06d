"""The value of a trial at each cell: for the winner, and for the curve of best LR against ALMR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from analysis.decision.objectives import Goal, GuardedGoal
from analysis.search.space import Point, Space
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import refined, refined_along
from analysis.surfaces.surface import Surface

ALMRS, LRS, DRAWS = 13, 25, 200
SLIGHT = 1e-12  # added to denominators that may be 0


class PredictedObjective(NamedTuple):
    """The objective without its guard at n points, each (n,): `mean` and `sd` of the surface and `noise`, the sd of one
    trial, in nats; and `allowed`, the probability that a forgetting guard is kept (1 without one).
    """

    mean: Array
    sd: Array
    noise: Array
    allowed: Array


@dataclass(frozen=True)
class ObjectiveModel:
    """An objective and the surfaces of the languages' losses that it needs."""

    surfaces: Mapping[str, Surface]
    goal: Goal

    def predict(self, almr: Array, lr: Array) -> PredictedObjective:
        """The objective at n points; the languages' surfaces are independent."""
        shares = self.goal.loss_weights
        predicted = {name: self.surfaces[name].predict(almr, lr) for name in shares}
        mean = sum(share * predicted[name][0] for name, share in shares.items())
        variance = sum((share * predicted[name][1]) ** 2 for name, share in shares.items())
        noise = sum((share * self.surfaces[name].noise(almr, lr)) ** 2 for name, share in shares.items())
        guarded = isinstance(self.goal, GuardedGoal)
        allowed = norm.cdf(self.guard_margin(almr, lr)) if guarded else np.ones(len(almr))
        return PredictedObjective(np.asarray(mean), np.sqrt(variance), np.sqrt(noise), np.asarray(allowed))

    def guard_margin(self, almr: Array, lr: Array) -> Array:
        """How far the original language's loss is below the guard's bound at n points, in its sds: (n,).

        It ranks points also where the probability of keeping the guard is numerically 0.
        """
        assert isinstance(self.goal, GuardedGoal), "only a guard has a margin"
        mean, sd = self.surfaces["original"].predict(almr, lr)
        return np.asarray((self.goal.bound - mean) / np.maximum(sd, SLIGHT))

    def sample(self, almr: Array, lr: Array, seed: int) -> Array:
        """Joint posterior draws of the objective, without its guard, at n points: (DRAWS, n), in nats."""
        shares = enumerate(self.goal.loss_weights.items())
        drawn = [share * self.surfaces[name].sample(almr, lr, DRAWS, seed + i) for i, (name, share) in shares]
        return np.asarray(np.sum(drawn, axis=0))

    def conditioned_on_mean(self, points: Sequence[Point]) -> ObjectiveModel:
        """The model after trials at these points whose losses equal the surfaces' means."""
        almrs, lrs = [almr for almr, _ in points], [lr for _, lr in points]
        surfaces = {name: surface.conditioned_on_mean(almrs, lrs) for name, surface in self.surfaces.items()}
        return ObjectiveModel(surfaces, self.goal)


def expected_improvement(mean: Array, sd: Array, best: float) -> Array:
    """E[max(best - f, 0)] for normal f, in nats (Jones, Schonlau & Welch 1998, equation 15)."""
    sd = np.maximum(sd, SLIGHT)
    z = (best - mean) / sd
    return np.asarray(sd * (z * norm.cdf(z) + norm.pdf(z)))


def variance_explained(target: str, model: ObjectiveModel, space: Space, free: Space, seed: int) -> Array:
    """The share of the target's posterior variance that one trial at each free cell explains: (n,).

    `target`: "curve", ln of the best LR at each ALMR, or "winner", the optimum in the space's own coordinates. Over
    joint draws of the objective, the R2 of the linear prediction of the target from one trial's loss.
    """
    almrs, lrs = np.linspace(*space.bounds[0], ALMRS), np.geomspace(*space.bounds[1], LRS)
    lattice = [axis.ravel() for axis in np.meshgrid(almrs, lrs, indexing="ij")]
    almr, lr = (np.concatenate(pair) for pair in zip(lattice, (free.almr, free.lr), strict=True))
    drawn = model.sample(almr, lr, seed)
    at_lattice, at_cells = drawn[:, : len(lattice[0])], drawn[:, len(lattice[0]) :]
    if isinstance(model.goal, GuardedGoal):
        original = model.surfaces["original"].sample(lattice[0], lattice[1], DRAWS, seed + len(model.goal.loss_weights))
        at_lattice = np.where(original <= model.goal.bound, at_lattice, np.inf)
    losses = at_lattice.reshape(DRAWS, ALMRS, LRS)
    values = refined_along(losses) if target == "curve" else np.stack(refined(losses), axis=1) / [ALMRS - 1, LRS - 1]
    return _explained(values, at_cells, model.predict(free.almr, free.lr).noise)


def _explained(target: Array, losses: Array, noise: Array) -> Array:
    """R2 (n,) of predicting the targets (D, k) together from each of losses (D, n) with noise of sd (n,)."""
    target, losses = target - target.mean(axis=0), losses - losses.mean(axis=0)
    covariance = target.T @ losses / len(losses)
    explained = (covariance**2).sum(axis=0) / (losses.var(axis=0) + noise**2 + SLIGHT)
    return np.asarray(explained / (target.var(axis=0).sum() + SLIGHT))
