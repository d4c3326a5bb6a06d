"""The search's own model of a loss: a Gaussian process on the logarithm of what a loss is above the best one.

A plain process (squared exponential, a length scale for each hyper-parameter) of losses as they are cannot serve a wide
range of LR: losses at its ends are nats above the best, and what is decided between neighbours of the best is a
thousandth of that. In ln(1 + excess / RESOLUTION) both are of one size, and all that is over CAP is equally bad.

The fit of finished trials (analysis.surfaces) is another model: its intervals have to hold everywhere, while this one
only ranks cells near the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from analysis.search.space import Point, Space

Array = NDArray[np.float64]

RESOLUTION = 0.01  # nats: differences far below it are kept as they are, those far above it as their logarithm
CAP = 0.3  # nats
# ln of variance, length scales (in shares of the range of ALMR and of ln LR) and noise: medians and sds of their
# normal priors, for values of sd 1. Without priors a handful of trials would be interpolated with any length scale.
START = np.log([1.0, 0.3, 0.3, 1e-3])
LOG_SD = np.array([1.0, 0.7, 0.7, 2.0])
BOUNDS = {"constant_value_bounds": (2e-3, 5e2), "length_scale_bounds": (0.05, 10.0), "noise_level_bounds": (1e-6, 0.5)}
JITTER = 1e-8


@dataclass(frozen=True)
class Warp:
    """Losses in nats on the scale of a search: sign(e) ln(1 + |e| / RESOLUTION) of the excess e over `centre`, where
    |e| is at most CAP. The same as e / RESOLUTION near `centre`.
    """

    centre: float

    def of(self, loss: ArrayLike) -> Array:
        excess = np.clip(np.asarray(loss, float) - self.centre, -CAP, CAP)
        return np.asarray(np.sign(excess) * np.log1p(np.abs(excess) / RESOLUTION))

    def nats(self, warped: Array) -> Array:
        """The inverse, in nats over `centre`; not beyond CAP."""
        return np.asarray(np.clip(np.sign(warped) * RESOLUTION * np.expm1(np.abs(warped)), -CAP, CAP))


@dataclass(frozen=True)
class Surrogate:
    """The process of one loss over a space. Its values are those of `warp`, minus `mean`, over `spread`."""

    space: Space
    warp: Warp
    mean: float
    spread: float
    process: GaussianProcessRegressor

    @classmethod
    def fit(cls, space: Space, points: Sequence[Point], loss: Array, warp: Warp) -> Surrogate:
        """`loss` (n,) in nats at n points."""
        warped = warp.of(loss)
        mean, spread = float(warped.mean()), float(warped.std()) or 1.0
        process = GaussianProcessRegressor(_kernel(), alpha=JITTER, optimizer=_penalised)
        return cls(space, warp, mean, spread, process.fit(_inputs(space, points), (warped - mean) / spread))

    @property
    def noise(self) -> float:
        """Standard deviation of one trial around the surface, warped."""
        return float(np.sqrt(np.exp(self.process.kernel_.theta[-1]))) * self.spread

    def predict(self, almr: Array, lr: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free loss at n points, warped: two arrays (n,)."""
        mean, sd = self.process.predict(self.space.unit(almr, lr), return_std=True)
        return self.mean + self.spread * mean, np.sqrt(np.maximum((self.spread * sd) ** 2 - self.noise**2, 0))

    def sample(self, almr: Array, lr: Array, draws: int, seed: int) -> Array:
        """Joint draws of the noise-free loss at n points, warped: (draws, n)."""
        mean, covariance = self.process.predict(self.space.unit(almr, lr), return_cov=True)
        covariance.flat[:: len(mean) + 1] += 1e-7 - np.exp(self.process.kernel_.theta[-1])
        root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        drawn = mean + np.random.default_rng(seed).standard_normal((draws, len(mean))) @ root.T
        return np.asarray(self.mean + self.spread * drawn)

    def conditioned_on_mean(self, points: Sequence[Point]) -> Surrogate:
        """The process after trials at these points whose losses equal its mean: same mean, less uncertainty."""
        if not points:
            return self
        old, added = self.process, _inputs(self.space, points)
        inputs, values = np.vstack([old.X_train_, added]), np.concatenate([old.y_train_, old.predict(added)])
        new = GaussianProcessRegressor(old.kernel_, alpha=JITTER, optimizer=None)
        return replace(self, process=new.fit(inputs, values))


def _inputs(space: Space, points: Sequence[Point]) -> Array:
    return space.unit(*np.array(points, float).reshape(-1, 2).T)


def _kernel() -> ConstantKernel:
    """The constant that is added has a variance of 1: the mean of the process is integrated out."""
    variance, *scales, noise = np.exp(START)
    smooth = ConstantKernel(variance, BOUNDS["constant_value_bounds"]) * RBF(scales, BOUNDS["length_scale_bounds"])
    return smooth + ConstantKernel(1.0, "fixed") + WhiteKernel(noise, BOUNDS["noise_level_bounds"])


def _penalised(objective: Callable[..., tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    """sklearn's optimizer hook: the kernel parameters of the highest likelihood times prior."""

    def negative(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta, eval_gradient=True)
        z = (theta - START) / LOG_SD
        return value + z @ z / 2, gradient + z / LOG_SD

    found = minimize(negative, start, method="L-BFGS-B", jac=True, bounds=bounds)
    return found.x, found.fun
