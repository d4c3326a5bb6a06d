"""Suggested trials: points to run next, from the tried points. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analysis.decision.findings.range_edges import RangeEdge
from analysis.fit_file.findings import NextTrial
from analysis.surfaces.kernels import Array
from analysis.table.table import TriedPoints
from sweep.study import Study

MOST = 6  # nobody runs a longer list
DIGITS = 3
ALMR_DECIMALS = 6  # an ALMR nearer to 0 than this is 0
Point = tuple[float, float]


def neighbours(values: Array, value: float) -> list[float]:
    """The nearest of the ascending values, then its neighbours."""
    k = int(np.abs(values - value).argmin())
    return [float(values[i]) for i in (k, k - 1, k + 1) if 0 <= i < len(values)]


def trials(points: Iterable[Point], measured: TriedPoints) -> tuple[NextTrial, ...]:
    """The first MOST of the points, rounded to DIGITS digits, without impossible and without tried ones."""
    done = {_rounded(*point) for point in (*measured.complete, *measured.diverged)}
    new = dict.fromkeys(_rounded(*point) for point in points)
    found = [(almr, lr) for almr, lr in new if 0 <= almr <= 1 and lr > 0 and (almr, lr) not in done]
    return tuple(NextTrial(almr=almr, lr=lr) for almr, lr in found[:MOST])


def _rounded(almr: float, lr: float) -> Point:
    return round(float(f"{almr:.{DIGITS}g}"), ALMR_DECIMALS) + 0.0, float(f"{lr:.{DIGITS}g}")


def beyond(measured: TriedPoints, edge: RangeEdge, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """One and two steps beyond an edge of one hyper-parameter, at the other's values around (almr, lr)."""
    if edge.name == "lr":
        past = _lrs_past(measured, edge.upper, measured.lowest_diverged(almr))
        return trials([(a, r) for r in past for a in neighbours(measured.almrs, almr)], measured)
    past = _almrs_past(measured, edge.upper)
    return trials([(a, r) for a in past for r in neighbours(measured.lrs, lr)], measured)


def _lrs_past(measured: TriedPoints, upper: bool, diverged: float | None) -> list[float]:
    """LRs beyond an edge, half a step or more below the lowest that diverged; else halfway to that."""
    end, factor = float(measured.lrs[-1 if upper else 0]), measured.lr_factor
    if not upper:
        return [end / factor, end / factor**2]
    past = [end * factor, end * factor**2]
    if diverged is None:
        return past
    return [lr for lr in past if lr * factor**0.5 < diverged] or [(end * diverged) ** 0.5]


def _almrs_past(measured: TriedPoints, upper: bool) -> list[float]:
    """ALMRs beyond an edge within 0 and 1; the limit itself, and halfway to it, where a step would reach it."""
    end, limit = (float(measured.almrs[-1]), 1.0) if upper else (float(measured.almrs[0]), 0.0)
    room, step = abs(limit - end), measured.almr_step
    first = end + (step if upper else -step) if step < 0.99 * room else (end + limit) / 2
    return [first, end + (2 * step if upper else -2 * step) if 2 * step < 0.99 * room else limit]


def around(measured: TriedPoints, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """A point and its neighbours at half a step of ALMR and of LR."""
    half, root = measured.almr_step / 2, np.sqrt(measured.lr_factor)
    return trials(
        [(almr, lr), (almr, lr / root), (almr, lr * root), (almr - half, lr), (almr + half, lr)],
        measured,
    )


def third_value(measured: TriedPoints, name: str, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """More values of a hyper-parameter: beside its one value, or between two and beyond the nearer to (almr, lr)."""
    if name == "almr":
        new = _third(measured.almrs, measured.almr_step, almr)
        return trials([(a, r) for a in new for r in neighbours(measured.lrs, lr)], measured)
    logs = _third(np.log(measured.lrs), np.log(measured.lr_factor), np.log(lr))
    return trials([(a, float(np.exp(r))) for r in logs for a in neighbours(measured.almrs, almr)], measured)


def _third(values: Array, step: float, at: float) -> list[float]:
    """Two values more, for one or two ascending `values`."""
    middle = float(values.mean())
    if len(values) == 1:
        return [middle - step, middle + step]
    return [middle, float(values[-1] + step if at > middle else values[0] - step)]


def gentler(measured: TriedPoints, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """Points at the same or a lower ALMR and LR, which change the base model less."""
    lower = max(almr - measured.almr_step, almr / 2)
    lrs = [lr, lr / measured.lr_factor, lr / measured.lr_factor**2]
    return trials([(a, r) for r in lrs for a in (almr, lower)], measured)


def halfway(one: Point, other: Point) -> Point:
    """The midpoint in (ALMR, ln LR)."""
    return (one[0] + other[0]) / 2, (one[1] * other[1]) ** 0.5


def repeats(measured: TriedPoints, points: Iterable[Point]) -> tuple[NextTrial, ...]:
    """The complete trials nearest to the points, unrounded: to be run with another seed."""
    scaled = measured.scaled(measured.complete)
    nearest = [int(((scaled - measured.scaled(point)) ** 2).sum(axis=1).argmin()) for point in points]
    distinct = dict.fromkeys((float(measured.complete[k, 0]), float(measured.complete[k, 1])) for k in nearest)
    return tuple(NextTrial(almr=almr, lr=lr) for almr, lr in list(distinct)[:MOST])


def untried(study: Study | None, measured: TriedPoints, edge: RangeEdge, at: Point) -> tuple[NextTrial, ...]:
    """The cells of the study's grid beyond an edge that have no outcome yet, those nearest to `at`."""
    if study is None:
        return ()
    done = {(float(a), float(r)) for a, r in (*measured.complete, *measured.diverged)}
    cells = [(a, r) for a in study.grid.almr for r in study.grid.lrs if edge.passed_by(a if edge.name == "almr" else r)]
    return nearest(measured, [cell for cell in cells if cell not in done], *at)


def nearest(measured: TriedPoints, points: list[Point], almr: float, lr: float) -> tuple[NextTrial, ...]:
    """The points nearest to (almr, lr), unrounded."""
    here = measured.scaled((almr, lr))
    ordered = sorted(dict.fromkeys(points), key=lambda point: float(((measured.scaled(point) - here) ** 2).sum()))
    return tuple(NextTrial(almr=a, lr=r) for a, r in ordered[:MOST])
