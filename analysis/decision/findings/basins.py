"""Two minima of the objective that a ridge parts, where the trials do not say which one is the optimum."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Optima

# Of the posterior draws: a minimum that one draw in ten chooses lies inside the intervals at the usual levels.
CHOSEN = 0.1
RIDGE_SDS = 2.0
EVERY_NEIGHBOUR = np.ones((3, 3))


@dataclass(frozen=True)
class Basins:
    """The two minima as (ALMR, LR), the lowest point of the ridge between them, and how many draws choose each."""

    minima: tuple[tuple[float, float], tuple[float, float]]
    ridge: tuple[float, float]
    shares: tuple[float, float]


def find(optima: Optima) -> Basins | None:
    """None where one minimum stands out, or where a guard forbids a part of the lattice."""
    if not (np.isfinite(optima.mean).all() and np.isfinite(optima.draws).all()):
        return None
    chosen = _bottoms(optima.mean)[optima.draws.reshape(len(optima.draws), -1).argmin(axis=1)]
    bottoms, counts = np.unique(chosen, return_counts=True)
    order = np.argsort(counts)[::-1][:2]
    shares = counts[order] / len(chosen)
    if len(order) < 2 or shares[1] < CHOSEN:
        return None
    one, other = (int(bottom) for bottom in bottoms[order])
    ridge = _saddle(optima.mean, one, other)
    draws = optima.draws.reshape(len(optima.draws), -1)
    height = draws[:, ridge] - np.maximum(draws[:, one], draws[:, other])
    if height.mean() <= RIDGE_SDS * height.std():
        return None
    return Basins(
        minima=(_point(optima, one), _point(optima, other)),
        ridge=_point(optima, ridge),
        shares=(float(shares[0]), float(shares[1])),
    )


def _bottoms(mean: Array) -> Array:
    """Of each point of (A, L), the flat index of the local minimum that steepest descent ends in: (A * L,)."""
    windows = sliding_window_view(np.pad(mean, 1, constant_values=np.inf), (3, 3)).reshape(*mean.shape, 9)
    down, across = np.divmod(windows.argmin(axis=-1), 3)
    i, j = np.indices(mean.shape)
    lower = ((i + down - 1) * mean.shape[1] + j + across - 1).ravel()
    while (further := lower[lower]).tolist() != lower.tolist():
        lower = further
    return np.asarray(lower)


def _saddle(mean: Array, one: int, other: int) -> int:
    """Flat index of the highest point on the lowest path from one point to the other."""
    levels = np.unique(mean)

    def joined(k: int) -> bool:
        parts = ndimage.label(mean <= levels[k], EVERY_NEIGHBOUR)[0].ravel()
        return bool(parts[one] == parts[other] != 0)

    return int(np.flatnonzero(mean.ravel() == levels[bisect_left(range(len(levels)), True, key=joined)])[0])


def _point(optima: Optima, flat: int) -> tuple[float, float]:
    i, j = np.unravel_index(flat, optima.mean.shape)
    return float(optima.almr[i]), float(optima.lr[j])
