"""Whether the trials agree: with the surface, repeats of a point with each other, and draws on one minimum."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from analysis.decision.case import Case
from analysis.decision.objectives import GuardedGoal, weighted
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Optima
from analysis.table import table as tables

# Share of the posterior draws: a minimum that one draw in ten has lies inside the intervals at the usual levels.
LEAST_SHARE = 0.1
RIDGE_SDS = 2.0  # the ridge's height over the higher minimum, in sds over the draws
EVERY_NEIGHBOUR = np.ones((3, 3))
LEAST_REPEATED = 3  # points: a single odd pair is an outlier, not a contradiction


def parts(case: Case) -> list[dict[str, float]]:
    """The weighted sums of losses that decide: the objective and, under guards, each guarded loss."""
    guarded = [{name: 1.0} for name in case.goal.bounds] if isinstance(case.goal, GuardedGoal) else []
    return [case.goal.loss_weights, *(one for one in guarded if one != case.goal.loss_weights)]


def explained(case: Case, weights: dict[str, float]) -> float:
    """Precision-weighted leave-one-out R2 of a weighted sum of losses; 0 or less: no better than the mean.

    A trial's weight is the precision of its prediction from the others: unweighted, the trials near the divergence edge
    or far from all others would dominate.
    """
    trials = measured(case, weights)
    predicted, variance = _left_out(case, weights)
    precision = 1 / variance
    about_mean = precision @ (trials - np.average(trials, weights=precision)) ** 2
    return float(1 - precision @ (trials - predicted) ** 2 / about_mean) if about_mean else 0.0


def left_out_errors(case: Case, weights: dict[str, float]) -> Array:
    """Absolute leave-one-out residual of each usable trial, in standard deviations of its prediction: (n,)."""
    predicted, variance = _left_out(case, weights)
    return np.asarray(np.abs(measured(case, weights) - predicted) / np.sqrt(variance))


class SharedErrors(NamedTuple):
    """How the leave-one-out errors of several losses go together: the weighted sum's error is `times` as large as that
    of independent ones, which the fit takes them for, and `significance` is in standard deviations of chance.
    """

    times: float
    significance: float


def shared_errors(case: Case, weights: dict[str, float]) -> SharedErrors | None:
    """By rank correlation, which one odd trial does not make. None of a single loss."""
    if len(weights) < 2:
        return None
    at = [case.winner.almr], [case.winner.lr]
    errors = {}
    for name in weights:
        mean, sd = case.surfaces[name].leave_one_out()
        errors[name] = (case.surfaces[name].scale.loss - mean) / sd
    size = np.array([share * float(case.surfaces[name].noise(*at)[0]) for name, share in weights.items()])
    products = np.outer(size, size) / (size @ size)
    apart = products - np.diag(np.diag(products))
    more = float((apart * pd.DataFrame(errors).corr("spearman").fillna(0).to_numpy()).sum())
    chance = float(np.sqrt(2 * (apart**2).sum() / len(case.surfaces[next(iter(weights))].scale.loss)))
    return SharedErrors(float(np.sqrt(max(1 + more, 0))), more / chance if chance else 0.0)


def _left_out(case: Case, weights: dict[str, float]) -> tuple[Array, Array]:
    """Leave-one-out predictions (nats) and their variances, noise included: two (n,)."""
    found = {name: case.surfaces[name].leave_one_out() for name in weights}
    variance = sum((share * found[name][1]) ** 2 for name, share in weights.items())
    return weighted(weights, {name: mean for name, (mean, _) in found.items()}), np.asarray(variance)


def disagreement(case: Case, weights: dict[str, float]) -> float:
    """The typical range of the repeats of one point, as a share of the range over the points; 0 without repeats.

    A median, over the range between the deciles: robust against the few trials near the divergence edge.
    """
    used = tables.usable(case.table)
    points = used.assign(measured=measured(case, weights)).groupby(["almr", "lr"])["measured"]
    repeated = (points.max() - points.min())[points.size() > 1]
    if len(repeated) < LEAST_REPEATED:
        return 0.0
    low, high = points.mean().quantile([0.1, 0.9])
    return float(repeated.median() / (high - low)) if high > low else np.inf


def measured(case: Case, weights: dict[str, float]) -> Array:
    """The weighted sum of the losses of each usable trial: (n,), in nats."""
    return weighted(weights, {name: surface.scale.loss for name, surface in case.surfaces.items()})


@dataclass(frozen=True)
class Basins:
    """Two minima and the saddle point between them as (ALMR, LR), and the share of the draws in each basin."""

    minima: tuple[tuple[float, float], tuple[float, float]]
    ridge: tuple[float, float]
    shares: tuple[float, float]


def basins(optima: Optima) -> Basins | None:
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
