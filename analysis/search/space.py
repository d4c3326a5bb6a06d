"""The cells that a search may propose, each at most once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.surfaces.kernels import Array

Point = tuple[float, float]
RANGE_ALMRS, RANGE_LRS = 41, 61  # the grid of a free range


@dataclass(frozen=True)
class Space:
    """n cells as (ALMR, LR); `almr` and `lr` are arrays (n,).

    The coordinates of the surrogate and of the first trials are `unit`: half of ALMR's is its rank, because who writes
    0.01, 0.02, 0.05, 0.1, 0.3, 0.9 expects as much to change between the first two as between the last two.
    """

    cells: tuple[Point, ...]

    @classmethod
    def grid(cls, almrs: Iterable[float], lrs: Iterable[float]) -> Space:
        """All pairs of these values."""
        return cls(tuple(itertools.product(sorted(set(almrs)), sorted(set(lrs)))))

    @classmethod
    def range(cls, almr: Point, lr: Point) -> Space:
        """A free range (lowest, highest) of each, as a fine grid of rounded values."""
        almrs = [round(float(a), 3) for a in np.linspace(*almr, RANGE_ALMRS if almr[0] < almr[1] else 1)]
        lrs = [float(f"{r:.2e}") for r in np.geomspace(*lr, RANGE_LRS if lr[0] < lr[1] else 1)]
        return cls.grid(np.clip(almrs, *almr).tolist(), np.clip(lrs, *lr).tolist())

    @property
    def almr(self) -> Array:
        return np.array([almr for almr, _ in self.cells])

    @property
    def lr(self) -> Array:
        return np.array([lr for _, lr in self.cells])

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(lowest, highest) ALMR and (lowest, highest) LR."""
        return (float(self.almr.min()), float(self.almr.max())), (float(self.lr.min()), float(self.lr.max()))

    def without(self, used: Iterable[Point]) -> Space:
        """The cells that are not among the used points."""
        taken = set(used)
        return Space(tuple(cell for cell in self.cells if cell not in taken))

    def unit(self, almr: Array | float, lr: Array | float) -> Array:
        """Coordinates in [0, 1] over the space: (n, 2). Half of ALMR's is its rank among the cells' ALMRs."""
        shares, almrs = self._shares(almr, lr), np.unique(self.almr)
        rank = np.interp(np.atleast_1d(almr), almrs, np.linspace(0, 1, len(almrs)))
        return np.stack([(shares[:, 0] + rank) / 2, shares[:, 1]], axis=1)

    def _shares(self, almr: Array | float, lr: Array | float) -> Array:
        """Shares of the range of ALMR and of ln LR: (n, 2)."""
        (a0, a1), (r0, r1) = self.bounds
        u = (np.atleast_1d(almr) - a0) / ((a1 - a0) or 1.0)
        return np.stack([u, np.log(np.atleast_1d(lr) / r0) / (np.log(r1 / r0) or 1.0)], axis=1)

    def nearest(self, almr: float, lr: float, free: Sequence[Point]) -> Point:
        """The nearest of the free cells to any point, in shares of the range."""
        apart = self._shares(*np.array(free).T) - self._shares(almr, lr)
        return free[int((apart**2).sum(axis=1).argmin())]

    def nearest_to(self, place: Array, free: Sequence[Point]) -> Point:
        """The nearest of the free cells to a place (2,) in the coordinates of `unit`."""
        apart = self.unit(*np.array(free).T) - place
        return free[int((apart**2).sum(axis=1).argmin())]
