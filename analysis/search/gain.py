"""What a trial at each cell is worth: to the winner, and to the curve of best LR against ALMR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from analysis.decision.objectives import Goal, GuardedGoal, WeightedGoal
from analysis.search.space import Space
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import refined, refined_along
from analysis.surfaces.surface import Surface

ALMRS, LRS, DRAWS = 13, 25, 200
SLIGHT = 1e-12


@dataclass(frozen=True)
class Outlook:
    """What is minimised at n cells: `mean`, `sd` of the surface and `noise` of one trial (n,), in nats, and the
    probability `allowed` that a forgetting guard holds there (1 without one).
    """

    mean: Array
    sd: Array
    noise: Array
    allowed: Array

    @classmethod
    def of(cls, surfaces: Mapping[str, Surface], goal: Goal, almr: Array, lr: Array) -> Outlook:
        shares = minimised(goal)
        predicted = {name: surfaces[name].predict(almr, lr) for name in shares}
        mean = sum(share * predicted[name][0] for name, share in shares.items())
        variance = sum((share * predicted[name][1]) ** 2 for name, share in shares.items())
        noise = sum((share * surfaces[name].noise(almr, lr)) ** 2 for name, share in shares.items())
        return cls(np.asarray(mean), np.sqrt(variance), np.sqrt(noise), _allowed(surfaces, goal, almr, lr))


def minimised(goal: Goal) -> dict[str, float]:
    """The weights of the languages' losses in what is minimised."""
    if isinstance(goal, WeightedGoal):
        return {name: goal.weights[name] for name in goal.languages}
    return {"additional": 1.0}


def _allowed(surfaces: Mapping[str, Surface], goal: Goal, almr: Array, lr: Array) -> Array:
    if not isinstance(goal, GuardedGoal):
        return np.ones(len(almr))
    return np.asarray(norm.cdf(_margin(surfaces, goal, almr, lr)))


def _margin(surfaces: Mapping[str, Surface], goal: GuardedGoal, almr: Array, lr: Array) -> Array:
    """How far the original language's loss is under the bound, in its standard deviations: (n,)."""
    mean, sd = surfaces["original"].predict(almr, lr)
    return np.asarray((goal.bound - mean) / np.maximum(sd, SLIGHT))


def within_guard(surfaces: Mapping[str, Surface], goal: Goal, free: Space) -> Array:
    """Rises with the probability that a guard holds at each free cell, also where that is as good as 0: (n,)."""
    assert isinstance(goal, GuardedGoal), "without a guard every complete trial counts"
    return _margin(surfaces, goal, free.almr, free.lr)


def expected_improvement(mean: Array, sd: Array, best: float) -> Array:
    """E[max(best - f, 0)] for normal f, in nats (Jones, Schonlau & Welch 1998, equation 15)."""
    sd = np.maximum(sd, SLIGHT)
    z = (best - mean) / sd
    return np.asarray(sd * (z * norm.cdf(z) + norm.pdf(z)))


def of_sharpening(
    what: str, surfaces: Mapping[str, Surface], goal: Goal, space: Space, free: Space, seed: int
) -> Array:
    """The share of the variance that one trial at each free cell explains (n,): of the "curve" (of ln LR* at each ALMR)
    or of the "winner" (of where the optimum is, in the space's own coordinates).

    Over joint draws of the surface the loss of a trial there predicts either linearly; that prediction's R2.
    """
    almrs, lrs = np.linspace(*space.ends[0], ALMRS), np.geomspace(*space.ends[1], LRS)
    lattice = [axis.ravel() for axis in np.meshgrid(almrs, lrs, indexing="ij")]
    almr, lr = (np.concatenate(pair) for pair in zip(lattice, (free.almr, free.lr), strict=True))
    shares = list(enumerate(minimised(goal).items()))
    drawn = np.sum([share * surfaces[name].sample(almr, lr, DRAWS, seed + i) for i, (name, share) in shares], axis=0)
    at_lattice = drawn[:, : len(lattice[0])]
    if isinstance(goal, GuardedGoal):
        original = surfaces["original"].sample(lattice[0], lattice[1], DRAWS, seed + len(shares))
        at_lattice = np.where(original <= goal.bound, at_lattice, np.inf)
    losses = at_lattice.reshape(DRAWS, ALMRS, LRS)
    target = refined_along(losses) if what == "curve" else np.stack(refined(losses), axis=1) / [ALMRS - 1, LRS - 1]
    at_cells = drawn[:, len(lattice[0]) :]
    return _explained(target, at_cells, Outlook.of(surfaces, goal, free.almr, free.lr).noise)


def _explained(target: Array, losses: Array, noise: Array) -> Array:
    """R2 of predicting targets (draws, k), as a whole, from each of losses (draws, n) with noise of sd (n,): (n,)."""
    target, losses = target - target.mean(axis=0), losses - losses.mean(axis=0)
    covariance = target.T @ losses / len(losses)
    explained = (covariance**2).sum(axis=0) / (losses.var(axis=0) + noise**2 + SLIGHT)
    return np.asarray(explained / (target.var(axis=0).sum() + SLIGHT))
