"""The value of a trial at each cell: for the winner, and for the curve of best LR against ALMR.

Losses here are on the warped scale of analysis.search.surrogate, in which minima are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from analysis.search.space import Point, Space
from analysis.search.surrogate import Surrogate
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import refined, refined_along

ALMRS, LRS, DRAWS = 13, 25, 200
CANDIDATES = 200  # cells among which the best may be
SLIGHT = 1e-12  # added to denominators that may be 0
LIKELY = 0.5  # probability that the guards are kept at a cell that may be launched


class PredictedObjective(NamedTuple):
    """The objective without its guards at n points, each (n,): `mean` and `sd` of the surface; and `allowed`, the
    probability that every guard is kept (1 without one).
    """

    mean: Array
    sd: Array
    allowed: Array


@dataclass(frozen=True)
class ObjectiveModel:
    """The surrogate of the objective, and that of each guarded loss, whose warp is centred on its bound."""

    objective: Surrogate
    guards: Mapping[str, Surrogate]

    def predict(self, almr: Array, lr: Array) -> PredictedObjective:
        """The objective at n points; the surrogates are independent."""
        mean, sd = self.objective.predict(almr, lr)
        return PredictedObjective(mean, sd, norm.cdf(self._guard_margins(almr, lr)).prod(axis=0))

    def guard_margin(self, almr: Array, lr: Array) -> Array:
        """How far a guarded loss is below its bound at n points, in its sds, the least of all guards: (n,).

        It ranks points also where the probability of keeping the guards is numerically 0.
        """
        assert self.guards, "only a guard has a margin"
        return np.asarray(self._guard_margins(almr, lr).min(axis=0))

    def _guard_margins(self, almr: Array, lr: Array) -> Array:
        """For each guard, as `guard_margin`: (guards, n)."""
        predicted = [surrogate.predict(almr, lr) for surrogate in self.guards.values()]
        return np.array([-mean / np.maximum(sd, SLIGHT) for mean, sd in predicted]).reshape(-1, len(almr))

    def sample(self, almr: Array, lr: Array, seed: int, allowed: int = 0) -> Array:
        """Joint posterior draws of the objective at n points: (DRAWS, n). At the first `allowed` points it is infinite
        where a draw breaks a guard; at the others guards do not count.
        """
        found = self.objective.sample(almr, lr, DRAWS, seed)
        for i, surrogate in enumerate(self.guards.values() if allowed else (), start=1):
            drawn = surrogate.sample(almr[:allowed], lr[:allowed], DRAWS, seed + i)
            found[:, :allowed] = np.where(drawn <= 0, found[:, :allowed], np.inf)
        return found

    def conditioned_on_mean(self, points: Sequence[Point]) -> ObjectiveModel:
        """The model after trials at these points whose losses equal the surrogates' means."""
        guards = {name: surrogate.conditioned_on_mean(points) for name, surrogate in self.guards.items()}
        return replace(self, objective=self.objective.conditioned_on_mean(points), guards=guards)


def expected_improvement(mean: Array, sd: Array, best: float) -> Array:
    """E[max(best - f, 0)] for normal f (Jones, Schonlau & Welch 1998, equation 15)."""
    sd = np.maximum(sd, SLIGHT)
    z = (best - mean) / sd
    return np.asarray(sd * (z * norm.cdf(z) + norm.pdf(z)))


def launch_loss(model: ObjectiveModel, space: Space, tried: Sequence[Point], seed: int) -> float:
    """The expected loss of a launch now, in nats: of the objective at the best tried point over that of the best cell.

    The mean over joint draws of the model without trials in flight. Points that probably break a guard do not count,
    unless all do.
    """
    almr, lr = np.array([*tried, *space.without(tried).cells], float).T
    mean, sd, allowed = model.predict(almr, lr)
    likely = allowed >= LIKELY
    best = int(_where(likely[: len(tried)], mean[: len(tried)]).argmin())
    lowest = np.argsort(_where(likely, mean - 3 * sd), kind="stable")[:CANDIDATES]
    among = np.array([best, *lowest[likely[lowest] | ~likely.any()]])
    losses = model.objective.warp.nats(model.objective.sample(almr[among], lr[among], DRAWS, seed))
    return float(np.mean(losses[:, 0] - losses.min(axis=1)))


def _where(likely: NDArray[np.bool_], values: Array) -> Array:
    """The values, infinite where it is not likely that the guards are kept, unless that is so of all."""
    return np.where(likely | ~likely.any(), values, np.inf)


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
    return _explained(values, at_cells, model.objective.noise)


def _explained(target: Array, losses: Array, noise: float) -> Array:
    """R2 (n,) of predicting the targets (D, k) together from each of losses (D, n) with noise of sd `noise`."""
    target, losses = target - target.mean(axis=0), losses - losses.mean(axis=0)
    covariance = target.T @ losses / len(losses)
    explained = (covariance**2).sum(axis=0) / (losses.var(axis=0) + noise**2 + SLIGHT)
    return np.asarray(explained / (target.var(axis=0).sum() + SLIGHT))
