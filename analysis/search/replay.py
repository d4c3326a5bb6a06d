"""Replay of a search on a measured table: it proposes cells, whose outcomes are known.

The proposals are those of a real search (analysis.search.ask), with its rule of which outcomes a proposal sees
(analysis.search.turns); or those of a grid with a budget of N trials.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.fit.fit import fit_table
from analysis.search.ask import OTHERS, ask
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, SearchOutcome
from analysis.search.propose import SearchContext
from analysis.search.space import Point, Space
from analysis.search.turns import Timetable
from analysis.surfaces.kernels import Array
from sweep.study import InputError, Objective

STRATEGIES = ("surface", *OTHERS, "grid")
LONGEST = 2  # ratio of the numbers of ALMRs and LRs of a grid, where the table has enough of both


@dataclass(frozen=True)
class SearchedTrials:
    """The rows of `cells` that a search ran, in its order, and when each ended (n,), in mean durations of a trial."""

    rows: list[int]
    ended: Array

    @property
    def time(self) -> float:
        """When the last of them ended."""
        return float(self.ended.max())


@dataclass(frozen=True)
class ReplayedSearch:
    """A replay. `curve`: share of the trials of `surface` for the curve. `at_once`: trials in parallel. `spread`: the
    standard deviation of ln of a trial's duration, which has a mean of 1.
    """

    strategy: str
    curve: float = 0.25
    seed: int = 0
    at_once: int = 1
    spread: float = 0.0

    def trials(self, measured: MeasuredTable, counts: Sequence[int]) -> list[SearchedTrials]:
        """The trials of a search with each of these budgets.

        A grid is laid out anew for each, as a smaller grid is not the beginning of a larger one.
        """
        with threadpool_limits(1):  # small matrices, and other searches run beside this one
            if self.strategy == "grid":
                return [self._laid_out(measured, count) for count in counts]
            whole = self._run(max(counts), lambda *seen: self._proposed(measured, *seen))
            return [SearchedTrials(whole.rows[:count], whole.ended[:count]) for count in counts]

    def _laid_out(self, measured: MeasuredTable, count: int) -> SearchedTrials:
        cells = measured.space.cells
        rows = [cells.index(cell) for cell in subgrid(measured.space, count, self.seed)]
        return self._run(len(rows), lambda order, _: rows[len(order)])

    def _run(self, trials: int, choose: Callable[[list[int], list[int]], int]) -> SearchedTrials:
        """Trials one after another, each chosen from the rows so far and from which of these are seen."""
        durations = _durations(trials, self.spread, self.seed)
        table, rows = Timetable(self.at_once), list[int]()
        for index in range(trials):
            rows.append(choose(rows, table.seen()))
            table.start(durations[index])
        return SearchedTrials(rows, np.array(table.ends))

    def _proposed(self, measured: MeasuredTable, order: list[int], seen: list[int]) -> int:
        cells, hidden = measured.space.cells, set(range(len(order))) - set(seen)
        context = SearchContext(
            table=measured.cells.iloc[[order[i] for i in seen]],
            goal=measured.goal,
            space=measured.space,
            pending=[cells[order[i]] for i in sorted(hidden)],
            index=len(order),
            curve=self.curve,
            seed=self.seed,
            at_once=self.at_once,
        )
        found = ask(self.strategy, context)
        return cells.index((found.almr, found.lr))

    def outcomes(self, measured: MeasuredTable, counts: Sequence[int]) -> list[SearchOutcome]:
        """The outcome of the search after each of `counts` trials."""
        found = self.trials(measured, counts)
        return [self.outcome(measured, *pair) for pair in zip(counts, found, strict=True)]

    def outcome(self, measured: MeasuredTable, trials: int, found: SearchedTrials) -> SearchOutcome:
        """The outcome of a budget of `trials`, from the trials that the search ran with it."""
        with threadpool_limits(1):
            return _outcome(measured, self.strategy, trials, found, self.seed)


def _durations(trials: int, spread: float, seed: int) -> Array:
    """Of a log-normal distribution with mean 1: (trials,)."""
    return np.asarray(np.exp(spread * np.random.default_rng(seed).standard_normal(trials) - spread**2 / 2))


def _outcome(measured: MeasuredTable, strategy: str, trials: int, found: SearchedTrials, seed: int) -> SearchOutcome:
    error, excess = measured.curve(found.rows, seed)
    tokens = measured.tokens(found.rows)
    return SearchOutcome(strategy, trials, measured.regret_percent(found.rows), error, excess, tokens, found.time)


def found_by_fit(measured: MeasuredTable, found: SearchedTrials, objective: Objective) -> dict[str, Any]:
    """The trials of a search in order, and what their fit says: for a script that checks its intervals.

    `winner` as in `fit.json`, and `refusals`, their codes; both None where too few trials completed.
    """
    cells = measured.cells.iloc[found.rows]
    values = [value if value == value else None for value in measured.values[found.rows].tolist()]
    rows = cells.assign(objective=pd.Series(values, index=cells.index, dtype=object), ended=found.ended)
    trials = rows[["almr", "lr", "status", "objective", "ended"]].to_dict("records")
    try:
        fitted = fit_table(cells.reset_index(drop=True), objective, "search").file
    except InputError:
        return {"trials": trials, "winner": None, "refusals": None}
    winner, refusals = fitted.winner.model_dump(mode="json"), [refusal.code for refusal in fitted.refusals]
    return {"trials": trials, "winner": winner, "refusals": refusals}


def everything(measured: MeasuredTable, seed: int) -> SearchOutcome:
    """The outcome of running all cells: regret 0, and the curve error that a search is compared with."""
    with threadpool_limits(1):
        count = len(measured.cells)
        return _outcome(measured, ALL, count, SearchedTrials(list(range(count)), np.full(count, np.nan)), seed)


def subgrid(space: Space, trials: int, seed: int) -> list[Point]:
    """An even grid of at most `trials` cells, shifted by the seed within its room; all cells if they fit.

    Its values are those of the table at even steps of their rank. A cell that the table lacks is replaced by the
    nearest one that is not taken.
    """
    if trials >= len(space.cells):
        return list(space.cells)
    almrs, lrs = np.unique(space.almr), np.unique(space.lr)
    k, m = _shape(len(almrs), len(lrs), trials)
    shifts = np.random.default_rng(seed).uniform(size=2)
    taken: list[Point] = []
    for almr, lr in itertools.product(_evenly(almrs, k, shifts[0]), _evenly(lrs, m, shifts[1])):
        taken.append(space.nearest(almr, lr, space.without(taken).cells))
    return taken


def _shape(almrs: int, lrs: int, trials: int) -> tuple[int, int]:
    """(ALMRs, LRs) with the most cells; among these the squarest, then the one with more LRs."""

    def square_enough(k: int, m: int) -> bool:
        return (m <= LONGEST * k or k == almrs) and (k <= LONGEST * m or m == lrs)

    shapes = itertools.product(range(1, min(almrs, trials) + 1), range(1, min(lrs, trials) + 1))
    fitting = [(k, m) for k, m in shapes if k * m <= trials and square_enough(k, m)]
    return max(fitting, key=lambda shape: (shape[0] * shape[1], -abs(shape[0] - shape[1]), shape[1]))


def _evenly(values: np.ndarray, count: int, shift: float) -> list[float]:
    """One value from each of `count` equal parts, at the position `shift` in [0, 1) within its part."""
    return [float(values[int((i + shift) * len(values) / count)]) for i in range(count)]
