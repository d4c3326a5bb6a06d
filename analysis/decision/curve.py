"""The curve of best LR against ALMR, the best ALMR against LR, and whether the two dials are coupled at all."""

from __future__ import annotations

import numpy as np

from analysis.decision.winner import interval
from analysis.fit_file.curve import AlmrPoint, Coupling, CurvePoint
from analysis.fit_file.winner import Interval
from analysis.surfaces.forms import FORMS, Form
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Optima

PINNED = 0.1  # the share of draws on an end of the LR range over which an ALMR's best LR is only a bound
LEAST_SPAN = 1 / 3  # of the ALMRs measured: over less, a slope says nothing of the rest


def best_lrs(optima: Optima, level: float) -> list[CurvePoint]:
    """One point per ALMR of the lattice at which the objective allows any LR."""
    means, draws = optima.best_lr(optima.mean), optima.best_lr(optima.draws)
    points = []
    for k in np.flatnonzero(np.isfinite(optima.mean).any(axis=1)):
        band = _band(draws[np.isfinite(optima.draws[:, k]).any(axis=1), k], optima.lr, level)
        points.append(
            CurvePoint(
                almr=float(optima.almr[k]),
                lr=float(means[k]),
                lr_low=min(band.low, float(means[k])),
                lr_high=max(band.high, float(means[k])),
                at_edge=_at_end(means[k], optima.lr),
            )
        )
    return points


def best_almrs(optima: Optima, level: float) -> list[AlmrPoint]:
    """One point per LR of the lattice at which the objective allows any ALMR."""
    means, draws = optima.best_almr(optima.mean), optima.best_almr(optima.draws)
    points = []
    for k in np.flatnonzero(np.isfinite(optima.mean).any(axis=0)):
        band = _band(draws[np.isfinite(optima.draws[:, :, k]).any(axis=1), k], optima.almr, level)
        points.append(
            AlmrPoint(
                lr=float(optima.lr[k]),
                almr=float(means[k]),
                almr_low=min(band.low, float(means[k])),
                almr_high=max(band.high, float(means[k])),
                at_edge=_at_end(means[k], optima.almr),
            )
        )
    return points


def _band(found: Array, axis: Array, level: float) -> Interval:
    """Where no draw allows any point, nothing is known: the whole axis."""
    return interval(found, level) if len(found) else Interval(low=float(axis[0]), high=float(axis[-1]))


def _at_end(value: float, axis: Array) -> bool:
    return bool(len(axis) > 1 and (value <= axis[0] * (1 + 1e-9) or value >= axis[-1] * (1 - 1e-9)))


def coupling(optima: Optima, level: float) -> Coupling | None:
    """None where the best LR is inside the measured range over too few ALMRs to tell a slope.

    An ALMR whose best LR lies on an end of the range is left out: there it is only a bound, which would pull the slope
    to zero. The others count by the precision of their best LR.
    """
    if min(len(optima.almr), len(optima.lr)) < 2:
        return None
    best = optima.best_lr(optima.draws)
    ends = (best <= optima.lr[0] * (1 + 1e-9)) | (best >= optima.lr[-1] * (1 - 1e-9))
    kept = ends.mean(axis=0) < PINNED
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
    """Weighted least squares of each draw (draws, k) on x (k,): (draws,)."""
    weights = _precision(log_lr)
    centred = x - weights @ x / weights.sum()
    # Measured from the first, equal optima have a slope of exactly 0 rather than a rounding error's sign.
    return np.asarray((log_lr - log_lr[:, :1]) @ (weights * centred) / (weights @ centred**2))


def _line(x: Array, log_lr: Array) -> Array:
    """The weighted least squares line through the median curve, at x (k,)."""
    fitted = np.polynomial.Polynomial.fit(x, np.median(log_lr, axis=0), 1, w=np.sqrt(_precision(log_lr)))
    return np.asarray(fitted(x))


def _bend(form: Form, almr: Array, log_lr: Array) -> float:
    """What a line in the form leaves of the median curve."""
    return float(_precision(log_lr) @ (np.median(log_lr, axis=0) - _line(form.of(almr), log_lr)) ** 2)


def _straight(x: Array, log_lr: Array, level: float) -> bool:
    low, high = np.quantile(log_lr, [(1 - level) / 2, (1 + level) / 2], axis=0)
    line = _line(x, log_lr)
    return bool(((line < low) | (line > high)).mean() <= 1 - level)


def _precision(log_lr: Array) -> Array:
    """Weights (k,) of mean about 1, none of which dwarfs the others."""
    variance = log_lr.var(axis=0)
    return np.asarray(1 / (variance + 0.1 * variance.mean() + 1e-12))
