"""Diverged trials as lower bounds of the loss: the loss at a diverged trial is at least that of its nearest neighbour.

The bound enters as a probit likelihood, P(loss + noise >= bound), approximated by expectation propagation (Rasmussen &
Williams 2006, section 3.6): each active bound becomes one normal pseudo-observation. An inactive bound, which the
surface satisfies anyway, adds nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm

from analysis.surfaces.kernels import Array

SWEEPS = 20
NEGLIGIBLE = 1e-6  # a site of lower precision, for losses of sd 1, is an inactive bound


def of_neighbours(x: Array, y: Array, diverged: Array) -> Array:
    """The lower bound (m,) at each diverged point (m, 2): the loss of the nearest complete trial at no higher LR.

    `x` (n, 2) are the scaled inputs of the complete trials, `y` (n,) their scaled losses. If all of them have a higher
    LR, the nearest of all.
    """
    squared = ((diverged[:, None] - x[None]) ** 2).sum(axis=2)
    below = np.where(x[None, :, 1] <= diverged[:, None, 1] + 1e-9, squared, np.inf)
    distance = np.where(np.isfinite(below).any(axis=1, keepdims=True), below, squared)
    return np.asarray(y[distance.argmin(axis=1)])


def as_observations(mean: Array, covariance: Array, bound: Array, noise: Array) -> tuple[Array, Array]:
    """Expectation propagation of f + noise >= bound: values (m,) and variances (m,) of the pseudo-observations.

    `mean` (m,) and `covariance` (m, m) are the posterior of the noise-free surface without the bounds, `noise` (m,) is
    the variance of one trial's noise. The variance of an inactive bound is infinite.
    """
    precision, shift = np.zeros_like(mean), np.zeros_like(mean)
    for _ in range(SWEEPS):
        for i in range(len(mean)):
            m, variance = _cavity(mean, covariance, precision, shift, i)
            precision[i], shift[i] = _site(m, variance, bound[i], noise[i])
    active = precision > NEGLIGIBLE
    safe = np.where(active, precision, 1.0)
    return np.where(active, shift / safe, mean), np.where(active, 1 / safe, np.inf)


def _cavity(mean: Array, covariance: Array, precision: Array, shift: Array, i: int) -> tuple[float, float]:
    """The cavity: mean and variance at point i, conditioned on all other sites."""
    others = np.flatnonzero((precision > NEGLIGIBLE) & (np.arange(len(mean)) != i))
    if not len(others):
        return float(mean[i]), float(covariance[i, i])
    joint = covariance[np.ix_(others, others)] + np.diag(1 / precision[others])
    gain = np.linalg.solve(joint, covariance[others, i])
    m = mean[i] + gain @ (shift[others] / precision[others] - mean[others])
    return float(m), float(max(covariance[i, i] - gain @ covariance[others, i], 1e-12))


def _site(m: float, variance: float, bound: float, noise: float) -> tuple[float, float]:
    """Precision and precision x mean of the site that gives the cavity the moments of the bounded posterior."""
    total = np.sqrt(variance + noise)
    z = (m - bound) / total
    ratio = float(np.exp(norm.logpdf(z) - log_ndtr(z)))
    new_mean = m + variance * ratio / total
    new_variance = variance - variance**2 * ratio * (z + ratio) / (variance + noise)
    precision = max(1 / new_variance - 1 / variance, 0.0)
    return precision, new_mean / new_variance - m / variance
