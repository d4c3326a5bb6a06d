"""Whether the trials agree with a surface, and repeats of a trial with each other, in what is minimised."""

from __future__ import annotations

import numpy as np

from analysis.decision.case import Case
from analysis.decision.objectives import WeightedGoal
from analysis.surfaces.kernels import Array
from analysis.table import table as tables

LEAST_REPEATED = 3  # points: one odd pair is a stray trial, not a contradiction


def minimised(case: Case) -> dict[str, float]:
    """What is minimised, as weights of the languages' losses."""
    if isinstance(case.goal, WeightedGoal):
        return {name: case.goal.weights[name] for name in case.goal.languages}
    return {"additional": 1.0}


def parts(case: Case) -> list[dict[str, float]]:
    """The sums of losses, by weights, that have to be right: what is minimised and what a guard bounds."""
    guarded: list[dict[str, float]] = [] if isinstance(case.goal, WeightedGoal) else [{"original": 1.0}]
    return [minimised(case), *guarded]


def explained(case: Case, weights: dict[str, float]) -> float:
    """The share of the variance that trials left out are predicted to have (R2); at most 0: no better than the mean.

    A trial counts by the precision with which the others predict it: those towards the divergence edge, or far from all
    others, would decide alone.
    """
    trials = measured(case, weights)
    predicted, variance = _left_out(case, weights)
    precision = 1 / variance
    about_mean = precision @ (trials - np.average(trials, weights=precision)) ** 2
    return float(1 - precision @ (trials - predicted) ** 2 / about_mean) if about_mean else 0.0


def left_out_errors(case: Case, weights: dict[str, float]) -> Array:
    """How far each usable trial is from its prediction by the others, in standard deviations: (n,)."""
    predicted, variance = _left_out(case, weights)
    return np.asarray(np.abs(measured(case, weights) - predicted) / np.sqrt(variance))


def _left_out(case: Case, weights: dict[str, float]) -> tuple[Array, Array]:
    """Each trial as the others predict it, and the variance of that, noise included: two (n,)."""
    found = {name: case.surfaces[name].leave_one_out() for name in weights}
    mean = sum(share * found[name][0] for name, share in weights.items())
    return np.asarray(mean), np.asarray(sum((share * found[name][1]) ** 2 for name, share in weights.items()))


def disagreement(case: Case, weights: dict[str, float]) -> float:
    """How far repeats of one point differ, typically, as a share of how far the points differ; 0 without repeats.

    Medians and deciles, so that the few trials at the divergence edge decide neither.
    """
    used = tables.usable(case.table)
    points = used.assign(measured=measured(case, weights)).groupby(["almr", "lr"])["measured"]
    repeated = points.agg(np.ptp)[points.size() > 1]
    if len(repeated) < LEAST_REPEATED:
        return 0.0
    low, high = points.mean().quantile([0.1, 0.9])
    return float(repeated.median() / (high - low)) if high > low else np.inf


def measured(case: Case, weights: dict[str, float]) -> Array:
    """The sum of losses of each usable trial: (n,), in nats."""
    return np.asarray(sum(share * case.surfaces[name].scale.loss for name, share in weights.items()))
