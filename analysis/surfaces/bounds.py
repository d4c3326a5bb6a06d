"""Diverged trials as bounds: such a trial has no loss to fit, but its loss is no better than that of its neighbour.

The bound enters as a probit likelihood, P(loss + noise >= bound), approximated by expectation propagation (Rasmussen &
Williams 2006, section 3.6): each bound that matters becomes one normal observation. A bound that the surface respects
anyway changes nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm

from analysis.surfaces.kernels import Array

SWEEPS = 20
NEGLIGIBLE = 1e-6  # the precision, for losses of sd 1, under which a bound says nothing


def of_neighbours(x: Array, y: Array, diverged: Array) -> Array:
    """The bound of each diverged point (m, 2): the loss of the nearest of n trials at no higher LR.

    x (n, 2) are the trials' scaled inputs, y (n,) their losses. Where all have a higher LR, the nearest of all.
    """
    squared = ((diverged[:, None] - x[None]) ** 2).sum(axis=2)
    below = np.where(x[None, :, 1] <= diverged[:, None, 1] + 1e-9, squared, np.inf)
    distance = np.where(np.isfinite(below).any(axis=1, keepdims=True), below, squared)
    return np.asarray(y[distance.argmin(axis=1)])


def as_observations(mean: Array, covariance: Array, bound: Array, noise: Array) -> tuple[Array, Array]:
    """Normal observations that stand for f + noise >= bound: their values and variances, infinite where none is needed.

    `mean` (m,) and `covariance` (m, m) are of the noise-free surface before the bounds, `noise` (m,) is a variance.
    """
    precision, shift = np.zeros_like(mean), np.zeros_like(mean)
    for _ in range(SWEEPS):
        for i in range(len(mean)):
            m, variance = _cavity(mean, covariance, precision, shift, i)
            precision[i], shift[i] = _site(m, variance, bound[i], noise[i])
    matters = precision > NEGLIGIBLE
    safe = np.where(matters, precision, 1.0)
    return np.where(matters, shift / safe, mean), np.where(matters, 1 / safe, np.inf)


def _cavity(mean: Array, covariance: Array, precision: Array, shift: Array, i: int) -> tuple[float, float]:
    """Mean and variance at point i given all other bounds."""
    others = np.flatnonzero((precision > NEGLIGIBLE) & (np.arange(len(mean)) != i))
    if not len(others):
        return float(mean[i]), float(covariance[i, i])
    joint = covariance[np.ix_(others, others)] + np.diag(1 / precision[others])
    gain = np.linalg.solve(joint, covariance[others, i])
    m = mean[i] + gain @ (shift[others] / precision[others] - mean[others])
    return float(m), float(max(covariance[i, i] - gain @ covariance[others, i], 1e-12))


def _site(m: float, variance: float, bound: float, noise: float) -> tuple[float, float]:
    """Precision, and precision times mean, of the normal that moves (m, variance) to the moments under the bound."""
    total = np.sqrt(variance + noise)
    z = (m - bound) / total
    ratio = float(np.exp(norm.logpdf(z) - log_ndtr(z)))
    new_mean = m + variance * ratio / total
    new_variance = variance - variance**2 * ratio * (z + ratio) / (variance + noise)
    precision = max(1 / new_variance - 1 / variance, 0.0)
    return precision, new_mean / new_variance - m / variance
