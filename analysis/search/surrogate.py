"""The search's own model of a loss: a Gaussian process on the logarithm of what a loss is above the best one.

A process of losses as they are cannot serve a wide range of LR: losses at its ends are nats above the best, and what is
decided between neighbours of the best is a thousandth of that. In ln(1 + excess / RESOLUTION) both are of one size, and
all that is over CAP is equally bad. The best LR moves with ALMR, so that a valley may cross the range aslant: the
covariance is Matern's of smoothness 5/2 with a length scale along each axis and a slant. A smoother one, such as the
squared exponential, takes a cliff beside the best cell for noise and stops looking there.

The fit of finished trials (analysis.surfaces) is another model: its intervals have to hold everywhere, while this one
only ranks cells near the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from analysis.search.space import Point, Space
from analysis.surfaces.kernels import Array

RESOLUTION = 0.01  # nats: differences far below it are kept as they are, those far above it as their logarithm
CAP = 0.3  # nats
# Parameters of the kernel, in the order of SlantedKernel's theta: medians and sds of their normal priors, for values of
# sd 1. Without priors a handful of trials would be interpolated with any length scale.
START = np.array([*np.log([1.0, 0.5, 0.3]), 0.0, np.log(1e-3)])
SD = np.array([1.0, 0.5, 0.5, 0.4, 2.0])
BOUNDS = np.array([*np.log([(2e-3, 5e2), (0.05, 10.0), (0.05, 10.0)]), (-2.0, 2.0), np.log((1e-6, 0.5))])
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


class SlantedKernel(kernels.Kernel):  # type: ignore[misc]
    """Constant, smooth surface and noise, for values of sd 1 at inputs (u, v) in shares of the range.

    `theta` (5,): ln of the variance of the surface and of its length scales in u and v; the slant s; ln of the variance
    of a trial's noise. The surface has Matern's covariance of smoothness 5/2 in u and v - s u (Rasmussen & Williams
    2006, equation 4.17). The constant has a variance of 1: the mean is integrated out (ibid., section 2.7).
    """

    theta: Array = START  # a plain value, which sklearn's property of that name is not
    bounds = BOUNDS

    def __init__(self, theta: Array = START) -> None:
        self.theta = theta

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        scales, slant = np.exp(self.theta[1:3]), self.theta[3]
        du, dv = (np.subtract.outer(X[:, i], (X if Y is None else Y)[:, i]) for i in (0, 1))
        du, dv = du / scales[0], (dv - slant * du) / scales[1]
        distance = np.sqrt(5 * (du**2 + dv**2))
        decay = np.exp(self.theta[0] - distance)
        surface = (1 + distance + distance**2 / 3) * decay
        covariance, noise = 1.0 + surface, np.exp(self.theta[4]) * np.eye(len(X))
        if Y is None:
            covariance = covariance + noise
        if not eval_gradient:
            return covariance
        slope = 5 / 3 * (1 + distance) * decay  # minus the derivative with respect to half the squared distance
        by_slant = slope * dv * du * scales[0] / scales[1]
        return covariance, np.stack([surface, slope * du**2, slope * dv**2, by_slant, noise], axis=2)

    def diag(self, X: Array) -> Array:  # noqa: N803
        return np.full(len(X), 1.0 + np.exp(self.theta[0]) + np.exp(self.theta[4]))

    def is_stationary(self) -> bool:
        return True


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
        process = GaussianProcessRegressor(SlantedKernel(), alpha=JITTER, optimizer=_penalised)
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


def _penalised(objective: Callable[..., tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    """sklearn's optimizer hook: the kernel parameters of the highest likelihood times prior."""

    def negative(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta, eval_gradient=True)
        z = (theta - START) / SD
        return value + z @ z / 2, gradient + z / SD

    found = minimize(negative, start, method="L-BFGS-B", jac=True, bounds=bounds)
    return found.x, found.fun
