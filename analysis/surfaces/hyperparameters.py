"""Hyperparameters of a surface: their most probable values under weak priors, and how far others are believable.

By likelihood alone a small grid is often interpolated, with no noise at all. By the most probable values alone the
intervals of a small grid are too narrow, because the values themselves are uncertain: so a surface is a mixture over
a few of them, drawn from the Laplace approximation of their posterior (MacKay 2003, chapter 27).
"""

from __future__ import annotations

from collections.abc import Callable

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
STEP = 0.05  # of the second differences, in ln of a hyperparameter
FEW = 300  # the cost of a step grows with n cubed, and so many trials leave nothing open


def most_probable(
    x: Array, y: Array, seed: int, restarts: int = RESTARTS, trend_sd: float = TREND_SD, known: float = JITTER
) -> GaussianProcessRegressor:
    """The process of x (n, 2) and y (n,) at its most probable hyperparameters, which many trials are thinned for.

    `known` is the variance that each y has beside the noise that is estimated.
    """
    kept = np.random.default_rng(seed).permutation(len(y))[:FEW]
    process = GaussianProcessRegressor(
        SurfaceKernel(trend_sd=trend_sd),
        alpha=known,
        optimizer=_penalised,
        n_restarts_optimizer=restarts,
        random_state=seed,
    )
    return process.fit(x[kept], y[kept])


def believable(process: GaussianProcessRegressor, seed: int) -> tuple[Array, Array]:
    """MEMBERS values of theta, (m, p), and their weights (m,), which sum to 1."""
    best = process.kernel_.theta
    root = np.linalg.cholesky(_covariance(process, best))
    uniform = qmc.Sobol(len(best), rng=seed).random(MEMBERS)
    normal = norm.ppf(np.clip(uniform, 0.005, 0.995))
    low, high = process.kernel_.bounds.T
    thetas = np.clip(best + normal @ root.T, low, high)
    posterior = np.array([_log_posterior(process, theta)[0] for theta in thetas])
    # Importance weights mend what is not normal in the posterior; cut, so that no single member stands for all.
    weights = np.exp(posterior - posterior.max() + (normal**2).sum(axis=1) / 2)
    weights = np.minimum(weights, np.sort(weights)[-3])
    return thetas, weights / weights.sum()


def _log_posterior(process: GaussianProcessRegressor, theta: Array) -> tuple[float, Array]:
    value, gradient = process.log_marginal_likelihood(theta, eval_gradient=True)
    z = (theta - LOG_MEDIAN) / LOG_SD
    return value - z @ z / 2, gradient - z / LOG_SD


def _covariance(process: GaussianProcessRegressor, best: Array) -> Array:
    """Inverse of the negative Hessian, by differences of the gradient; no direction wider than its prior."""
    steps = STEP * np.eye(len(best))
    rows = [_log_posterior(process, best - s)[1] - _log_posterior(process, best + s)[1] for s in steps]
    hessian = np.array(rows) / (2 * STEP)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    return np.asarray(vectors / np.maximum(values, 1 / LOG_SD.max() ** 2) @ vectors.T)


def _penalised(objective: Callable[..., tuple[float, Array]], start: Array, bounds: Array) -> tuple[Array, float]:
    """sklearn's optimizer hook: its negative log likelihood plus the priors' terms, minimised over theta."""

    def negative(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta, eval_gradient=True)
        z = (theta - LOG_MEDIAN) / LOG_SD
        return value + z @ z / 2, gradient + z / LOG_SD

    found = minimize(negative, start, method="L-BFGS-B", jac=True, bounds=bounds)
    return found.x, found.fun
