"""A search replayed on a measured table: it asks for cells, whose outcomes are known, and what it finds is judged.

The proposals are those of the real search (analysis.search.ask), one after another with nothing in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis import table as tables
from analysis.decision.objectives import Goal, Guarded, goal
from analysis.search import propose
from analysis.search.ask import OTHERS, ask
from analysis.search.curve_error import Reference
from analysis.search.gain import minimised
from analysis.search.space import Space
from analysis.search.subgrid import subgrid
from analysis.surfaces.kernels import Array
from sweep.study import MINIMUM_TRIALS, InputError, Objective

STRATEGIES = ("surface", *OTHERS, "grid")
ALL = "all cells"
NEAR = 9  # cells of the lowest losses, whose repeats say how much noise there is near the best


@dataclass(frozen=True)
class Measured:
    """A table as a search meets it. `cells` has one row per possible trial, ordered by (almr, lr): the columns almr,
    lr, loss_<language> (nats, the mean over the seeds that completed), tokens (of one trial, NaN where not known),
    status and excluded. A cell diverged if none of its seeds completed and one diverged.
    """

    cells: pd.DataFrame
    goal: Goal
    noise_percent: float | None

    @classmethod
    def of(cls, table: pd.DataFrame, objective: Objective) -> Self:
        """`table` as in analysis.table. Raises InputError where it has nothing to find, or too few cells."""
        aim = goal(objective, table)
        found = cls(cells := _cells(table, aim.languages), aim, _noise_percent(table, aim))
        complete = len(tables.usable(cells))
        if complete < MINIMUM_TRIALS:
            raise InputError(f"{complete} cells (almr, lr) completed: a simulation needs {MINIMUM_TRIALS} or more")
        if not np.isfinite(found.values).any():
            raise InputError("no cell keeps the forgetting guard, so there is nothing to find: widen --guard")
        if found.best <= 0:
            raise InputError(f"the best loss is {found.best:g}; regret is in per cent of it, so it has to be above 0")
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
        return float(np.nanmin(self.values))

    @cached_property
    def reference(self) -> Reference:
        return Reference.of(self.cells, self.goal)

    def regret_percent(self, order: Sequence[int]) -> float:
        """How far the best of these cells is above the best of all, in per cent of the latter.

        Before any trial completed and kept the guard, there is none: then the worst cell that did stands in, so that
        a late start costs what it could cost.
        """
        seen = self.values[list(order)]
        found = np.nanmin(seen) if np.isfinite(seen).any() else np.nanmax(self.values)
        return float(100 * (found - self.best) / self.best)

    def curve_error(self, order: Sequence[int], seed: int) -> float | None:
        """That of the surface fitted to these cells, see Reference.error; None for fewer than propose.ENOUGH that
        completed.
        """
        seen = self.cells.iloc[list(order)]
        if len(tables.usable(seen)) < propose.ENOUGH:
            return None
        return self.reference.error(propose.fit(seen, self.goal, self.space, seed), self.goal)

    def tokens(self, order: Sequence[int]) -> float | None:
        spent = self.cells["tokens"].iloc[list(order)]
        return None if spent.isna().any() else float(spent.sum())


def _cells(table: pd.DataFrame, languages: Iterable[str]) -> pd.DataFrame:
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
    """The sd of a cell's mean over its seeds, in per cent of the lowest; pooled over the NEAR lowest cells that were
    measured with several seeds. None where there are none.
    """
    used = tables.usable(table)
    losses = tables.objective(used, minimised(aim)).groupby([used["almr"], used["lr"]])
    cells = losses.agg(["mean", "var", "size"])
    near = cells[cells["size"] > 1].nsmallest(NEAR, "mean")
    if not len(near):
        return None
    return float(100 * np.sqrt((near["var"] / near["size"]).mean()) / cells["mean"].min())


class Outcome(NamedTuple):
    """What one search had found after `trials` trials."""

    strategy: str
    trials: int
    regret_percent: float
    curve_error: float | None
    tokens: float | None


def replay(measured: Measured, strategy: str, counts: Sequence[int], curve: float, seed: int) -> list[Outcome]:
    """One search of max(counts) trials, judged at each of `counts`, which are at most all cells. A grid is not the
    beginning of a larger one: it is laid out anew for each count.
    """
    with threadpool_limits(1):  # small matrices, and other searches beside this one
        if strategy == "grid":
            orders = [_grid(measured, count, seed) for count in counts]
        else:
            order = search(measured, strategy, max(counts), curve, seed)
            orders = [order[:count] for count in counts]
        return [_judged(measured, strategy, *pair, seed) for pair in zip(counts, orders, strict=True)]


def search(measured: Measured, strategy: str, trials: int, curve: float, seed: int) -> list[int]:
    """The rows of `cells` in the order in which the strategy asks for them."""
    row = {cell: i for i, cell in enumerate(measured.space.cells)}
    order: list[int] = []
    for index in range(trials):
        seen = measured.cells.iloc[order]
        found = ask(strategy, seen, measured.goal, measured.space, [], index, curve, seed)
        order.append(row[found.almr, found.lr])
    return order


def _grid(measured: Measured, trials: int, seed: int) -> list[int]:
    row = {cell: i for i, cell in enumerate(measured.space.cells)}
    return [row[cell] for cell in subgrid(measured.space, trials, seed)]


def _judged(measured: Measured, strategy: str, trials: int, order: list[int], seed: int) -> Outcome:
    error = measured.curve_error(order, seed)
    return Outcome(strategy, trials, measured.regret_percent(order), error, measured.tokens(order))


def everything(measured: Measured, seed: int) -> Outcome:
    """As if all cells had been run: the regret is 0, and the curve's error the least that can be asked of a search."""
    with threadpool_limits(1):
        return _judged(measured, ALL, len(measured.cells), list(range(len(measured.cells))), seed)


@dataclass(frozen=True)
class Row:
    """A strategy after `trials` trials, over its repeats. `curve_error` is the mean over the repeats that have one,
    `tokens` the mean of what a search spent; None where there is none.
    """

    strategy: str
    trials: int
    repeats: int
    regret_percent_mean: float
    regret_percent_median: float
    regret_percent_p90: float
    curve_error: float | None
    tokens: float | None

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Self:
        """The repeats of one strategy and one number of trials."""
        first, regrets = outcomes[0], [outcome.regret_percent for outcome in outcomes]
        spread = float(np.mean(regrets)), float(np.median(regrets)), float(np.percentile(regrets, 90))
        errors = _mean([outcome.curve_error for outcome in outcomes if outcome.curve_error is not None])
        tokens = [outcome.tokens for outcome in outcomes if outcome.tokens is not None]
        spent = _mean(tokens) if len(tokens) == len(outcomes) else None
        return cls(first.strategy, first.trials, len(outcomes), *spread, errors, spent)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """One row per strategy and number of trials, in the order in which they first come."""
    groups: dict[tuple[str, int], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.strategy, outcome.trials), []).append(outcome)
    return [Row.of(group) for group in groups.values()]


def broken_guard(measured: Measured) -> int:
    """How many completed cells a forgetting guard rules out."""
    kept = int(np.isfinite(measured.values).sum())
    return len(tables.usable(measured.cells)) - kept if isinstance(measured.goal, Guarded) else 0
