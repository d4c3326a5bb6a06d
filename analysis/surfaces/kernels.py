"""Covariances of a loss surface in two scaled inputs: u, a form of ALMR, and v, ln LR, each in [-1, 1] over the trials.

surface = quadratic trend + smooth residual + noise. The trend's six coefficients are integrated out rather than
fitted and forgotten (Rasmussen & Williams 2006, section 2.7). The residual is Matérn 7/2: loss rises far faster
towards divergence than any quadratic, and under the infinitely smooth squared exponential that misfit is passed on to
the minimum, with intervals that are much too narrow; under Matérn 5/2 draws are rougher than losses are, with intervals
of the optimum that are too wide. The noise's sd grows with LR: trials near the divergence edge repeat far less well
than those at low LRs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import kernels

Array = NDArray[np.float64]

TREND_SD = 10.0  # in the losses' own spread: wide enough not to shrink any real trend


# ln of each hyperparameter's range, in the order of SurfaceKernel's theta.
BOUNDS = np.log([(1e-5, 1e4), (0.2, 100.0), (0.2, 100.0), (1e-2, 3.0), (1e-9, 10.0)])
# Where a search for them starts: the medians of their priors.
START = np.log([10.0, 3.0, 3.0, 0.3, 1e-3])


class SurfaceKernel(kernels.Kernel):  # type: ignore[misc]
    """All three parts in one: as a sum of sklearn's kernels, looking up hyperparameters is half of a fit's time.

    theta is ln of the residual's variance, its length scales in u and v, the noise's growth and its level: the noise
    has the variance level * exp(2 * growth * v), independent from trial to trial. The trend's coefficients are
    independent normals of sd `trend_sd`. The losses have sd 1.
    """

    theta: Array = START  # a plain value, which sklearn's property of that name is not
    bounds = BOUNDS

    def __init__(self, theta: Array = START, trend_sd: float = TREND_SD) -> None:
        self.theta, self.trend_sd = theta, trend_sd

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        variance, *scales, _, _ = np.exp(self.theta)
        other = X if Y is None else Y
        r = np.sqrt(7) * cdist(X / scales, other / scales)
        decay = variance * np.exp(-r)
        residual = (1 + r * (1 + r * (2 / 5 + r / 15))) * decay  # R&W equation 4.17 for nu = 7/2
        covariance = self._features(X) @ self._features(other).T + residual
        if Y is None:
            covariance.flat[:: len(X) + 1] += self.noise(X)
        return (covariance, self._gradient(X, r, decay, residual)) if eval_gradient else covariance

    def _gradient(self, x: Array, r: Array, decay: Array, residual: Array) -> Array:
        """With respect to theta: (n, n, 5)."""
        _, *scales, growth, _ = np.exp(self.theta)
        slope = 7 / 5 * (1 + r * (1 + r / 3)) * decay
        by_scales = [slope * np.subtract.outer(column, column) ** 2 for column in (x / scales).T]
        noise = self.noise(x)
        return np.stack([residual, *by_scales, np.diag(2 * growth * x[:, 1] * noise), np.diag(noise)], axis=2)

    def diag(self, X: Array) -> Array:  # noqa: N803
        return np.asarray((self._features(X) ** 2).sum(axis=1) + np.exp(self.theta[0]) + self.noise(X))

    def noise(self, x: Array) -> Array:
        """The noise's variance at each of (n, 2): (n,)."""
        *_, growth, level = np.exp(self.theta)
        return np.asarray(level * np.exp(2 * growth * x[:, 1]))

    def _features(self, x: Array) -> Array:
        u, v = x.T
        return np.asarray(self.trend_sd * np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1))

    def is_stationary(self) -> bool:
        return False
