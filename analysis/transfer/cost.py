"""What a wrong LR costs on the fitted surface, and the divergence edge scaled to the launch's size."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import make_interp_spline

from analysis.decision.case import Case
from analysis.decision.objectives import weighted
from analysis.decision.winner import containing, interval
from analysis.fit_file.transfer import Cost, EdgeAfter, LrCost
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Optima
from analysis.transfer.sizes import ScaleStep
from sweep.study.sections.transfer import TransferRule

ON_SMALL = "the small model's surface at its winner; the large model is assumed to be equally sensitive"


def of_lr(case: Case) -> LrCost:
    """The cost of half and of twice the winner's LR, in nats of the objective without its guard."""
    weights = case.goal.loss_weights
    row = int(np.abs(case.lattice.almr - case.winner.almr).argmin())
    mean, draws = weighted(weights, case.lattice.mean)[row], weighted(weights, case.lattice.draws)[:, row]
    half, double = (_cost(case, mean, draws, factor) for factor in (0.5, 2.0))
    return LrCost(half=half, double=double, assumption=ON_SMALL)


def _cost(case: Case, mean: Array, draws: Array, factor: float) -> Cost | None:
    """The cost of `factor` x the winner's LR; `mean` (L,) and `draws` (D, L) are the loss at the winner's ALMR."""
    axis, at = np.log(case.lattice.lr), math.log(case.winner.lr)
    there = at + math.log(factor)
    if not axis[0] <= there <= axis[-1]:
        return None

    def between(line: Array) -> float:
        return float(np.interp(there, axis, line) - np.interp(at, axis, line))

    nats, drawn = between(mean), np.array([between(line) for line in draws])
    return Cost(nats=nats, interval=containing(nats, interval(drawn, case.winner.level)))


def edge_after(case: Case, lr: float, step: ScaleStep, rule: TransferRule) -> EdgeAfter:
    """The sweep's edge x (ratio of the parameters) ** `edge_exponent`."""
    assumption = (
        f"assumes that the divergence LR scales as parameters^{rule.edge_exponent:.3g} (launch.transfer.edge_exponent; "
        f"-1/3: as 1 / width, where width and depth grow together, Yang et al., arXiv 2203.03466)"
    )
    edge, ratio = case.edge, step.size_ratio
    at = None if edge.lr is None or ratio is None else edge.lr * ratio**rule.edge_exponent
    return EdgeAfter(lr=at, factor=None if at is None else at / lr, measured=edge.trials > 0, assumption=assumption)


def selection_regret(optima: Optima, almr: float, lr: float, level: float) -> Cost | None:
    """What a setting that was chosen without this sweep costs over its optimum, in nats of the objective.

    None where a guard forbids the setting: it then has no objective. The interval is of the draws, each against its own
    optimum. A setting outside of the measured range counts at the nearest point inside.
    """
    mean, draws = _at(optima, almr, lr)
    nats = max(0.0, mean - float(optima.mean.min()))
    if not math.isfinite(nats):
        return None
    drawn = np.maximum(draws - optima.draws.min(axis=(1, 2)), 0.0)
    finite = drawn[np.isfinite(drawn)]
    return Cost(nats=nats, interval=containing(nats, interval(finite if len(finite) else np.array([nats]), level)))


def _at(optima: Optima, almr: float, lr: float) -> tuple[float, Array]:
    """The mean objective at a point and its draws (D,): by cubic splines between the points of the lattice, or, where
    guards forbid some of them, at the nearest one.
    """
    axes, place = (optima.almr, np.log(optima.lr)), (almr, math.log(lr))
    if not np.isfinite(optima.mean).all() or not np.isfinite(optima.draws).all():
        i, j = (int(np.abs(axis - value).argmin()) for axis, value in zip(axes, place, strict=True))
        return float(optima.mean[i, j]), optima.draws[:, i, j]
    across, up = (_weights(axis, value) for axis, value in zip(axes, place, strict=True))
    return float(across @ optima.mean @ up), np.asarray(np.einsum("i,dij,j->d", across, optima.draws, up))


def _weights(axis: Array, value: float) -> Array:
    """What each value on an axis (n,) counts for in the cubic spline at a place inside of it."""
    if len(axis) == 1:
        return np.ones(1)
    spline = make_interp_spline(axis, np.eye(len(axis)), k=min(3, len(axis) - 1))
    return np.asarray(spline(float(np.clip(value, axis[0], axis[-1]))))
