"""How well the trials agree with the surface, and repeats of a point with each other."""

from __future__ import annotations

import numpy as np

from analysis.decision.case import Case
from analysis.decision.objectives import GuardedGoal, weighted
from analysis.surfaces.kernels import Array
from analysis.table import table as tables

LEAST_REPEATED = 3  # points: a single odd pair is an outlier, not a contradiction


def parts(case: Case) -> list[dict[str, float]]:
    """The weighted sums of losses that decide: the objective and, under a forgetting guard, the guarded loss."""
    guarded: list[dict[str, float]] = [{"original": 1.0}] if isinstance(case.goal, GuardedGoal) else []
    return [case.goal.loss_weights, *guarded]


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
    repeated = points.agg(np.ptp)[points.size() > 1]
    if len(repeated) < LEAST_REPEATED:
        return 0.0
    low, high = points.mean().quantile([0.1, 0.9])
    return float(repeated.median() / (high - low)) if high > low else np.inf


def measured(case: Case, weights: dict[str, float]) -> Array:
    """The weighted sum of the losses of each usable trial: (n,), in nats."""
    return weighted(weights, {name: surface.scale.loss for name, surface in case.surfaces.items()})
