"""Kernel parameters of a surface: their maximum a posteriori values and draws from their posterior.

Maximum likelihood often interpolates a small grid, without any noise: hence weak priors. Maximum a posteriori values
alone give intervals that are too narrow on a small grid, because the parameters are uncertain themselves: hence a
surface is a mixture over a few draws from the Laplace approximation of their posterior (MacKay 2003, chapter 27).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm, qmc
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis.surfaces.kernels import START, TREND_SD, Array, SurfaceKernel

# Log-normal priors on theta of analysis.surfaces.kernels.SurfaceKernel, for losses of sd 1 and inputs in [-1, 1].
LOG_MEDIAN = START
LOG_SD = np.array([1.5, 0.7, 0.7, 1.0, 2.0])
JITTER = 1e-8
RESTARTS = 2
MEMBERS = 8
STEP = 0.05  # of the finite differences, in ln of a parameter
MOST_TRIALS = 300  # the cost grows with the cube of their number, and as many determine the parameters well


class FitSettings(NamedTuple):
    """How a surface is fitted. `restarts` of the optimiser, besides its first start; `trend_sd` as in SurfaceKernel."""

    seed: int = 0
    restarts: int = RESTARTS
    trend_sd: float = TREND_SD


SETTINGS = FitSettings()


def most_probable(
    x: Array, y: Array, settings: FitSettings, extra_variance: float = JITTER
) -> GaussianProcessRegressor:
    """The process of inputs x (n, 2) and targets y (n,) at its maximum a posteriori kernel parameters.

    `extra_variance`: of each target, added to the estimated noise. Uses a random MOST_TRIALS of more trials.
    """
    used = np.random.default_rng(settings.seed).permutation(len(y))[:MOST_TRIALS]
    process = GaussianProcessRegressor(
        SurfaceKernel(trend_sd=settings.trend_sd),
        alpha=extra_variance,
        optimizer=_penalised,
        n_restarts_optimizer=settings.restarts,
        random_state=settings.seed,
    )
    return process.fit(x[used], y[used])


def posterior_draws(process: GaussianProcessRegressor, seed: int) -> tuple[Array, Array]:
    """Draws of theta, (MEMBERS, 5), and their importance weights (MEMBERS,), which sum to 1."""
    best = process.kernel_.theta
    root = np.linalg.cholesky(_covariance(process, best))
    uniform = qmc.Sobol(len(best), rng=seed).random(MEMBERS)
    normal = norm.ppf(np.clip(uniform, 0.005, 0.995))
    low, high = process.kernel_.bounds.T
    thetas = np.clip(best + normal @ root.T, low, high)
    posterior = np.array([_log_posterior(process, theta)[0] for theta in thetas])
    # Importance weights correct the Laplace approximation; truncated, so that no single member dominates.
    weights = np.exp(posterior - posterior.max() + (normal**2).sum(axis=1) / 2)
    weights = np.minimum(weights, np.sort(weights)[-3])
    return thetas, weights / weights.sum()


def _log_posterior(process: GaussianProcessRegressor, theta: Array) -> tuple[float, Array]:
    """Log marginal likelihood + log prior, without its constant, and the gradient (5,)."""
    value, gradient = process.log_marginal_likelihood(theta, eval_gradient=True)
    z = (theta - LOG_MEDIAN) / LOG_SD
    return value - z @ z / 2, gradient - z / LOG_SD


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
        z = (theta - LOG_MEDIAN) / LOG_SD
        return value + z @ z / 2, gradient + z / LOG_SD

    found = minimize(negative, start, method="L-BFGS-B", jac=True, bounds=bounds)
    return found.x, found.fun
