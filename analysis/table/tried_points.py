"""The tried points of a table, and the step sizes of their grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.table import table as tables

MOST_GRID_VALUES, EVEN_VALUES = 12, 9  # more distinct values are a search's: evenly spaced ones replace them
ALMR_STEP, LR_FACTOR = 0.2, 3.0  # where a single value was tried

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TriedPoints:
    """The (ALMR, LR) of the trials that completed, `complete` (n, 2), and that diverged, `diverged` (m, 2)."""

    complete: Array
    diverged: Array

    @classmethod
    def of(cls, table: pd.DataFrame) -> TriedPoints:
        return cls(*(rows[["almr", "lr"]].to_numpy(float) for rows in (tables.usable(table), tables.diverged(table))))

    @property
    def almrs(self) -> Array:
        """The ALMRs of the grid, ascending; evenly spaced ones where the trials form no grid."""
        return _values(self.complete[:, 0])

    @property
    def lrs(self) -> Array:
        """The LRs of the grid, likewise, evenly spaced in ln LR."""
        return np.asarray(np.exp(_values(np.log(self.complete[:, 1]))))

    @property
    def almr_step(self) -> float:
        """Median difference of neighbouring ALMRs."""
        return float(np.median(np.diff(self.almrs))) if len(self.almrs) > 1 else ALMR_STEP

    @property
    def lr_factor(self) -> float:
        """Median ratio of neighbouring LRs."""
        return float(np.exp(np.median(np.diff(np.log(self.lrs))))) if len(self.lrs) > 1 else LR_FACTOR

    def near(self, points: Array, almr: float) -> Array:
        """The points of (k, 2) within one step of the ALMR, or within a quarter of the tried range if that is more."""
        reach = max(self.almr_step, float(np.ptp(self.almrs)) / 4) * (1 + 1e-6)
        return np.asarray(points[np.abs(points[:, 0] - almr) <= reach])

    def lowest_diverged(self, almr: float) -> float | None:
        """The lowest LR at which a trial near the ALMR diverged; None where none did."""
        lost = self.near(self.diverged, almr)[:, 1]
        return float(lost.min()) if len(lost) else None

    def highest_trained(self, almr: float, below: float = np.inf) -> float:
        """The highest LR under `below` at which a trial near the ALMR completed; 0 where none did."""
        trained = self.near(self.complete, almr)[:, 1]
        return float(trained[trained < below].max(initial=0.0))

    def scaled(self, points: ArrayLike) -> Array:
        """Points (..., 2) in grid steps of ALMR and of ln LR, for distances."""
        almr, lr = np.moveaxis(np.asarray(points, float), -1, 0)
        return np.stack([almr / self.almr_step, np.log(lr) / np.log(self.lr_factor)], axis=-1)


def _values(values: Array) -> Array:
    distinct = np.unique(np.round(values, 9))
    return distinct if len(distinct) <= MOST_GRID_VALUES else np.linspace(distinct[0], distinct[-1], EVEN_VALUES)
