"""The interval of someone who knows the family of a surface, and neither its settings nor the noise.

Least squares of the family's own form about the true settings (linearised), with the ranges of the settings as priors;
Student's t, because the noise is estimated from what the settings leave over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from known_surfaces import MIDDLE
from scipy.stats import chi2, t
from zoo import Array, Drawn

STEP = 1e-4  # of finite differences, in shares of a setting's range
NEAR = 1e-3  # the same about the optimum, in ALMR and ln LR
LEVEL = 0.9


class OracleWidths(NamedTuple):
    """Widths of the intervals at LEVEL in ALMR and ln LR, and the area of the joint region in both."""

    almr: float
    lr: float
    joint: float


def widths(drawn: Drawn, almr: Array, lr: Array, combined: bool) -> OracleWidths:
    """From trials at these points. `combined`: only the mean of the two losses was measured."""
    precision, effective = _information(drawn, almr, np.log(lr / MIDDLE), combined)
    moved = _moves(drawn)
    covariance = moved @ np.linalg.inv(precision) @ moved.T
    values = len(almr) * (1 if combined else 2)
    half = float(t.ppf((1 + LEVEL) / 2, max(values - effective, 1.0))) * np.sqrt(np.diag(covariance))
    (low, high), best = drawn.almrs, drawn.best
    limits = ((low, high), (-drawn.half, drawn.half))
    clipped = [min(b + h, end) - max(b - h, begin) for b, h, (begin, end) in zip(best, half, limits, strict=True)]
    area = np.pi * chi2.ppf(LEVEL, 2) * np.sqrt(np.linalg.det(covariance))
    return OracleWidths(float(clipped[0]), float(clipped[1]), float(min(area, (high - low) * 2 * drawn.half)))


def _information(drawn: Drawn, almr: Array, w: Array, combined: bool) -> tuple[Array, float]:
    """Posterior precision of the settings in shares of their ranges and of the two floors; how many are estimated."""
    slopes = [_slope(drawn, key, almr, w) for key in drawn.settings]
    original = np.stack([*(s[0] for s in slopes), np.ones_like(almr), np.zeros_like(almr)], axis=1)
    additional = np.stack([*(s[1] for s in slopes), np.zeros_like(almr), np.ones_like(almr)], axis=1)
    sd = drawn.sd(almr, MIDDLE * np.exp(w))
    if combined:
        jacobian, deviation = (original + additional) / 2, sd / np.sqrt(2)
    else:
        jacobian, deviation = np.concatenate([original, additional]), np.concatenate([sd, sd])
    weighed = jacobian / deviation[:, None]
    data = weighed.T @ weighed
    # A uniform prior over a range of 1 has a variance of 1/12; the floors' prior is a nat.
    precision = data + np.diag([12.0] * len(slopes) + [1.0, 1.0])
    return precision, float(np.trace(np.linalg.solve(precision, data)))


def _slope(drawn: Drawn, key: str, a: Array, w: Array) -> tuple[Array, Array]:
    """Derivatives of both losses with respect to a setting, in shares of its range."""
    low, high = drawn.family.settings[key]
    step = STEP * (high - low)
    up, down = (drawn.family.losses({**drawn.settings, key: drawn.settings[key] + s}, a, w) for s in (step, -step))
    return (up[0] - down[0]) / (2 * STEP), (up[1] - down[1]) / (2 * STEP)


def _moves(drawn: Drawn) -> Array:
    """How the optimum (a, w) moves with each setting and floor: (2, settings + 2), by the implicit function theorem."""
    a, w = (np.array(x).ravel() for x in np.meshgrid(*(b + NEAR * np.arange(-1, 2) for b in drawn.best), indexing="ij"))

    def gradient(values: Array) -> Array:
        grid = values.reshape(3, 3)
        return np.array([grid[2, 1] - grid[0, 1], grid[1, 2] - grid[1, 0]]) / (2 * NEAR)

    f = np.asarray(sum(drawn.family.losses(drawn.settings, a, w)) / 2).reshape(3, 3)
    mixed = (f[2, 2] - f[2, 0] - f[0, 2] + f[0, 0]) / 4
    hessian = np.array([[f[2, 1] - 2 * f[1, 1] + f[0, 1], mixed], [mixed, f[1, 2] - 2 * f[1, 1] + f[1, 0]]]) / NEAR**2
    by = [gradient(np.asarray(sum(_slope(drawn, key, a, w)) / 2)) for key in drawn.settings]
    return -np.linalg.solve(hessian, np.stack([*by, np.zeros(2), np.zeros(2)], axis=1))
