"""A measured table for replayed searches: its cells, and the quality of what a search found among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from analysis.decision.objectives import Goal, GuardedGoal, goal
from analysis.search.curve_error import Reference
from analysis.search.gain import ObjectiveModel
from analysis.search.space import Space
from analysis.surfaces.kernels import Array
from analysis.surfaces.surface import fit_languages
from analysis.table import table as tables
from sweep.study import MINIMUM_TRIALS, InputError, Objective

NEAR = 9  # cells of the lowest losses, whose repeats give the noise near the best


class CurveDeviation(NamedTuple):
    """The deviation of a curve of best LR: `error` as Reference.error, and its cost, Reference.excess by the surface of
    all cells, in per cent of the best loss.
    """

    error: float | None
    excess_percent: float | None


@dataclass(frozen=True)
class MeasuredTable:
    """A table as a set of possible trials.

    `cells` has one row per (almr, lr), ordered, with the columns almr, lr, loss_<language> (nats, mean over the seeds
    that completed), tokens (of one trial, NaN where unknown), status and excluded. A cell diverged if no seed completed
    and one diverged. `noise_percent`: sd of a cell's mean near the best, in per cent of the best; None without repeats.
    """

    cells: pd.DataFrame
    goal: Goal
    noise_percent: float | None

    @classmethod
    def of(cls, table: pd.DataFrame, objective: Objective) -> Self:
        """`table` as in analysis.table. Raises InputError for too few cells, and where no cell can be the best."""
        aim = goal(objective, table)
        found = cls(cells := _cells(table, aim.languages), aim, _noise_percent(table, aim))
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
        """Number of completed cells that break the forgetting guard."""
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

    def curve(self, order: Sequence[int], seed: int) -> CurveDeviation:
        """The deviation of the curve fitted to these cells, as by `almr fit`; both None where fewer than MINIMUM_TRIALS
        of them completed, or no row has a best LR.
        """
        seen = self.cells.iloc[list(order)]
        if len(tables.usable(seen)) < MINIMUM_TRIALS or not len(self.reference.almr):
            return CurveDeviation(None, None)
        curve = self.reference.curve(self._model(seen, seed))
        excess = self.reference.excess(curve, self._whole)
        return CurveDeviation(self.reference.error(curve), 100 * excess / self.best)

    @cached_property
    def _whole(self) -> ObjectiveModel:
        return self._model(self.cells, 0)

    def _model(self, cells: pd.DataFrame, seed: int) -> ObjectiveModel:
        return ObjectiveModel(fit_languages(cells, self.goal.languages, seed), self.goal)

    def tokens(self, order: Sequence[int]) -> float | None:
        """Tokens of these trials; None where one is unknown."""
        spent = self.cells["tokens"].iloc[list(order)]
        return None if spent.isna().any() else float(spent.sum())


def _cells(table: pd.DataFrame, languages: Iterable[str]) -> pd.DataFrame:
    """The rows of MeasuredTable.cells."""
    table = table.assign(tokens=table["tokens"].astype(float) if "tokens" in table else np.nan)
    losses, cell = [f"loss_{name}" for name in languages], ["almr", "lr"]
    complete = tables.usable(table).groupby(cell, as_index=False)[[*losses, "tokens"]].mean()
    lost = tables.diverged(table).groupby(cell, as_index=False)[["tokens"]].mean()
    lost = lost[~pd.MultiIndex.from_frame(lost[cell]).isin(pd.MultiIndex.from_frame(complete[cell]))]
    lost = lost.assign(**dict.fromkeys(losses, np.nan), status="diverged", excluded="diverged: as measured")
    complete = complete.assign(status="complete", excluded=None)
    rows = [*complete.to_dict("records"), *lost.to_dict("records")]
    cells = pd.DataFrame(rows, columns=[*cell, *losses, "tokens", "status", "excluded"]).astype({"excluded": object})
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
