"""The loss of one language as a smooth function of (ALMR, LR), with its uncertainty.

Gaussian process regression in the coordinates (f(ALMR), ln LR), each scaled to [-1, 1] over the trials. Beside this
module, `kernels` has the covariance, `hyperparameters` the mixture of processes that a surface is, and `bounds` what
trials that diverged say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import cholesky
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis.surfaces import bounds, hyperparameters
from analysis.surfaces.kernels import TREND_SD, Array
from analysis.surfaces.scale import Scale
from analysis.surfaces.scale_choice import best_scale, left_out
from analysis.table import table as tables

NOTHING = np.empty(0)


class FittedSurface(Protocol):
    """What plots and the choice of a winner need of a surface, be it one language's or a weighted sum."""

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free loss (nats) at n points: two arrays of shape (n,)."""


@dataclass(frozen=True)
class Surface:
    """A fitted surface: a mixture of processes, `members`, that differ in their hyperparameters, with `weights`."""

    scale: Scale
    members: tuple[GaussianProcessRegressor, ...]
    weights: Array

    @staticmethod
    def fit(
        scale: Scale,
        diverged: tuple[ArrayLike, ArrayLike] = (NOTHING, NOTHING),
        seed: int = 0,
        restarts: int = hyperparameters.RESTARTS,
        trend_sd: float = TREND_SD,
        error: float = 0.0,
    ) -> Surface:
        """Fit n complete trials, bounded by the m trials that diverged at the (ALMRs, LRs) of `diverged`.

        `error`: the standard error that each trial's number is known to have, in its unit, beside the noise that is
        estimated.
        """
        x, y = scale.inputs(scale.almr, scale.lr), scale.targets
        known = hyperparameters.JITTER + (error / scale.spread) ** 2
        process = hyperparameters.most_probable(x, y, seed, restarts, trend_sd, known)
        thetas, weights = hyperparameters.believable(process, seed)
        x, y, alpha = _with_bounds(process, x, y, scale.inputs(*diverged), known)
        return Surface(scale, tuple(_condition(process, theta, x, y, alpha) for theta in thetas), weights)

    def believing(self, almr: ArrayLike, lr: ArrayLike) -> Surface:
        """The surface if trials at m points turned out just as predicted: the same means, and less uncertainty."""
        added = self.scale.inputs(almr, lr)
        return self if not len(added) else replace(self, members=tuple(_believing(m, added) for m in self.members))

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        x = self.scale.inputs(almr, lr)
        means, deviations = zip(*(member.predict(x, return_std=True) for member in self.members), strict=True)
        variances = np.array(deviations) ** 2 - [member.kernel_.noise(x) for member in self.members]
        return self._mixed(np.array(means), np.clip(variances, 0, None))

    def _mixed(self, means: Array, variances: Array) -> tuple[Array, Array]:
        """Mean and sd in nats of the mixture; both inputs (members, n), scaled."""
        mean = self.weights @ means
        variance = self.weights @ (variances + (means - mean) ** 2)
        return self.scale.nats(mean), self.scale.nats_of_sd(np.sqrt(variance), mean)

    def noise(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Standard deviation in nats of one trial's loss around the surface at n points: (n,)."""
        x = self.scale.inputs(almr, lr)
        mean = self.weights @ [member.predict(x) for member in self.members]
        variance = self.weights @ [member.kernel_.noise(x) for member in self.members]
        return self.scale.nats_of_sd(np.sqrt(variance), mean)

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        """Joint posterior draws of the noise-free loss (nats) at n points: shape (draws, n)."""
        x, random = self.scale.inputs(almr, lr), np.random.default_rng(seed)
        counts = random.multinomial(draws, self.weights)
        drawn = [_draw(m, x, random.standard_normal((c, len(x)))) for m, c in zip(self.members, counts, strict=True)]
        return self.scale.nats(random.permutation(np.concatenate(drawn)))

    def leave_one_out(self) -> tuple[Array, Array]:
        """Each trial's loss predicted from all others, and that prediction's sd with noise (R&W equations 5.10-5.12).

        Hyperparameters stay those of the full fit. Two arrays of shape (n,), in nats.
        """
        means, variances = zip(*(left_out(member, len(self.scale.loss)) for member in self.members), strict=True)
        return self._mixed(np.array(means), np.array(variances))


def _with_bounds(
    process: GaussianProcessRegressor, x: Array, y: Array, diverged: Array, known: float
) -> tuple[Array, Array, Array]:
    """Inputs, targets and extra variances (the three of one length) of the trials and of the bounds that matter."""
    alpha = np.full(len(y), known)
    if not len(diverged):
        return x, y, alpha
    whole = _condition(process, process.kernel_.theta, x, y, alpha)
    mean, covariance = whole.predict(diverged, return_cov=True)
    noise = whole.kernel_.noise(diverged)
    covariance.flat[:: len(mean) + 1] += hyperparameters.JITTER - noise
    value, variance = bounds.as_observations(mean, covariance, bounds.of_neighbours(x, y, diverged), noise)
    matters = np.isfinite(variance)
    added = np.maximum(variance - noise, hyperparameters.JITTER)[matters]  # the kernel adds the noise itself
    return np.concatenate([x, diverged[matters]]), np.concatenate([y, value[matters]]), np.concatenate([alpha, added])


def _condition(
    process: GaussianProcessRegressor, theta: Array, x: Array, y: Array, alpha: Array
) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(process.kernel_.clone_with_theta(theta), alpha=alpha, optimizer=None).fit(x, y)


def _believing(member: GaussianProcessRegressor, added: Array) -> GaussianProcessRegressor:
    x, y = np.concatenate([member.X_train_, added]), np.concatenate([member.y_train_, member.predict(added)])
    alpha = np.concatenate([member.alpha, np.full(len(added), hyperparameters.JITTER)])
    return _condition(member, member.kernel_.theta, x, y, alpha)


def _draw(member: GaussianProcessRegressor, x: Array, normal: Array) -> Array:
    if not len(normal):
        return normal
    mean, covariance = member.predict(x, return_cov=True)
    # Enough to factorise, and little enough that no draw is rough near its minimum, which would move it.
    covariance.flat[:: len(mean) + 1] += 1e-9 - member.kernel_.noise(x)
    root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(mean + normal @ root.T)


@dataclass(frozen=True)
class WeightedSurface:
    """A weighted sum of independent surfaces."""

    parts: tuple[tuple[float, FittedSurface], ...]

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        each = [(share, *surface.predict(almr, lr)) for share, surface in self.parts]
        mean = sum(share * m for share, m, _ in each)
        return np.asarray(mean), np.sqrt(sum((share * sd) ** 2 for share, _, sd in each))


def fit_languages(table: pd.DataFrame, languages: tuple[str, ...], seed: int = 0) -> dict[str, Surface]:
    """One surface per language from a table (see analysis.table), each on the scale that predicts it best.

    Rows that diverged bound the surfaces; other excluded rows are left out.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    ends = lost["almr"].to_numpy(float), lost["lr"].to_numpy(float)
    surfaces = {}
    for name in languages:
        trials = used["almr"], used["lr"], used[f"loss_{name}"]
        surfaces[name] = Surface.fit(best_scale(*trials, seed), ends, seed)
    return surfaces
