"""Two minima of the objective with a ridge between them, where the trials do not decide which is the optimum."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Optima

# Share of the posterior draws: a minimum that one draw in ten has lies inside the intervals at the usual levels.
LEAST_SHARE = 0.1
RIDGE_SDS = 2.0  # the ridge's height over the higher minimum, in sds over the draws
EVERY_NEIGHBOUR = np.ones((3, 3))


@dataclass(frozen=True)
class Basins:
    """Two minima and the saddle point between them as (ALMR, LR), and the share of the draws in each basin."""

    minima: tuple[tuple[float, float], tuple[float, float]]
    ridge: tuple[float, float]
    shares: tuple[float, float]


def find(optima: Optima) -> Basins | None:
    """The two most frequent minima; None where one dominates, no ridge divides them, or a guard forbids points."""
    if not (np.isfinite(optima.mean).all() and np.isfinite(optima.draws).all()):
        return None
    chosen = _bottoms(optima.mean)[optima.draws.reshape(len(optima.draws), -1).argmin(axis=1)]
    bottoms, counts = np.unique(chosen, return_counts=True)
    order = np.argsort(counts)[::-1][:2]
    shares = counts[order] / len(chosen)
    if len(order) < 2 or shares[1] < LEAST_SHARE:
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
    """Flat index of the local minimum that steepest descent reaches from each point of (A, L): (A * L,)."""
    windows = sliding_window_view(np.pad(mean, 1, constant_values=np.inf), (3, 3)).reshape(*mean.shape, 9)
    down, across = np.divmod(windows.argmin(axis=-1), 3)
    i, j = np.indices(mean.shape)
    lower = ((i + down - 1) * mean.shape[1] + j + across - 1).ravel()
    while (further := lower[lower]).tolist() != lower.tolist():
        lower = further
    return np.asarray(lower)


def _saddle(mean: Array, one: int, other: int) -> int:
    """Flat index of the highest point on the lowest path between two points (flat indices): the saddle point."""
    levels = np.unique(mean)

    def joined(k: int) -> bool:
        parts = ndimage.label(mean <= levels[k], EVERY_NEIGHBOUR)[0].ravel()
        return bool(parts[one] == parts[other] != 0)

    return int(np.flatnonzero(mean.ravel() == levels[bisect_left(range(len(levels)), True, key=joined)])[0])


def _point(optima: Optima, flat: int) -> tuple[float, float]:
    i, j = np.unravel_index(flat, optima.mean.shape)
    return float(optima.almr[i]), float(optima.lr[j])
