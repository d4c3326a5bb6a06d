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
    trial, in nats; and `allowed`, the probability that every guard of a loss is kept (1 without one).
    """

    mean: Array
    sd: Array
    noise: Array
    allowed: Array


@dataclass(frozen=True)
class ObjectiveModel:
    """An objective and the surfaces of the losses that it needs."""

    surfaces: Mapping[str, Surface]
    goal: Goal

    def predict(self, almr: Array, lr: Array) -> PredictedObjective:
        """The objective at n points; the surfaces are independent."""
        shares = self.goal.loss_weights
        predicted = {name: self.surfaces[name].predict(almr, lr) for name in shares}
        mean = sum(share * predicted[name][0] for name, share in shares.items())
        variance = sum((share * predicted[name][1]) ** 2 for name, share in shares.items())
        noise = sum((share * self.surfaces[name].noise(almr, lr)) ** 2 for name, share in shares.items())
        margins = self._guard_margins(almr, lr) if isinstance(self.goal, GuardedGoal) else np.empty((0, len(almr)))
        allowed = norm.cdf(margins).prod(axis=0)
        return PredictedObjective(np.asarray(mean), np.sqrt(variance), np.sqrt(noise), np.asarray(allowed))

    def guard_margin(self, almr: Array, lr: Array) -> Array:
        """How far a guarded loss is below its bound at n points, in its sds, the least of all guards: (n,).

        It ranks points also where the probability of keeping the guards is numerically 0.
        """
        return np.asarray(self._guard_margins(almr, lr).min(axis=0))

    def _guard_margins(self, almr: Array, lr: Array) -> Array:
        """For each guard, as `guard_margin`: (guards, n)."""
        assert isinstance(self.goal, GuardedGoal), "only a guard has a margin"
        predicted = {name: self.surfaces[name].predict(almr, lr) for name in self.goal.bounds}
        margins = [
            (bound - predicted[name][0]) / np.maximum(predicted[name][1], SLIGHT)
            for name, bound in self.goal.bounds.items()
        ]
        return np.array(margins)

    def sample(self, almr: Array, lr: Array, seed: int, allowed: int = 0) -> Array:
        """Joint posterior draws of the objective at n points: (DRAWS, n), in nats. At the first `allowed` points it is
        infinite where a draw breaks a guard; at the others guards do not count.
        """
        weights, drawn = self.goal.loss_weights, {}
        for i, name in enumerate(self.goal.losses):
            points = slice(None) if name in weights else slice(allowed)
            drawn[name] = self.surfaces[name].sample(almr[points], lr[points], DRAWS, seed + i)
        found = np.sum([share * drawn[name] for name, share in weights.items()], axis=0)
        if allowed and isinstance(self.goal, GuardedGoal):
            kept = self.goal.kept({name: drawn[name][:, :allowed] for name in self.goal.bounds})
            found[:, :allowed] = np.where(kept, found[:, :allowed], np.inf)
        return np.asarray(found)

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
    drawn = model.sample(almr, lr, seed, allowed=len(lattice[0]))
    at_lattice, at_cells = drawn[:, : len(lattice[0])], drawn[:, len(lattice[0]) :]
    losses = at_lattice.reshape(DRAWS, ALMRS, LRS)
    values = refined_along(losses) if target == "curve" else np.stack(refined(losses), axis=1) / [ALMRS - 1, LRS - 1]
    return _explained(values, at_cells, model.predict(free.almr, free.lr).noise)


def _explained(target: Array, losses: Array, noise: Array) -> Array:
    """R2 (n,) of predicting the targets (D, k) together from each of losses (D, n) with noise of sd (n,)."""
    target, losses = target - target.mean(axis=0), losses - losses.mean(axis=0)
    covariance = target.T @ losses / len(losses)
    explained = (covariance**2).sum(axis=0) / (losses.var(axis=0) + noise**2 + SLIGHT)
    return np.asarray(explained / (target.var(axis=0).sum() + SLIGHT))
