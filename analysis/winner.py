"""Surface -> the curve of best LR against ALMR, the coupling of the two, and the winner, each with its interval.

All intervals come from joint posterior draws of the whole surface: each draw is a surface of its own with its own
optimum, and the quantiles of those optima are the interval. Nothing is predicted outside the measured range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.surface import Array, Fitted
from sweep.trial import Schema

DRAWS = 500
ALMR_POINTS, LR_POINTS = 25, 61


class Interval(Schema):
    low: float
    high: float


class CurvePoint(Schema):
    """The best LR at one ALMR. `at_edge`: that best is the smallest or largest LR measured."""

    almr: float
    lr: float
    lr_low: float
    lr_high: float
    at_edge: bool


class Coupling(Schema):
    """Slope of ln LR* per unit of ALMR, and the posterior probability that it is above zero."""

    slope: float
    interval: Interval
    probability: float


class Winner(Schema):
    """The chosen point: the minimum of the mean objective surface. `objective` is that minimum, in nats per token.

    `at_edge` names the dials ("almr", "lr") whose best value is the end of the measured range.
    """

    almr: float
    lr: float
    objective: float
    objective_interval: Interval
    almr_interval: Interval
    lr_interval: Interval
    level: float
    at_edge: tuple[str, ...]


@dataclass(frozen=True)
class Optima:
    """The objective over a dense lattice of the measured range, as mean and as draws.

    almr (A,), lr (L,), mean and sd (A, L), draws (draws, A, L), all losses in nats per token.
    """

    almr: Array
    lr: Array
    mean: Array
    sd: Array
    draws: Array
    level: float

    @staticmethod
    def of(surface: Fitted, almr: Array, lr: Array, level: float, seed: int = 0) -> Optima:
        """`almr` and `lr` are the measured values: their ranges bound the lattice."""
        a = np.linspace(almr.min(), almr.max(), ALMR_POINTS if np.ptp(almr) else 1)
        r = np.geomspace(lr.min(), lr.max(), LR_POINTS if np.ptp(lr) else 1)
        every_almr, every_lr = (axis.ravel() for axis in np.meshgrid(a, r, indexing="ij"))
        mean, sd = surface.predict(every_almr, every_lr)
        draws = surface.sample(every_almr, every_lr, DRAWS, seed)
        shape = (len(a), len(r))
        return Optima(a, r, mean.reshape(shape), sd.reshape(shape), draws.reshape(-1, *shape), level)

    def _interval(self, values: Array) -> Interval:
        low, high = np.quantile(values, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(low=float(low), high=float(high))

    def _interval_on(self, axis: Array, best: Array) -> Interval:
        """Interval of optima that are indices into an axis of the lattice.

        An index stands for half a step to either side: without that an optimum sharper than the lattice would have
        an interval of no width, beside the truth.
        """
        low, high = np.quantile(best, [(1 - self.level) / 2, (1 + self.level) / 2])
        ends = np.interp([low - 0.5, high + 0.5], np.arange(len(axis)), axis)
        return Interval(low=float(ends[0]), high=float(ends[1]))

    def curve(self) -> list[CurvePoint]:
        best = self.draws.argmin(axis=2)  # (draws, A)
        points = []
        for i, almr in enumerate(self.almr):
            j, interval = int(self.mean[i].argmin()), self._interval_on(self.lr, best[:, i])
            edge = _on_edge(j, len(self.lr))
            points.append(
                CurvePoint(
                    almr=float(almr), lr=float(self.lr[j]), lr_low=interval.low, lr_high=interval.high, at_edge=edge
                )
            )
        return points

    def coupling(self) -> Coupling | None:
        """None where one ALMR or one LR was measured."""
        if min(len(self.almr), len(self.lr)) < 2:
            return None
        log_best = np.log(self.lr[self.draws.argmin(axis=2)])
        centred = self.almr - self.almr.mean()
        # Measured from the first, equal optima have a slope of exactly 0 rather than a rounding error's sign.
        slopes = (log_best - log_best[:, :1]) @ centred / (centred @ centred)
        return Coupling(
            slope=float(np.median(slopes)),
            interval=self._interval(slopes),
            probability=float((slopes > 0).mean() + (slopes == 0).mean() / 2),
        )

    def winner(self) -> Winner:
        i, j = np.unravel_index(self.mean.argmin(), self.mean.shape)
        flat = self.draws.reshape(len(self.draws), -1)
        best_i, best_j = np.unravel_index(flat.argmin(axis=1), self.mean.shape)
        edges = (("almr", int(i), len(self.almr)), ("lr", int(j), len(self.lr)))
        return Winner(
            almr=float(self.almr[i]),
            lr=float(self.lr[j]),
            objective=float(self.mean[i, j]),
            objective_interval=self._interval(self.draws[:, i, j]),
            almr_interval=self._interval_on(self.almr, best_i),
            lr_interval=self._interval_on(self.lr, best_j),
            level=self.level,
            at_edge=tuple(name for name, index, size in edges if _on_edge(index, size)),
        )


def _on_edge(index: int, size: int) -> bool:
    return size > 1 and index in (0, size - 1)
