"""How far the curve of a search is from the best LR that each ALMR of a measured table shows by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from analysis.decision.objectives import Goal
from analysis.search.gain import Outlook, minimised
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import refined_along
from analysis.surfaces.surface import Surface
from analysis.table import table as tables

LRS = 121  # of the lattice on which a surface is minimised
FEWEST_LRS = 3  # of a row, under which it shows no best LR


@dataclass(frozen=True)
class Reference:
    """The best LR of each row of a table: `almr` and `lr` (k,). `ends`: the lowest and the highest LR of the table.

    A row is an ALMR with FEWEST_LRS completed LRs or more. Its best LR is the vertex of the parabola in ln LR through
    its lowest cell and that cell's two neighbours. Rows whose lowest cell is the first or the last of their completed
    LRs are left out, unless all are. The rows are single measurements: the reference carries their noise, so that a
    surface, which averages over rows, does not come to 0 even with the whole table.
    """

    almr: Array
    lr: Array
    ends: tuple[float, float]

    @classmethod
    def of(cls, cells: pd.DataFrame, goal: Goal) -> Self:
        """`cells`: one row per (almr, lr). A guard forbids none: both it and the surface are of what is minimised."""
        losses = cells.assign(loss=tables.objective(cells, minimised(goal))).dropna(subset="loss").sort_values("lr")
        rows = {row["almr"].iloc[0]: row for _, row in losses.groupby("almr") if len(row) >= FEWEST_LRS}
        inside = {almr: row for almr, row in rows.items() if 0 < row["loss"].to_numpy().argmin() < len(row) - 1}
        best = {almr: _best_lr(row) for almr, row in (inside or rows).items()}
        ends = float(cells["lr"].min()), float(cells["lr"].max())
        return cls(np.array([*best]), np.array([*best.values()]), ends)

    def curve(self, surfaces: Mapping[str, Surface], goal: Goal) -> Array:
        """ln LR (k,) at which a surface's mean, of the losses as `minimised` weighs them, is lowest."""
        return np.interp(refined_along(self._means(surfaces, goal)), np.arange(LRS), self._ln_lrs)

    def error(self, curve: Array) -> float:
        """Root mean square, over the rows, of ln(LR of a curve / the row's own best LR): 0.1 is 10 %."""
        return float(np.sqrt(np.mean((curve - np.log(self.lr)) ** 2)))

    def excess(self, curve: Array, surfaces: Mapping[str, Surface], goal: Goal) -> float:
        """What following a curve costs, in nats: a surface's loss at the curve's LR above its lowest, mean over the
        rows.
        """
        means = self._means(surfaces, goal)
        at = [np.interp(ln_lr, self._ln_lrs, mean) for ln_lr, mean in zip(curve, means, strict=True)]
        return float(np.mean(np.array(at) - means.min(axis=1)))

    @property
    def _ln_lrs(self) -> Array:
        return np.log(np.geomspace(*self.ends, LRS))

    def _means(self, surfaces: Mapping[str, Surface], goal: Goal) -> Array:
        """(k, LRS)"""
        almr, lr = (axis.ravel() for axis in np.meshgrid(self.almr, np.exp(self._ln_lrs), indexing="ij"))
        return Outlook.of(surfaces, goal, almr, lr).mean.reshape(len(self.almr), LRS)


def _best_lr(row: pd.DataFrame) -> float:
    """The LRs of a row need not be evenly spaced."""
    x, loss = np.log(row["lr"].to_numpy(float)), row["loss"].to_numpy(float)
    i = int(loss.argmin())
    if not 0 < i < len(x) - 1:
        return float(np.exp(x[i]))
    left, right = x[i - 1] - x[i], x[i + 1] - x[i]
    down, up = (loss[i - 1] - loss[i]) / left, (loss[i + 1] - loss[i]) / right  # the slopes at left / 2 and right / 2
    bend = 2 * (up - down) / (right - left)
    return float(np.exp(x[i] + (left / 2 - down / bend if bend > 0 else 0.0)))
