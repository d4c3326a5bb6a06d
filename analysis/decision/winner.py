"""The winner: the minimum of the mean objective, its intervals and its joint region."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm

from analysis.fit_file.winner import Interval, LossAtWinner, Region, RegionRow, Winner
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, Optima
from analysis.table.table import HYPERPARAMETERS

REGION_POINTS = 41  # of the density's lattice, on each axis
JITTER = 0.02  # in sds of the draws' optima
FEWEST = 3  # draws: their covariance in two dimensions has to be of full rank
FINEST = 5e-4  # of the tried range: an sd that counts as none


def choose(optima: Optima, lattice: Lattice, level: float) -> Winner:
    """The minimum of the mean objective, with intervals at `level` from the draws' optima."""
    almr, lr = optima.best()
    i, j = np.unravel_index(optima.mean.argmin(), optima.mean.shape)
    drawn, axes = optima.drawn_best(), (optima.almr, optima.lr)
    objective = float(optima.at_best(optima.mean))
    return Winner(
        almr=almr,
        lr=lr,
        objective=objective,
        objective_interval=band(objective, float(optima.sd[i, j]), level),
        almr_interval=optimum_interval(almr, drawn[0], optima.almr, level),
        lr_interval=optimum_interval(lr, drawn[1], optima.lr, level),
        level=level,
        at_edge=tuple(n for n, v, axis in zip(HYPERPARAMETERS, (almr, lr), axes, strict=True) if at_edge(v, axis)),
        edge_probability={
            name: float(at_edge(d, axis).mean()) if len(d) and len(axis) > 1 else 0.0
            for name, d, axis in zip(HYPERPARAMETERS, drawn, axes, strict=True)
        },
        losses={
            name: LossAtWinner(mean=float(optima.at_best(mean)), interval=_of_draws(optima, lattice.draws[name], level))
            for name, mean in lattice.mean.items()
        },
    )


def _of_draws(optima: Optima, draws: Array, level: float) -> Interval:
    return interval(optima.at_best(draws), level)


def interval(values: Array, level: float) -> Interval:
    """The central interval of draws (n,) at `level`."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))


def band(mean: float, sd: float, level: float) -> Interval:
    """The central interval of a normal at `level`."""
    half = float(norm.ppf((1 + level) / 2)) * sd
    return Interval(low=mean - half, high=mean + half)


def containing(value: float, found: Interval) -> Interval:
    """The interval, widened to the value."""
    return Interval(low=min(found.low, value), high=max(found.high, value))


def optimum_interval(best: float, draws: Array, axis: Array, level: float) -> Interval:
    """The interval of the draws' optima, widened to the best value of the mean, which their quantiles need not contain.

    Where no draw allows any point, nothing is known: the whole axis.
    """
    return containing(best, interval(draws, level) if len(draws) else interval(axis, 1.0))


def at_edge(value: Array | float, axis: Array) -> Array:
    """Whether values are at the lowest or the highest of `axis` (N,); False where the axis has one value."""
    if len(axis) == 1:
        return np.zeros(np.shape(value), dtype=bool)
    return np.asarray((value <= axis[0] * (1 + 1e-9)) | (value >= axis[-1] * (1 - 1e-9)))


def region(optima: Optima, level: float) -> Region | None:
    """The joint highest-density region of the optimum, by a kernel density estimate of the draws' optima.

    None where ALMR or LR has one value, or fewer than FEWEST draws have an optimum, as under a guard that hardly any
    draw keeps: two points have no density.
    """
    almr, lr = optima.drawn_best()
    if min(len(optima.almr), len(optima.lr)) < 2 or len(almr) < FEWEST:
        return None
    points = np.stack([_unit(almr, optima.almr), _unit(np.log(lr), np.log(optima.lr))])
    # Optima on one point or line have no density; the jitter is far finer than their interval, or than any grid.
    sd = np.maximum(points.std(axis=1, keepdims=True), FINEST)
    points = points + np.maximum(JITTER * sd, FINEST) * np.random.default_rng(0).standard_normal(points.shape)
    density = gaussian_kde(points)
    low, high = np.clip(points.min(axis=1) - sd[:, 0], 0, 1), np.clip(points.max(axis=1) + sd[:, 0], 0, 1)
    u, v = np.linspace(low, high, REGION_POINTS).T
    over = density(np.stack([axis.ravel() for axis in np.meshgrid(u, v, indexing="ij")])).reshape(len(u), len(v))
    threshold = float(np.quantile(density(points), 1 - level))
    inside = over >= threshold
    rows = [_row(optima, u[k], v, over[k], threshold) for k in np.flatnonzero(inside.any(axis=1))]
    return Region(level=level, share=float(inside.mean() * np.prod(high - low)), rows=rows)


def _row(optima: Optima, u: float, v: Array, density: Array, threshold: float) -> RegionRow:
    """The region's LRs at ALMR `u`, from the density at LRs `v`; both in shares of the range."""
    above = np.flatnonzero(density >= threshold)
    limits = np.array([_crossing(v, density, threshold, above[0], -1), _crossing(v, density, threshold, above[-1], 1)])
    low, high = optima.lr_at(limits * (len(optima.lr) - 1))
    return RegionRow(almr=float(optima.almr_at(u * (len(optima.almr) - 1))), lr_low=float(low), lr_high=float(high))


def _crossing(axis: Array, density: Array, threshold: float, inside: int, step: int) -> float:
    """Where the density falls to the threshold beside an inside point; without it, thin regions would vanish."""
    outside = inside + step
    if not 0 <= outside < len(axis):
        return float(axis[inside])
    return float(np.interp(threshold, density[[outside, inside]], axis[[outside, inside]]))


def _unit(values: Array, axis: Array) -> Array:
    """Values in shares of the axis' range."""
    return np.asarray((values - axis[0]) / (axis[-1] - axis[0]))
