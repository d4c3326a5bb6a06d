"""How far apart two runs' optima and losses are, from the draws of both: intervals, and tests of no difference.

The runs' trials are independent, so every draw of one is set against every draw of the other. Trials that the runs
share make the tests careful: what is common to both is counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.compare.comparable import Measure
from analysis.compare.fitted import ComparedFit
from analysis.compare.result import BITS, AxisShift, LossShift, OptimumShift
from analysis.decision.winner import FINEST, containing, interval
from analysis.fit_file.winner import Interval
from analysis.scores.paired import holm_of_known
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import DRAWS
from analysis.table.table import HYPERPARAMETERS

LEAST_P = 1 / DRAWS  # the smallest that the draws can show
TIE = 1e-9  # relative to a spread: no difference


def every_difference(first: Array, second: Array) -> Array:
    """Each draw of the second, (m, k), less each of the first, (n, k): (n m, k)."""
    return np.asarray((second[None] - first[:, None]).reshape(-1, *first.shape[1:]))


def two_sided(differences: Array) -> float:
    """Twice the share of (n,) on the rarer side of 0, ties counted half: at least LEAST_P."""
    near = TIE * max(float(np.abs(differences).max()), 1e-300)
    below = float((differences < -near).mean() + (np.abs(differences) <= near).mean() / 2)
    return float(np.clip(2 * min(below, 1 - below), LEAST_P, 1.0))


def joint_p(differences: Array, scale: Array) -> float:
    """The share of draws (n, k) that are at least as far from their mean as 0 is, by Mahalanobis' distance.

    `scale` (k,): the tried range of each axis. A spread below FINEST of it counts as that, so that draws on one value,
    such as an edge, have a distance too.
    """
    units = differences / scale
    centre = units.mean(axis=0)
    covariance = np.atleast_2d(np.cov(units.T)) + FINEST**2 * np.eye(len(scale))
    inverse = np.linalg.inv(covariance)
    away = units - centre
    distances = np.einsum("ij,jk,ik->i", away, inverse, away)
    zero = float(centre @ inverse @ centre)
    return float(np.clip((distances >= zero * (1 - TIE)).mean(), LEAST_P, 1.0))


def of_optima(first: ComparedFit, second: ComparedFit, level: float) -> OptimumShift:
    """Without a correction for other pairs: see `corrected`."""
    names = [name for name in HYPERPARAMETERS if first.varied(name) and second.varied(name)]
    if not names:
        return OptimumShift(why="the runs varied no hyper-parameter in common")
    drawn = [_drawn(one, names) for one in (first, second)]
    if not all(len(draws) for draws in drawn):
        return OptimumShift(why="under the guards of one of them no draw has an optimum")
    apart = every_difference(*drawn)
    known = [[_known(one, name) for name in names] for one in (first, second)]
    best = np.array(known[1]) - np.array(known[0])
    axes = {name: _axis(name, float(best[k]), apart[:, k], level) for k, name in enumerate(names)}
    return OptimumShift(**axes, p_value=joint_p(apart, _ranges(first, second, names)))


def _drawn(of: ComparedFit, names: Sequence[str]) -> Array:
    """ALMR and ln LR of each draw's optimum, as far as named: (n, k)."""
    almr, lr = of.optima.drawn_best()
    columns = {"almr": almr, "lr": np.log(lr)}
    return np.stack([columns[name] for name in names], axis=1)


def _known(of: ComparedFit, name: str) -> float:
    value = float(getattr(of.file.winner, name))
    return float(np.log(value)) if name == "lr" else value


def _ranges(first: ComparedFit, second: ComparedFit, names: Sequence[str]) -> Array:
    found = []
    for name in names:
        values = np.concatenate([getattr(one.optima, name) for one in (first, second)])
        found.append(float(np.ptp(np.log(values) if name == "lr" else values)))
    return np.array(found)


def _axis(name: str, best: float, apart: Array, level: float) -> AxisShift:
    """Of the LR, as a factor."""
    around, p = containing(best, interval(apart, level)), two_sided(apart)
    if name == "almr":
        return AxisShift(value=best, interval=around, p_value=p)
    low, value, high = np.exp([around.low, best, around.high])
    return AxisShift(value=float(value), interval=Interval(low=float(low), high=float(high)), p_value=p)


def corrected(shifts: Sequence[OptimumShift], level: float) -> list[OptimumShift]:
    """With Holm's correction for the number of pairs, and whether the optima differ at 1 - level."""
    found = holm_of_known([shift.p_value for shift in shifts])
    return [
        shift if p is None else shift.model_copy(update={"p_corrected": p, "differ": p <= 1 - level + TIE})
        for shift, p in zip(shifts, found, strict=True)
    ]


def of_loss(first: ComparedFit, second: ComparedFit, name: str, by: Measure, level: float) -> LossShift:
    """The losses at each run's own winner."""
    if by.unit is None:
        return LossShift(name=name, why=by.why)
    factors = [one.bits_per_byte_of_nat(name) if by.unit == BITS else 1.0 for one in (first, second)]
    values = [
        float(f or 1) * one.file.winner.losses[name].mean for f, one in zip(factors, (first, second), strict=True)
    ]
    drawn = [float(f or 1) * _at_winner(one, name) for f, one in zip(factors, (first, second), strict=True)]
    apart = every_difference(*drawn)
    best = values[1] - values[0]
    return LossShift(
        name=name,
        unit=by.unit,
        first=values[0],
        second=values[1],
        difference=best,
        interval=containing(best, interval(apart, level)),
        p_value=two_sided(apart),
    )


def _at_winner(of: ComparedFit, name: str) -> NDArray[np.float64]:
    """The draws of a loss where the fit's winner is: (n,)."""
    return of.optima.at_best(of.lattice.draws[name])
