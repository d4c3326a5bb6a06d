"""The covariance of a loss surface in two scaled inputs, each in [-1, 1] over the trials: u, of ALMR, and v, of ln LR.

surface = quadratic trend + smooth residual + noise. The trend's six coefficients are integrated out rather than
estimated (Rasmussen & Williams 2006, section 2.7). The residual is Matérn 7/2. Loss rises far faster towards divergence
than any quadratic: the infinitely smooth squared exponential carries that misfit to the minimum, and its intervals are
much too narrow; draws under Matérn 5/2 are rougher than losses are, and their intervals too wide. The sd of the noise
grows with LR: trials near the divergence edge repeat far less well than trials at low LRs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import kernels

Array = NDArray[np.float64]

TREND_SD = 10.0  # for losses of sd 1: wide enough not to shrink any real trend

# ln of the range of each kernel parameter, in the order of SurfaceKernel's theta.
BOUNDS = np.log([(1e-5, 1e4), (0.2, 100.0), (0.2, 100.0), (1e-2, 3.0), (1e-9, 10.0)])
# The medians of their priors, where the optimiser starts.
START = np.log([10.0, 3.0, 3.0, 0.3, 1e-3])


class SurfaceKernel(kernels.Kernel):  # type: ignore[misc]
    """Trend, residual and noise in one kernel, for losses of sd 1.

    `theta` (5,) is ln of: the variance of the residual, its length scales in u and v, the growth and the level of the
    noise. One trial's noise has the variance level * exp(2 * growth * v), independent of other trials. The coefficients
    of the trend are independent normals of sd `trend_sd`. Written out, because a sum of sklearn's kernels spends half
    of a fit's time on looking up parameters.
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
        """Derivative of the covariance with respect to theta: (n, n, 5)."""
        _, *scales, growth, _ = np.exp(self.theta)
        slope = 7 / 5 * (1 + r * (1 + r / 3)) * decay
        by_scales = [slope * np.subtract.outer(column, column) ** 2 for column in (x / scales).T]
        noise = self.noise(x)
        return np.stack([residual, *by_scales, np.diag(2 * growth * x[:, 1] * noise), np.diag(noise)], axis=2)

    def diag(self, X: Array) -> Array:  # noqa: N803
        return np.asarray((self._features(X) ** 2).sum(axis=1) + np.exp(self.theta[0]) + self.noise(X))

    def noise(self, x: Array) -> Array:
        """Variance of one trial's noise at inputs (n, 2): (n,)."""
        *_, growth, level = np.exp(self.theta)
        return np.asarray(level * np.exp(2 * growth * x[:, 1]))

    def _features(self, x: Array) -> Array:
        u, v = x.T
        return np.asarray(self.trend_sd * np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1))

    def is_stationary(self) -> bool:
        return False
