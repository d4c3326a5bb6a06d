"""A measured table for replayed searches: its cells, and the quality of what a search found among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from analysis.decision.objectives import Goal, GuardedGoal, base_loss, goal, weighted
from analysis.search.space import Space
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import refined_along
from analysis.surfaces.surface import Surface, fit_languages
from analysis.table import table as tables
from sweep.study import MINIMUM_TRIALS, InputError, Objective

LRS = 121  # on which the minimum of a surface is searched
FEWEST_LRS = 3  # to find a best LR


@dataclass(frozen=True)
class FittedMean:
    """The mean of the objective, without its guards, by the fitted surfaces of its losses."""

    surfaces: Mapping[str, Surface]
    goal: Goal

    def of(self, almr: Array, lr: Array) -> Array:
        """At n points: (n,), in nats."""
        return weighted(self.goal.loss_weights, {name: s.predict(almr, lr)[0] for name, s in self.surfaces.items()})


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

    def curve(self, model: FittedMean) -> Array:
        """ln LR (k,) of the minimum of the model's mean at each row."""
        return np.interp(refined_along(self._means(model)), np.arange(LRS), self._ln_lrs)

    def error(self, curve: Array) -> float:
        """Root mean square over the rows of ln(LR of the curve / best LR of the row): 0.1 is 10 %."""
        return float(np.sqrt(np.mean((curve - np.log(self.lr)) ** 2)))

    def excess(self, curve: Array, model: FittedMean) -> float:
        """The cost of a curve in nats: the model's mean at the curve's LR minus its minimum, averaged over the rows."""
        means = self._means(model)
        at = [np.interp(ln_lr, self._ln_lrs, mean) for ln_lr, mean in zip(curve, means, strict=True)]
        return float(np.mean(np.array(at) - means.min(axis=1)))

    @property
    def _ln_lrs(self) -> Array:
        return np.log(np.geomspace(*self.lr_range, LRS))

    def _means(self, model: FittedMean) -> Array:
        """The model's mean at each row and LR: (k, LRS)."""
        almr, lr = (axis.ravel() for axis in np.meshgrid(self.almr, np.exp(self._ln_lrs), indexing="ij"))
        return model.of(almr, lr).reshape(len(self.almr), LRS)


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


NEAR = 9  # cells of the lowest losses, whose repeats give the noise near the best


@dataclass(frozen=True)
class MeasuredTable:
    """A table as a set of possible trials.

    `cells` has one row per (almr, lr), ordered, with the columns almr, lr, loss_<name> (nats, mean over the seeds
    that completed), tokens (of one trial, NaN where unknown), base_loss_<name> (as the guards take it), status and
    excluded. A cell diverged if no seed completed and one diverged. `noise_percent`: sd of a cell's mean near the best,
    in per cent of the best; None without repeats.
    """

    cells: pd.DataFrame
    goal: Goal
    noise_percent: float | None

    @classmethod
    def of(cls, table: pd.DataFrame, objective: Objective) -> Self:
        """`table` as in analysis.table. Raises InputError for too few cells, and where no cell can be the best."""
        if table["almr"].isna().all():
            raise InputError("no row has an ALMR: for a simulation add a column almr, of one value where all are equal")
        aim = goal(objective, table)
        table = tables.with_losses(table, tables.named_losses(objective))
        cells = _cells(table, dict.fromkeys([*aim.losses, *tables.languages(table)]))
        found = cls(cells, aim, _noise_percent(table, aim))
        complete = len(tables.usable(cells))
        if complete < MINIMUM_TRIALS:
            raise InputError(f"{complete} cells (almr, lr) completed: a simulation needs {MINIMUM_TRIALS} or more")
        if not np.isfinite(found.values).any():
            raise InputError("no cell keeps the forgetting guard: widen --guard")
        if found.best <= 0:
            raise InputError(f"the best loss is {found.best:g}, and regret needs one above 0: give losses in nats")
        return found

    @cached_property
    def space(self) -> Space:
        return Space(tuple(zip(self.cells["almr"].tolist(), self.cells["lr"].tolist(), strict=True)))

    @cached_property
    def values(self) -> Array:
        """The objective at each cell (n,) in nats; NaN where it diverged or breaks the guard."""
        return self.goal.of_trials(self.cells).to_numpy(float)

    @property
    def best(self) -> float:
        """The lowest objective of all cells, in nats."""
        return float(np.nanmin(self.values))

    @property
    def over_the_guard(self) -> int:
        """Number of completed cells that break a guard of a loss."""
        kept = int(np.isfinite(self.values).sum())
        return len(tables.usable(self.cells)) - kept if isinstance(self.goal, GuardedGoal) else 0

    @cached_property
    def reference(self) -> Reference:
        return Reference.of(self.cells, self.goal)

    def regret_percent(self, order: Sequence[int]) -> float:
        """The best of these cells minus the best of all, in per cent of the latter.

        Before any trial completed and kept the guard: the worst cell that does, the most that a late start can cost.
        """
        seen = self.values[list(order)]
        found = np.nanmin(seen) if np.isfinite(seen).any() else np.nanmax(self.values)
        return float(100 * (found - self.best) / self.best)

    def curve(self, order: Sequence[int], seed: int) -> tuple[float | None, float | None]:
        """The error of the curve fitted to these cells, as Reference.error, and its cost in per cent of the best loss,
        as Reference.excess by the surface of all cells.

        Both None where fewer than MINIMUM_TRIALS of them completed, or no row has a best LR.
        """
        seen = self.cells.iloc[list(order)]
        if len(tables.usable(seen)) < MINIMUM_TRIALS or not len(self.reference.almr):
            return None, None
        curve = self.reference.curve(self._model(seen, seed))
        excess = self.reference.excess(curve, self._whole)
        return self.reference.error(curve), 100 * excess / self.best

    @cached_property
    def _whole(self) -> FittedMean:
        return self._model(self.cells, 0)

    def _model(self, cells: pd.DataFrame, seed: int) -> FittedMean:
        return FittedMean(fit_languages(cells, self.goal.losses, seed), self.goal)

    def tokens(self, order: Sequence[int]) -> float | None:
        """Tokens of these trials; None where one is unknown."""
        spent = self.cells["tokens"].iloc[list(order)]
        return None if spent.isna().any() else float(spent.sum())


def _cells(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The rows of MeasuredTable.cells."""
    table = table.assign(tokens=table["tokens"].astype(float) if "tokens" in table else np.nan)
    losses, cell = [f"loss_{name}" for name in names], ["almr", "lr"]
    complete = tables.usable(table).groupby(cell, as_index=False)[[*losses, "tokens"]].mean()
    lost = tables.diverged(table).groupby(cell, as_index=False)[["tokens"]].mean()
    lost = lost[~pd.MultiIndex.from_frame(lost[cell]).isin(pd.MultiIndex.from_frame(complete[cell]))]
    lost = lost.assign(**dict.fromkeys(losses, np.nan), status="diverged", excluded="diverged: as measured")
    complete = complete.assign(status="complete", excluded=None)
    rows = [*complete.to_dict("records"), *lost.to_dict("records")]
    cells = pd.DataFrame(rows, columns=[*cell, *losses, "tokens", "status", "excluded"]).astype({"excluded": object})
    for name in (str(name) for name in table if str(name).startswith("base_loss_")):  # guards need them
        cells[name] = base_loss(table, name.removeprefix("base_loss_"))
    return cells.sort_values(cell, ignore_index=True)


def _noise_percent(table: pd.DataFrame, aim: Goal) -> float | None:
    """The sd of a cell's mean over its seeds, in per cent of the lowest mean; None where too few cells were repeated.

    Pooled over the NEAR lowest cells with several seeds, without the mean effect of each seed, which reorders no cells.
    """
    used = tables.usable(table)
    frame = pd.DataFrame({"loss": tables.objective(used, aim.loss_weights), "seed": used.get("seed", 0)})
    frame["cell"] = used.groupby(["almr", "lr"]).ngroup()
    means, sizes = (frame.groupby("cell")["loss"].transform(how) for how in ("mean", "size"))
    frame = frame.assign(loss=frame["loss"] - means, mean=means)[sizes > 1]
    near = frame[frame["mean"].rank(method="dense") <= NEAR]
    apart = near["loss"] - near.groupby("seed")["loss"].transform("mean")
    cells = near["cell"].nunique()
    freedom = len(near) - cells - near["seed"].nunique() + 1
    if not cells or freedom < 1:
        return None
    return float(100 * np.sqrt((apart**2).sum() / freedom * cells / len(near)) / means.min())
