"""Replay of a search on a measured table: it proposes cells, whose outcomes are known.

The proposals are those of a real search (analysis.search.ask), one at a time with nothing in flight; or those of a grid
with a budget of N trials.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.search.ask import OTHERS, ask
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, SearchOutcome
from analysis.search.propose import SearchContext
from analysis.search.space import Point, Space

STRATEGIES = ("surface", *OTHERS, "grid")
LONGEST = 2  # ratio of the numbers of ALMRs and LRs of a grid, where the table has enough of both


def replay(
    measured: MeasuredTable, strategy: str, counts: Sequence[int], curve: float, seed: int
) -> list[SearchOutcome]:
    """The outcomes of one search of max(counts) trials, after each of `counts` trials.

    A grid is laid out anew for each count, as a smaller grid is not the beginning of a larger one.
    """
    with threadpool_limits(1):  # small matrices, and other searches run beside this one
        if strategy == "grid":
            cells = measured.space.cells
            orders = [[cells.index(cell) for cell in subgrid(measured.space, count, seed)] for count in counts]
        else:
            order = search(measured, strategy, max(counts), curve, seed)
            orders = [order[:count] for count in counts]
        return [_outcome(measured, strategy, *pair, seed) for pair in zip(counts, orders, strict=True)]


def search(measured: MeasuredTable, strategy: str, trials: int, curve: float, seed: int) -> list[int]:
    """The rows of `cells`, in the order in which the strategy proposes them."""
    order: list[int] = []
    for index in range(trials):
        seen = measured.cells.iloc[order]
        context = SearchContext(seen, measured.goal, measured.space, index=index, curve=curve, seed=seed)
        found = ask(strategy, context)
        order.append(measured.space.cells.index((found.almr, found.lr)))
    return order


def _outcome(measured: MeasuredTable, strategy: str, trials: int, order: list[int], seed: int) -> SearchOutcome:
    error, excess = measured.curve(order, seed)
    return SearchOutcome(strategy, trials, measured.regret_percent(order), error, excess, measured.tokens(order))


def everything(measured: MeasuredTable, seed: int) -> SearchOutcome:
    """The outcome of running all cells: regret 0, and the curve error that a search is compared with."""
    with threadpool_limits(1):
        return _outcome(measured, ALL, len(measured.cells), list(range(len(measured.cells))), seed)


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
