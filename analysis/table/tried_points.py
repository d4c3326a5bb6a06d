"""The points of a table that were tried, and the steps of their grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.table import table as tables

GRID_VALUES, EVEN_VALUES = 12, 9  # with more values than a grid has, a dial was searched: even values stand for them
ALMR_STEP, LR_FACTOR = 0.2, 3.0  # where one value was measured, which has no step of its own


Array = NDArray[np.float64]


@dataclass(frozen=True)
class TriedPoints:
    """What was measured: `complete` (n, 2) and `diverged` (m, 2) hold the (ALMR, LR) of the trials."""

    complete: Array
    diverged: Array

    @classmethod
    def of(cls, table: pd.DataFrame) -> TriedPoints:
        return cls(*(rows[["almr", "lr"]].to_numpy(float) for rows in (tables.usable(table), tables.diverged(table))))

    @property
    def almrs(self) -> Array:
        """The values of the grid, rising; even ones where the trials form no grid."""
        return _values(self.complete[:, 0])

    @property
    def lrs(self) -> Array:
        return np.asarray(np.exp(_values(np.log(self.complete[:, 1]))))

    @property
    def almr_step(self) -> float:
        """Between two neighbouring ALMRs, typically."""
        return float(np.median(np.diff(self.almrs))) if len(self.almrs) > 1 else ALMR_STEP

    @property
    def lr_factor(self) -> float:
        """From one LR to the next, typically."""
        return float(np.exp(np.median(np.diff(np.log(self.lrs))))) if len(self.lrs) > 1 else LR_FACTOR

    def near(self, points: Array, almr: float) -> Array:
        """Those of the points (k, 2) that are within a step of the ALMR, or a quarter of the measured range."""
        reach = max(self.almr_step, float(np.ptp(self.almrs)) / 4) * (1 + 1e-6)
        return np.asarray(points[np.abs(points[:, 0] - almr) <= reach])

    def lowest_diverged(self, almr: float) -> float | None:
        """The lowest LR at which a trial near the ALMR diverged."""
        lost = self.near(self.diverged, almr)[:, 1]
        return float(lost.min()) if len(lost) else None

    def highest_trained(self, almr: float, below: float = np.inf) -> float:
        """The highest LR under `below` that a trial near the ALMR trained with; 0 where there is none."""
        trained = self.near(self.complete, almr)[:, 1]
        return float(trained[trained < below].max(initial=0.0))

    def scaled(self, points: ArrayLike) -> Array:
        """Points (..., 2) in steps of the two dials, so that distances mean something."""
        almr, lr = np.moveaxis(np.asarray(points, float), -1, 0)
        return np.stack([almr / self.almr_step, np.log(lr) / np.log(self.lr_factor)], axis=-1)


def _values(values: Array) -> Array:
    distinct = np.unique(np.round(values, 9))
    return distinct if len(distinct) <= GRID_VALUES else np.linspace(distinct[0], distinct[-1], EVEN_VALUES)
