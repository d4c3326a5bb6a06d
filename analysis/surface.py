"""The loss of one language as a smooth function of (ALMR, LR), with its uncertainty.

Gaussian process regression (Rasmussen & Williams 2006, chapter 2) in the coordinates (ALMR, ln LR), each scaled to
[-1, 1] over the measured range. The covariance is a quadratic trend with a wide prior (section 2.7, explicit basis
functions), because loss is close to quadratic in ln LR near its minimum, plus a squared-exponential residual for what
the trend misses, plus white noise. The trend's coefficients are integrated out rather than fitted and forgotten.
Hyperparameters are maximum a posteriori under weak log-normal priors: by likelihood alone a small grid is often
interpolated, with no noise at all and intervals that are far too narrow.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from analysis.table import objective
from sweep.study import MINIMUM_TRIALS, InputError

Array = NDArray[np.float64]
JITTER = 1e-8
# A trial may stray from the surface by this share of its excess over the best trial of its ALMR, and by more where that
# excess is over FAR_NATS: a 2x error in LR costs 0.005 to 0.011 nats, so beyond it a trial is far from any choice.
STRAY = 0.25
FAR_NATS = 0.1
# Of the residual's variance, its two length scales, the noise variance; losses scaled to sd 1, inputs to [-1, 1].
PRIOR_LOG_MEAN = np.log([0.02, 1.0, 1.0, 1e-3])
PRIOR_LOG_SD = np.array([2.0, 0.7, 0.7, 1.5])


class QuadraticTrend(kernels.Kernel):  # type: ignore[misc]
    """Covariance of a quadratic in two inputs whose six coefficients are independent normals of sd `prior_sd`.

    The default, ten times the losses' own spread, is wide enough not to shrink any real trend.
    """

    def __init__(self, prior_sd: float = 10.0) -> None:
        self.prior_sd = prior_sd

    def _features(self, x: Array) -> Array:
        u, v = x.T
        features: Array = self.prior_sd * np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
        return features

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        covariance = self._features(X) @ self._features(X if Y is None else Y).T
        return (covariance, np.empty((len(X), len(X), 0))) if eval_gradient else covariance

    def diag(self, X: Array) -> Array:  # noqa: N803
        return np.asarray((self._features(X) ** 2).sum(axis=1))

    def is_stationary(self) -> bool:
        return False


class Fitted(Protocol):
    """What plots and the choice of a winner need of a surface, be it one language's or a weighted sum."""

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free loss (nats) at n points: two arrays of shape (n,)."""

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        """Joint posterior draws of the noise-free loss at n points: shape (draws, n)."""


@dataclass(frozen=True)
class Surface:
    """A fitted surface. Arrays `almr`, `lr` and `loss` (nats per token) are the n trials it was fitted on."""

    almr: Array
    lr: Array
    loss: Array
    process: GaussianProcessRegressor

    @staticmethod
    def fit(
        almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, seed: int = 0, extra_sd: ArrayLike | float = 0.0
    ) -> Surface:
        """Fit n trials. `extra_sd` (n,): how far in nats each may stray from the surface beyond the common noise.

        Raises InputError for fewer than MINIMUM_TRIALS trials.
        """
        a, r, y = (np.asarray(values, dtype=float) for values in (almr, lr, loss))
        if len(y) < MINIMUM_TRIALS:
            raise InputError(f"{len(y)} usable trials: a surface needs {MINIMUM_TRIALS} or more; run a larger grid")
        residual = kernels.ConstantKernel(0.1, (1e-5, 10)) * kernels.RBF([1.0, 1.0], (0.25, 8))
        noise = kernels.WhiteKernel(1e-2, (1e-7, 1))
        surface = Surface(a, r, y, GaussianProcessRegressor(QuadraticTrend() + residual + noise))
        alpha = JITTER + np.broadcast_to((np.asarray(extra_sd) / surface._spread) ** 2, y.shape)
        process = surface.process.set_params(
            alpha=alpha, optimizer=_maximum_a_posteriori, n_restarts_optimizer=4, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound that is reached is an answer here
            process.fit(surface._scaled(a, r), (y - y.mean()) / surface._spread)
        return surface

    @cached_property
    def _spread(self) -> float:
        return float(self.loss.std()) or 1.0

    def _scaled(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        columns = ((np.asarray(almr, float), self.almr), (np.log(np.asarray(lr, float)), np.log(self.lr)))
        return np.stack([_to_unit(values, measured) for values, measured in columns], axis=1)

    @property
    def noise(self) -> float:
        """Standard deviation of one trial's loss around the surface, in nats."""
        return self._spread * float(np.sqrt(self.process.kernel_.k2.noise_level))

    @property
    def sd_of_trials(self) -> Array:
        """Standard deviation in nats that each trial's loss is given around the surface, shape (n,)."""
        return np.asarray(self._spread * np.sqrt(self.process.kernel_.k2.noise_level + self.process.alpha))

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        mean, covariance = self._posterior(almr, lr)
        return mean, np.sqrt(np.clip(np.diag(covariance), 0, None))

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        mean, covariance = self._posterior(almr, lr)
        # The jitter is a thousandth of the prior residual's sd: far under any noise, enough to factorise.
        covariance.flat[:: len(mean) + 1] += 1e-6 * self._spread**2
        root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        normal = np.random.default_rng(seed).standard_normal((draws, len(mean)))
        return np.asarray(mean + normal @ root.T)

    def _posterior(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        mean, covariance = self.process.predict(self._scaled(almr, lr), return_cov=True)
        covariance.flat[:: len(mean) + 1] -= self.process.kernel_.k2.noise_level
        return self.loss.mean() + self._spread * mean, self._spread**2 * covariance

    def leave_one_out(self) -> tuple[Array, Array]:
        """Each trial's loss predicted from all others, and that prediction's sd with noise (R&W equations 5.10-5.12).

        Hyperparameters stay those of the full fit. Two arrays of shape (n,), in nats.
        """
        inverse = cho_solve((self.process.L_, True), np.eye(len(self.loss)))
        variance = 1 / np.diag(inverse)
        mean = self.process.y_train_ - self.process.alpha_ * variance
        return self.loss.mean() + self._spread * mean, self._spread * np.sqrt(variance)


def _maximum_a_posteriori(
    objective: Callable[..., tuple[float, Array]], start: Array, bounds: Array
) -> tuple[Array, float]:
    """sklearn's optimizer hook: its negative log likelihood plus the priors' terms, minimised over log parameters."""

    def penalised(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta, eval_gradient=True)
        z = (theta - PRIOR_LOG_MEAN) / PRIOR_LOG_SD
        return value + z @ z / 2, gradient + z / PRIOR_LOG_SD

    found = minimize(penalised, start, method="L-BFGS-B", jac=True, bounds=bounds)
    return found.x, found.fun


def _to_unit(values: Array, measured: Array) -> Array:
    low, high = measured.min(), measured.max()
    return np.asarray(2 * (values - low) / (high - low or 1.0) - 1)


@dataclass(frozen=True)
class WeightedSurface:
    """The objective: a weighted sum of independent surfaces."""

    parts: tuple[tuple[float, Fitted], ...]

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        each = [(share, *surface.predict(almr, lr)) for share, surface in self.parts]
        mean = sum(share * m for share, m, _ in each)
        return np.asarray(mean), np.sqrt(sum((share * sd) ** 2 for share, _, sd in each))

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        # Each part gets its own stream, or the languages' draws would move together.
        return np.asarray(
            sum(share * s.sample(almr, lr, draws, seed + 1000 * i) for i, (share, s) in enumerate(self.parts))
        )


def fit_languages(table: pd.DataFrame, weights: dict[str, float], seed: int = 0) -> dict[str, Surface]:
    """One surface per language from the usable rows of a table (see analysis.table).

    A trial counts the less the further its objective lies above the best one of its own ALMR: towards the divergence
    edge losses are noisy and rise faster than any quadratic, and following them bends the surface at its minimum.
    """
    measured = objective(table, weights)
    excess = (measured - measured.groupby(table["almr"]).transform("min")).to_numpy(float)
    stray = STRAY * excess * (1 + excess / FAR_NATS)
    return {name: Surface.fit(table["almr"], table["lr"], table[f"loss_{name}"], seed, stray) for name in weights}
