"""Which trials to run next: concrete points that no trial has measured. Pure functions of what was measured."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analysis.decision.findings.ends import End
from analysis.fit_file.findings import NextTrial
from analysis.surfaces.kernels import Array
from analysis.table.tried_points import TriedPoints
from sweep.study.study import Study

MOST = 6  # a longer list is read but not run
DIGITS = 3
Point = tuple[float, float]


def neighbours(values: Array, value: float) -> list[float]:
    """The nearest of the rising values, then those beside it."""
    k = int(np.abs(values - value).argmin())
    return [float(values[i]) for i in (k, k - 1, k + 1) if 0 <= i < len(values)]


def trials(points: Iterable[Point], measured: TriedPoints) -> tuple[NextTrial, ...]:
    """The first MOST of the points, to DIGITS digits, without those that no trial can have or that one has had."""
    done = {_rounded(*point) for point in (*measured.complete, *measured.diverged)}
    new = dict.fromkeys(_rounded(*point) for point in points)
    found = [(almr, lr) for almr, lr in new if 0 <= almr <= 1 and lr > 0 and (almr, lr) not in done]
    return tuple(NextTrial(almr=almr, lr=lr) for almr, lr in found[:MOST])


def _rounded(almr: float, lr: float) -> Point:
    return float(f"{almr:.{DIGITS}g}"), float(f"{lr:.{DIGITS}g}")


def beyond(measured: TriedPoints, end: End, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """One step and two steps past an end of a dial, at the other dial's values around (almr, lr)."""
    if end.dial == "lr":
        past = _lrs_past(measured, end.upper, measured.lowest_diverged(almr))
        return trials([(a, r) for r in past for a in neighbours(measured.almrs, almr)], measured)
    past = _almrs_past(measured, end.upper)
    return trials([(a, r) for a in past for r in neighbours(measured.lrs, lr)], measured)


def _lrs_past(measured: TriedPoints, upper: bool, diverged: float | None) -> list[float]:
    """Half a step or more below the LR that diverged; where there is no such room, halfway to it."""
    end, factor = float(measured.lrs[-1 if upper else 0]), measured.lr_factor
    if not upper:
        return [end / factor, end / factor**2]
    past = [end * factor, end * factor**2]
    if diverged is None:
        return past
    return [lr for lr in past if lr * factor**0.5 < diverged] or [(end * diverged) ** 0.5]


def _almrs_past(measured: TriedPoints, upper: bool) -> list[float]:
    """Within 0 and 1: halfway there and all the way where a step would reach it."""
    end, limit = (float(measured.almrs[-1]), 1.0) if upper else (float(measured.almrs[0]), 0.0)
    room, step = abs(limit - end), measured.almr_step
    first = end + (step if upper else -step) if step < 0.99 * room else (end + limit) / 2
    return [first, end + (2 * step if upper else -2 * step) if 2 * step < 0.99 * room else limit]


def around(measured: TriedPoints, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """A point and its neighbours at half a step of either dial."""
    half, root = measured.almr_step / 2, np.sqrt(measured.lr_factor)
    return trials(
        [(almr, lr), (almr, lr / root), (almr, lr * root), (almr - half, lr), (almr + half, lr)],
        measured,
    )


def inside(measured: TriedPoints, dial: str, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """For a dial with one value or two: beside the one, or between the two and past the one nearer to (almr, lr)."""
    if dial == "almr":
        new = _third(measured.almrs, measured.almr_step, almr)
        return trials([(a, r) for a in new for r in neighbours(measured.lrs, lr)], measured)
    logs = _third(np.log(measured.lrs), np.log(measured.lr_factor), np.log(lr))
    return trials([(a, float(np.exp(r))) for r in logs for a in neighbours(measured.almrs, almr)], measured)


def _third(values: Array, step: float, at: float) -> list[float]:
    middle = float(values.mean())
    if len(values) == 1:
        return [middle - step, middle + step]
    return [middle, float(values[-1] + step if at > middle else values[0] - step)]


def gentler(measured: TriedPoints, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """Towards less of the additional language and lower LRs."""
    lower = max(almr - measured.almr_step, almr / 2)
    lrs = [lr, lr / measured.lr_factor, lr / measured.lr_factor**2]
    return trials([(a, r) for r in lrs for a in (almr, lower)], measured)


def halfway(one: Point, other: Point) -> Point:
    return (one[0] + other[0]) / 2, (one[1] * other[1]) ** 0.5


def again(measured: TriedPoints, points: Iterable[Point]) -> tuple[NextTrial, ...]:
    """The complete trials nearest to the points, exactly: to be run with another seed."""
    scaled = measured.scaled(measured.complete)
    nearest = [int(((scaled - measured.scaled(point)) ** 2).sum(axis=1).argmin()) for point in points]
    distinct = dict.fromkeys((float(measured.complete[k, 0]), float(measured.complete[k, 1])) for k in nearest)
    return tuple(NextTrial(almr=almr, lr=lr) for almr, lr in list(distinct)[:MOST])


def waiting(study: Study | None, measured: TriedPoints, end: End, almr: float, lr: float) -> tuple[NextTrial, ...]:
    """The points of the study's own grid past an end that have no outcome yet."""
    if study is None:
        return ()
    done = {(float(a), float(r)) for a, r in (*measured.complete, *measured.diverged)}
    points = [(a, r) for a in study.grid.almr for r in study.grid.lrs if end.passed_by(a if end.dial == "almr" else r)]
    return nearest(measured, [point for point in points if point not in done], almr, lr)


def nearest(measured: TriedPoints, points: list[Point], almr: float, lr: float) -> tuple[NextTrial, ...]:
    """Those of the points nearest to (almr, lr), as they are."""
    here = measured.scaled((almr, lr))
    ordered = sorted(dict.fromkeys(points), key=lambda point: float(((measured.scaled(point) - here) ** 2).sum()))
    return tuple(NextTrial(almr=a, lr=r) for a, r in ordered[:MOST])
