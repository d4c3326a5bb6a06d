"""Covariances of a loss surface in two scaled inputs: u, a form of ALMR, and v, ln LR, each in [-1, 1] over the trials.

surface = quadratic trend + smooth residual + noise. The trend's six coefficients are integrated out rather than
fitted and forgotten (Rasmussen & Williams 2006, section 2.7). The residual is Matérn 7/2: loss rises far faster
towards divergence than any quadratic, and under the infinitely smooth squared exponential that misfit is passed on to
the minimum, with intervals that are much too narrow; under Matérn 5/2 draws are rougher than losses are, with intervals
of the optimum that are too wide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import kernels

Array = NDArray[np.float64]

TREND_SD = 10.0  # in the losses' own spread: wide enough not to shrink any real trend


class QuadraticTrend(kernels.Kernel):  # type: ignore[misc]
    """Covariance of a quadratic in two inputs whose six coefficients are independent normals of sd `prior_sd`."""

    def __init__(self, prior_sd: float = TREND_SD) -> None:
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


class Matern72(kernels.Matern):  # type: ignore[misc]
    """Matérn covariance with nu = 7/2 (R&W equation 4.17), which sklearn has only by Bessel functions."""

    def __init__(
        self, length_scale: tuple[float, float] = (1.0, 1.0), length_scale_bounds: tuple[float, float] = (1e-5, 1e5)
    ) -> None:
        super().__init__(length_scale, length_scale_bounds, nu=3.5)

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        squared = ((X[:, None] - (X if Y is None else Y)[None]) / np.asarray(self.length_scale)) ** 2
        r = np.sqrt(7 * squared.sum(axis=2))
        decay = np.exp(-r)
        covariance = (1 + r + 2 * r**2 / 5 + r**3 / 15) * decay
        if not eval_gradient:
            return covariance
        return covariance, 7 / 5 * squared * ((1 + r + r**2 / 3) * decay)[:, :, None]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"length_scale": self.length_scale, "length_scale_bounds": self.length_scale_bounds}


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


def surface_kernel(trend_sd: float = TREND_SD) -> kernels.Kernel:
    """`.k2` is the noise. theta: ln of the residual's variance, its two length scales, the noise's growth and level."""
    residual = kernels.ConstantKernel(10.0, (1e-5, 1e4)) * Matern72((3.0, 3.0), (0.2, 100.0))
    return QuadraticTrend(trend_sd) + residual + GrowingNoise()
