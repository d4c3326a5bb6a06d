"""Covariances of a loss surface in two scaled inputs: u, a form of ALMR, and v, ln LR, each in [-1, 1] over the trials.

surface = quadratic trend + smooth residual + noise. The trend's six coefficients are integrated out rather than
fitted and forgotten (Rasmussen & Williams 2006, section 2.7). The residual is Matérn 5/2: loss rises far faster
towards divergence than any quadratic, and under the infinitely smooth squared exponential that misfit is passed on to
the minimum, with intervals that are much too narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import kernels

Array = NDArray[np.float64]


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


class GrowingNoise(kernels.Kernel):  # type: ignore[misc]
    """Independent noise of variance `level` in the middle of the LR range, whose sd grows as exp(growth * v).

    Trials near the divergence edge repeat far less well than those at low LRs. From the lowest LR to the highest the
    sd grows by exp(2 * growth).
    """

    def __init__(
        self,
        growth: float = 0.3,
        level: float = 1e-3,
        growth_bounds: tuple[float, float] = (1e-2, 3.0),
        level_bounds: tuple[float, float] = (1e-9, 10.0),
    ) -> None:
        self.growth, self.level = growth, level
        self.growth_bounds, self.level_bounds = growth_bounds, level_bounds

    @property
    def hyperparameter_growth(self) -> kernels.Hyperparameter:
        return kernels.Hyperparameter("growth", "numeric", self.growth_bounds)

    @property
    def hyperparameter_level(self) -> kernels.Hyperparameter:
        return kernels.Hyperparameter("level", "numeric", self.level_bounds)

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        if Y is not None:
            return np.zeros((len(X), len(Y)))
        variance = self.diag(X)
        if not eval_gradient:
            return np.diag(variance)
        by_growth = variance * 2 * self.growth * X[:, 1]  # with respect to ln growth, then ln level
        return np.diag(variance), np.stack([np.diag(by_growth), np.diag(variance)], axis=2)

    def diag(self, X: Array) -> Array:  # noqa: N803
        return np.asarray(self.level * np.exp(2 * self.growth * X[:, 1]))

    def is_stationary(self) -> bool:
        return False


def surface_kernel() -> kernels.Kernel:
    """`.k2` is the noise. theta: ln of the residual's variance, its two length scales, the noise's growth and level."""
    residual = kernels.ConstantKernel(10.0, (1e-5, 1e4)) * kernels.Matern([3.0, 3.0], (0.2, 100.0), nu=2.5)
    return QuadraticTrend() + residual + GrowingNoise()
