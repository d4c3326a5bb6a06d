"""The error of a curve of best LR, against the best LR of each ALMR of a measured table taken alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from analysis.decision.objectives import Goal
from analysis.search.gain import ObjectiveModel
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import refined_along
from analysis.table import table as tables

LRS = 121  # on which the minimum of a surface is searched
FEWEST_LRS = 3  # to find a best LR


@dataclass(frozen=True)
class Reference:
    """The best LR of each row of a table: `almr` and `lr` (k,). `lr_range`: lowest and highest LR of the table.

    A row is an ALMR with FEWEST_LRS completed LRs or more. Its best LR is the vertex of the parabola in ln LR through
    its lowest cell and that cell's two neighbours. Rows whose lowest cell is the first or the last of their completed
    LRs are left out, unless all are. The reference has the noise of single trials: a surface, which averages over rows,
    has an error above 0 even when fitted to the whole table.
    """

    almr: Array
    lr: Array
    lr_range: tuple[float, float]

    @classmethod
    def of(cls, cells: pd.DataFrame, goal: Goal) -> Self:
        """`cells`: one row per (almr, lr). The objective is taken without its guard, as for the surface."""
        losses = cells.assign(loss=tables.objective(cells, goal.loss_weights)).dropna(subset="loss").sort_values("lr")
        rows = {row["almr"].iloc[0]: row for _, row in losses.groupby("almr") if len(row) >= FEWEST_LRS}
        inside = {almr: row for almr, row in rows.items() if 0 < row["loss"].to_numpy().argmin() < len(row) - 1}
        best = {almr: _best_lr(row) for almr, row in (inside or rows).items()}
        lr_range = float(cells["lr"].min()), float(cells["lr"].max())
        return cls(np.array([*best]), np.array([*best.values()]), lr_range)

    def curve(self, model: ObjectiveModel) -> Array:
        """ln LR (k,) of the minimum of the model's mean at each row."""
        return np.interp(refined_along(self._means(model)), np.arange(LRS), self._ln_lrs)

    def error(self, curve: Array) -> float:
        """Root mean square over the rows of ln(LR of the curve / best LR of the row): 0.1 is 10 %."""
        return float(np.sqrt(np.mean((curve - np.log(self.lr)) ** 2)))

    def excess(self, curve: Array, model: ObjectiveModel) -> float:
        """The cost of a curve in nats: the model's mean at the curve's LR minus its minimum, averaged over the rows."""
        means = self._means(model)
        at = [np.interp(ln_lr, self._ln_lrs, mean) for ln_lr, mean in zip(curve, means, strict=True)]
        return float(np.mean(np.array(at) - means.min(axis=1)))

    @property
    def _ln_lrs(self) -> Array:
        return np.log(np.geomspace(*self.lr_range, LRS))

    def _means(self, model: ObjectiveModel) -> Array:
        """The model's mean at each row and LR: (k, LRS)."""
        almr, lr = (axis.ravel() for axis in np.meshgrid(self.almr, np.exp(self._ln_lrs), indexing="ij"))
        return model.predict(almr, lr).mean.reshape(len(self.almr), LRS)


def _best_lr(row: pd.DataFrame) -> float:
    """The vertex of the parabola through the lowest cell and its neighbours, evenly spaced in ln LR or not."""
    x, loss = np.log(row["lr"].to_numpy(float)), row["loss"].to_numpy(float)
    i = int(loss.argmin())
    if not 0 < i < len(x) - 1:
        return float(np.exp(x[i]))
    left, right = x[i - 1] - x[i], x[i + 1] - x[i]
    down, up = (loss[i - 1] - loss[i]) / left, (loss[i + 1] - loss[i]) / right  # slopes at left / 2 and right / 2
    bend = 2 * (up - down) / (right - left)
    return float(np.exp(x[i] + (left / 2 - down / bend if bend > 0 else 0.0)))
