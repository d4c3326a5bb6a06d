"""The curves of best LR and of best ALMR, their coupling, the Pareto front, and the divergence edge."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.svm import SVC

from analysis.decision.case import Case
from analysis.decision.objectives import WeightedGoal
from analysis.decision.winner import at_edge, choose, interval, optimum_interval
from analysis.fit_file.curve import AlmrPoint, Coupling, CurvePoint, DivergenceEdge, FrontPoint
from analysis.fit_file.forms import FORMS, Form
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, Optima, refined_along
from analysis.table import table as tables
from analysis.table.table import TriedPoints
from sweep.study import LANGUAGES

MOST_AT_EDGE = 0.1  # share of draws at an edge of the LR range, above which the best LR at an ALMR is only a bound
LEAST_SPAN = 1 / 3  # of the measured ALMRs: a slope over less says nothing about the rest
WEIGHTS = np.linspace(0, 1, 21)  # of the additional language, along the front
SAFE = 2.0  # least ratio of the edge to the winner's LR: the edge falls with model size and varies with the seed
# The edge lies anywhere between the highest LR that trained and the lowest that diverged. The estimate is at this share
# of the way, in ln LR: at the middle, a winner called safe would be so with an even chance only.
CAUTIOUS = 0.25


def best_lrs(optima: Optima, level: float) -> list[CurvePoint]:
    """The best LR at each ALMR of the lattice where the objective allows any LR."""
    return [CurvePoint(almr=float(optima.almr[k]), **found) for k, found in _best(optima, "lr", level)]


def best_almrs(optima: Optima, level: float) -> list[AlmrPoint]:
    """The best ALMR at each LR of the lattice where the objective allows any ALMR."""
    return [AlmrPoint(lr=float(optima.lr[k]), **found) for k, found in _best(optima, "almr", level)]


def _best(optima: Optima, name: str, level: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """The best value of one hyper-parameter at each allowed index of the other, as fields of a curve's point."""
    if name == "lr":
        axis, value_at, mean, draws = optima.lr, optima.lr_at, optima.mean, optima.draws
    else:
        axis, value_at, mean, draws = optima.almr, optima.almr_at, optima.mean.T, np.swapaxes(optima.draws, 1, 2)
    means, drawn = value_at(refined_along(mean)), value_at(refined_along(draws))
    for k in np.flatnonzero(np.isfinite(mean).any(axis=1)):
        best, of_draws = float(means[k]), drawn[np.isfinite(draws[:, k]).any(axis=1), k]
        band = optimum_interval(best, of_draws, axis, level)
        yield (
            int(k),
            {name: best, f"{name}_low": band.low, f"{name}_high": band.high, "at_edge": bool(at_edge(best, axis))},
        )


def coupling(optima: Optima, level: float) -> Coupling | None:
    """The slope of ln(best LR) against ALMR; None where the best LR is inside the tried range at too few ALMRs.

    An ALMR whose best LR is at an edge of the range is left out: that LR is only a bound, which would pull the slope
    towards zero. The others are weighted by the precision of their best LR.
    """
    if min(len(optima.almr), len(optima.lr)) < 2:
        return None
    best = optima.lr_at(refined_along(optima.draws))
    kept = at_edge(best, optima.lr).mean(axis=0) < MOST_AT_EDGE
    if kept.sum() < 3 or np.ptp(optima.almr[kept]) < LEAST_SPAN * np.ptp(optima.almr):
        return None
    almr, log_lr = optima.almr[kept], np.log(best[:, kept])
    form = min(FORMS, key=lambda form: _bend(form, almr, log_lr))
    slopes = _slopes(form.of(almr), log_lr)
    above = float((slopes > 0).mean() + (slopes == 0).mean() / 2)
    return Coupling(
        form=form.name,
        slope=float(np.median(slopes)),
        interval=interval(slopes, level),
        probability=above,
        p_value=max(2 * min(above, 1 - above), 1 / len(slopes)),
        straight=_straight(form.of(almr), log_lr, level),
        almr_low=float(almr.min()),
        almr_high=float(almr.max()),
    )


def _slopes(x: Array, log_lr: Array) -> Array:
    """Weighted least-squares slopes (D,) of the draws `log_lr` (D, k) on `x` (k,)."""
    weights = _precision(log_lr)
    centred = x - weights @ x / weights.sum()
    # Relative to the first, equal optima give a slope of exactly 0, not the sign of a rounding error.
    return np.asarray((log_lr - log_lr[:, :1]) @ (weights * centred) / (weights @ centred**2))


def _line(x: Array, log_lr: Array) -> Array:
    """The weighted least-squares line through the median curve, at `x` (k,)."""
    fitted = np.polynomial.Polynomial.fit(x, np.median(log_lr, axis=0), 1, w=np.sqrt(_precision(log_lr)))
    return np.asarray(fitted(x))


def _bend(form: Form, almr: Array, log_lr: Array) -> float:
    """Weighted squared residuals of the median curve about a line in this transform of ALMR."""
    return float(_precision(log_lr) @ (np.median(log_lr, axis=0) - _line(form.of(almr), log_lr)) ** 2)


def _straight(x: Array, log_lr: Array, level: float) -> bool:
    """Whether the line lies inside the curve's band at a share `level` of the ALMRs or more."""
    low, high = np.quantile(log_lr, [(1 - level) / 2, (1 + level) / 2], axis=0)
    line = _line(x, log_lr)
    return bool(((line < low) | (line > high)).mean() <= 1 - level)


def _precision(log_lr: Array) -> Array:
    """Inverse variances (k,) of ln LR; a tenth of the mean variance is added, so that no ALMR dominates."""
    variance = log_lr.var(axis=0)
    return np.asarray(1 / (variance + 0.1 * variance.mean() + 1e-12))


def front(lattice: Lattice, level: float) -> list[FrontPoint]:
    """The winner at each of WEIGHTS, from 0 (original language alone) to 1; empty where a language was not measured."""
    if not set(LANGUAGES) <= set(lattice.mean):
        return []
    points = []
    for weight in WEIGHTS:
        goal = WeightedGoal({"original": float(1 - weight), "additional": float(weight)})
        winner = choose(goal.optima(lattice), lattice, level)
        points.append(
            FrontPoint(
                weight=round(float(weight), 3),
                losses={name: winner.losses[name].mean for name in LANGUAGES},
                **winner.model_dump(include={"almr", "almr_interval", "lr", "lr_interval", "at_edge"}),
            )
        )
    return points


def divergence_edge(table: pd.DataFrame, almr: float, lr: float) -> DivergenceEdge:
    """The edge at ALMR `almr`, and its ratio to `lr`.

    The edge is the maximum-margin line in (ALMR, ln LR) between the trials that diverged and those that did not.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    edge = _edge_at(almr, used, lost) if len(lost) else float(used["lr"].max())
    return DivergenceEdge(trials=len(lost), lr=edge, factor=None if edge is None else edge / lr)


def _edge_at(almr: float, used: pd.DataFrame, lost: pd.DataFrame) -> float | None:
    """The LR of the line at `almr`, within the tried LRs; None where the diverged trials lie at the lower LRs."""
    both = pd.concat([used, lost])
    x = np.stack([both["almr"].to_numpy(float), np.log(both["lr"].to_numpy(float))], axis=1)
    middle, spread = x.mean(axis=0), np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1.0)
    diverged = np.repeat([0, 1], [len(used), len(lost)])
    line = SVC(kernel="linear", C=1e3, class_weight="balanced").fit((x - middle) / spread, diverged)
    by_almr, by_lr = line.coef_[0] / spread
    if by_lr <= 0:
        return None
    edge = middle[1] - (line.intercept_[0] + by_almr * (almr - middle[0])) / by_lr
    return float(np.exp(np.clip(edge, x[:, 1].min(), x[:, 1].max())))


def cautious_edge(case: Case, measured: TriedPoints) -> float:
    """The lowest LR at which trials may diverge at the winner's ALMR; infinite where none diverged at a higher LR.

    The lower of the line's edge and an estimate from the trials near that ALMR.
    """
    by_line = case.edge.lr if case.edge.trials else None
    estimates = (by_line, _edge_by_neighbours(measured, case.winner.almr))
    return min((lr for lr in estimates if lr is not None), default=math.inf)


def _edge_by_neighbours(measured: TriedPoints, almr: float) -> float | None:
    """The estimate from the trials near the ALMR; None where none diverged."""
    lowest = measured.lowest_diverged(almr)
    if lowest is None:
        return None
    highest = measured.highest_trained(almr, below=lowest)
    return highest * (lowest / highest) ** CAUTIOUS if highest else lowest
