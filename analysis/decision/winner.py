"""The winner: the point of the lattice that minimises the objective, its intervals and the joint region around it."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm

from analysis.fit_file.winner import Interval, LossAtWinner, Region, RegionRow, Winner
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, Optima

REGION_POINTS = 41
JITTER = 0.003  # of the measured range


def choose(optima: Optima, lattice: Lattice, level: float) -> Winner:
    almr, lr = optima.best()
    i, j = np.unravel_index(optima.mean.argmin(), optima.mean.shape)
    drawn = optima.drawn_best()
    # The draws' quantiles need not hold the mean surface's own minimum; an interval that excludes its point misleads.
    # Where no draw allows any point, nothing is known.
    almr_interval, lr_interval = (
        _holding(value, interval(found if len(found) else axis, level if len(found) else 1.0))
        for value, found, axis in zip((almr, lr), drawn, (optima.almr, optima.lr), strict=True)
    )
    return Winner(
        almr=almr,
        lr=lr,
        objective=float(optima.mean[i, j]),
        objective_interval=band(float(optima.mean[i, j]), float(optima.sd[i, j]), level),
        almr_interval=almr_interval,
        lr_interval=lr_interval,
        level=level,
        at_edge=tuple(n for n, v, axis in (("almr", almr, optima.almr), ("lr", lr, optima.lr)) if _at_end(v, axis)),
        edge_probability={
            name: float(_at_end(d, axis).mean()) if len(d) and len(axis) > 1 else 0.0
            for name, d, axis in zip(("almr", "lr"), drawn, (optima.almr, optima.lr), strict=True)
        },
        losses={
            name: LossAtWinner(mean=float(lattice.mean[name][i, j]), interval=interval(draws[:, i, j], level))
            for name, draws in lattice.draws.items()
        },
    )


def interval(values: Array, level: float) -> Interval:
    """The central interval of n draws."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))


def band(mean: float, sd: float, level: float) -> Interval:
    half = float(norm.ppf((1 + level) / 2)) * sd
    return Interval(low=mean - half, high=mean + half)


def _holding(value: float, found: Interval) -> Interval:
    return Interval(low=min(found.low, value), high=max(found.high, value))


def _at_end(value: Array | float, axis: Array) -> Array:
    if len(axis) == 1:
        return np.zeros(np.shape(value), dtype=bool)
    return np.asarray((value <= axis[0] * (1 + 1e-9)) | (value >= axis[-1] * (1 - 1e-9)))


def region(optima: Optima, level: float) -> Region | None:
    """The highest-density region of the draws' optima, by a kernel density over a lattice of its own around them.

    None where a dial has one value, or no draw has an optimum.
    """
    almr, lr = optima.drawn_best()
    if min(len(optima.almr), len(optima.lr)) < 2 or not len(almr):
        return None
    points = np.stack([_unit(almr, optima.almr), _unit(np.log(lr), np.log(optima.lr))])
    # Optima on one point or one line have no density; the jitter is far under the resolution of any grid.
    points = points + JITTER * np.random.default_rng(0).standard_normal(points.shape)
    density = gaussian_kde(points)
    low, high = np.clip(points.min(axis=1) - 0.02, 0, 1), np.clip(points.max(axis=1) + 0.02, 0, 1)
    u, v = np.linspace(low, high, REGION_POINTS).T
    over = density(np.stack([axis.ravel() for axis in np.meshgrid(u, v, indexing="ij")])).reshape(len(u), len(v))
    threshold = float(np.quantile(density(points), 1 - level))
    inside = over >= threshold
    rows = [_row(optima, u[k], v, over[k], threshold) for k in np.flatnonzero(inside.any(axis=1))]
    return Region(level=level, share=float(inside.mean() * np.prod(high - low)), rows=rows)


def _row(optima: Optima, u: float, v: Array, density: Array, threshold: float) -> RegionRow:
    above = np.flatnonzero(density >= threshold)
    ends = np.array([_crossing(v, density, threshold, above[0], -1), _crossing(v, density, threshold, above[-1], 1)])
    low, high = optima.lr_at(ends * (len(optima.lr) - 1))
    return RegionRow(almr=float(optima.almr_at(u * (len(optima.almr) - 1))), lr_low=float(low), lr_high=float(high))


def _crossing(axis: Array, density: Array, threshold: float, inside: int, step: int) -> float:
    """Where the density falls to the threshold between a point inside and the next: thin regions are lost otherwise."""
    outside = inside + step
    if not 0 <= outside < len(axis):
        return float(axis[inside])
    return float(np.interp(threshold, density[[outside, inside]], axis[[outside, inside]]))


def _unit(values: Array, axis: Array) -> Array:
    return np.asarray((values - axis[0]) / (axis[-1] - axis[0]))
