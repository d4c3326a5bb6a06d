"""The covariance of a loss surface and its parameters: u and v are ALMR and ln LR, scaled to [-1, 1] over the trials.

surface = quadratic trend + smooth residual + noise. The trend's six coefficients are integrated out rather than
estimated (Rasmussen & Williams 2006, section 2.7). The residual is Matérn 7/2. Loss rises far faster towards divergence
than any quadratic: the infinitely smooth squared exponential carries that misfit to the minimum, and its intervals are
much too narrow; draws under Matérn 5/2 are rougher than losses are, and their intervals too wide. The sd of the noise
grows with LR: trials near the divergence edge repeat far less well than trials at low LRs.

Maximum likelihood often interpolates a small grid, without any noise: hence weak priors on the kernel parameters. Their
maximum a posteriori values alone give intervals that are too narrow on a small grid, because the parameters are
uncertain themselves: hence a surface is a mixture over a few draws from the Laplace approximation of their posterior
(MacKay 2003, chapter 27).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import norm, qmc
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

Array = NDArray[np.float64]

TREND_SD = 10.0  # for losses of sd 1: wide enough not to shrink any real trend

# ln of the range of each kernel parameter, in the order of SurfaceKernel's theta.
BOUNDS = np.log([(1e-5, 1e4), (0.2, 100.0), (0.2, 100.0), (1e-2, 3.0), (1e-9, 10.0)])
# Their log-normal priors, for losses of sd 1 and inputs in [-1, 1]; the optimiser starts at the medians, START. A
# surface that has no residual is a candidate of its own: the prior is of those that have one.
START = np.log([3.0, 1.5, 1.5, 0.3, 1e-3])
LOG_SD = np.array([2.0, 0.7, 0.7, 1.0, 2.0])
JITTER = 1e-8
MEMBERS = 16
RARE = 0.01  # a weight under which a draw is left out
STEP = 0.05  # of the finite differences, in ln of a parameter
MOST_TRIALS = 300  # the cost grows with the cube of their number, and as many determine the parameters well


class SurfaceKernel(kernels.Kernel):  # type: ignore[misc]
    """Trend, residual and noise in one kernel, for losses of sd 1.

    `theta` (5,) is ln of: the variance of the residual, its length scales in u and v, the growth and the level of the
    noise; of the last two alone (2,) where there is no residual. One trial's noise has the variance
    level * exp(2 * growth * v), independent of other trials. The coefficients of the trend are independent normals of
    sd TREND_SD. Written out, because a sum of sklearn's kernels spends half of a fit's time on looking up parameters.
    """

    theta: Array = START  # a plain value, which sklearn's property of that name is not

    def __init__(self, theta: Array = START) -> None:
        self.theta = theta

    @property
    def residual(self) -> bool:
        return len(self.theta) > 2

    @property
    def bounds(self) -> Array:
        return np.asarray(BOUNDS[-len(self.theta) :])

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        other = X if Y is None else Y
        covariance = self._features(X) @ self._features(other).T
        slopes: list[Array] = []
        if self.residual:
            residual, slopes = self._residual(X, other, eval_gradient)
            covariance += residual
        if Y is None:
            covariance.flat[:: len(X) + 1] += self.noise(X)
        if not eval_gradient:
            return covariance
        growth, noise = np.exp(self.theta[-2]), self.noise(X)
        return covariance, np.stack([*slopes, np.diag(2 * growth * X[:, 1] * noise), np.diag(noise)], axis=2)

    def _residual(self, x: Array, other: Array, slopes: bool) -> tuple[Array, list[Array]]:
        """Covariance of the residual (n, k), and where `slopes` its derivatives with respect to theta, for x alone."""
        variance, *scales, _, _ = np.exp(self.theta)
        r = np.sqrt(7) * cdist(x / scales, other / scales)
        decay = variance * np.exp(-r)
        covariance = (1 + r * (1 + r * (2 / 5 + r / 15))) * decay  # R&W equation 4.17 for nu = 7/2
        if not slopes:
            return covariance, []
        slope = 7 / 5 * (1 + r * (1 + r / 3)) * decay
        return covariance, [covariance, *(slope * np.subtract.outer(u, u) ** 2 for u in (x / scales).T)]

    def diag(self, X: Array) -> Array:  # noqa: N803
        residual = np.exp(self.theta[0]) if self.residual else 0.0
        return np.asarray((self._features(X) ** 2).sum(axis=1) + residual + self.noise(X))

    def noise(self, x: Array) -> Array:
        """Variance of one trial's noise at inputs (n, 2): (n,)."""
        *_, growth, level = np.exp(self.theta)
        return np.asarray(level * np.exp(2 * growth * x[:, 1]))

    def _features(self, x: Array) -> Array:
        u, v = x.T
        return np.asarray(TREND_SD * np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1))

    def is_stationary(self) -> bool:
        return False


class FitSettings(NamedTuple):
    """How a surface is fitted.

    `seed` of the draws of kernel parameters, `members`: about their number, in all scales together.
    """

    seed: int = 0
    members: int = MEMBERS


SETTINGS = FitSettings()


def most_probable(
    x: Array, y: Array, settings: FitSettings, extra_variance: float = JITTER, residual: bool = True
) -> GaussianProcessRegressor:
    """The process of inputs x (n, 2) and targets y (n,) at its maximum a posteriori kernel parameters.

    `extra_variance`: of each target, added to the estimated noise. `residual`: whether the surface has one. Uses a
    random MOST_TRIALS of more trials.
    """
    used = np.random.default_rng(settings.seed).permutation(len(y))[:MOST_TRIALS]
    process = GaussianProcessRegressor(
        SurfaceKernel(START if residual else START[-2:]),
        alpha=extra_variance,
        optimizer=_penalised,
    )
    return process.fit(x[used], y[used])


def log_evidence(process: GaussianProcessRegressor) -> float:
    """ln of the targets' probability over all kernel parameters, by Laplace's approximation, but for a constant."""
    best = process.kernel_.theta
    return float(_log_posterior(process, best)[0] + np.linalg.slogdet(_covariance(process, best))[1] / 2)


def posterior_draws(process: GaussianProcessRegressor, settings: FitSettings) -> tuple[Array, Array]:
    """At most settings.members draws of theta, (k, 5), and their importance weights (k,), which sum to 1."""
    best = process.kernel_.theta
    root = np.linalg.cholesky(_covariance(process, best))
    uniform = qmc.Sobol(len(best), rng=settings.seed).random(settings.members)
    normal = norm.ppf(np.clip(uniform, 0.005, 0.995))
    low, high = process.kernel_.bounds.T
    thetas = np.clip(best + normal @ root.T, low, high)
    posterior = np.array([_log_posterior(process, theta)[0] for theta in thetas])
    # Importance weights correct the Laplace approximation; truncated, so that no single member dominates.
    weights = np.exp(posterior - posterior.max() + (normal**2).sum(axis=1) / 2)
    weights = np.minimum(weights, np.sort(weights)[-3])
    kept = weights >= RARE * weights.sum()
    return thetas[kept], weights[kept] / weights[kept].sum()


def _log_posterior(process: GaussianProcessRegressor, theta: Array) -> tuple[float, Array]:
    """Log marginal likelihood + log prior, without its constant, and the gradient (5,)."""
    value, gradient = process.log_marginal_likelihood(theta, eval_gradient=True)
    prior, slope = _log_prior(theta)
    return value + prior, gradient + slope


def _log_prior(theta: Array) -> tuple[float, Array]:
    """ln of the prior density, but for a factor per parameter, and its gradient (k,)."""
    sd = LOG_SD[-len(theta) :]
    z = (theta - START[-len(theta) :]) / sd
    return float(-z @ z / 2 - np.log(sd).sum()), -z / sd


def _covariance(process: GaussianProcessRegressor, best: Array) -> Array:
    """Laplace covariance (5, 5): inverse negative Hessian, by finite differences; no wider than the widest prior."""
    steps = STEP * np.eye(len(best))
    rows = [_log_posterior(process, best - s)[1] - _log_posterior(process, best + s)[1] for s in steps]
    hessian = np.array(rows) / (2 * STEP)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    return np.asarray(vectors / np.maximum(values, 1 / LOG_SD.max() ** 2) @ vectors.T)


def _penalised(objective: Callable[..., tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    """sklearn's optimizer hook: minimises `objective`, the negative log likelihood, minus the log prior."""

    def negative(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta, eval_gradient=True)
        prior, slope = _log_prior(theta)
        return value - prior, gradient - slope

    found = minimize(negative, start, method="L-BFGS-B", jac=True, bounds=bounds)
    return found.x, found.fun
