"""Replay of a search on a measured table: it proposes cells, whose outcomes are known.

The proposals are those of a real search (analysis.search.ask), one at a time with nothing in flight.
"""

from __future__ import annotations

from collections.abc import Sequence

from threadpoolctl import threadpool_limits

from analysis.search.ask import OTHERS, ask
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, SearchOutcome
from analysis.search.propose import SearchContext
from analysis.search.subgrid import subgrid

STRATEGIES = ("surface", *OTHERS, "grid")


def replay(
    measured: MeasuredTable, strategy: str, counts: Sequence[int], curve: float, seed: int
) -> list[SearchOutcome]:
    """The outcomes of one search of max(counts) trials, after each of `counts` trials.

    A grid is laid out anew for each count, as a smaller grid is not the beginning of a larger one.
    """
    with threadpool_limits(1):  # small matrices, and other searches run beside this one
        if strategy == "grid":
            orders = [_grid(measured, count, seed) for count in counts]
        else:
            order = search(measured, strategy, max(counts), curve, seed)
            orders = [order[:count] for count in counts]
        return [_outcome(measured, strategy, *pair, seed) for pair in zip(counts, orders, strict=True)]


def search(measured: MeasuredTable, strategy: str, trials: int, curve: float, seed: int) -> list[int]:
    """The rows of `cells`, in the order in which the strategy proposes them."""
    row = {cell: i for i, cell in enumerate(measured.space.cells)}
    order: list[int] = []
    for index in range(trials):
        seen = measured.cells.iloc[order]
        context = SearchContext(seen, measured.goal, measured.space, index=index, curve=curve, seed=seed)
        found = ask(strategy, context)
        order.append(row[found.almr, found.lr])
    return order


def _grid(measured: MeasuredTable, trials: int, seed: int) -> list[int]:
    row = {cell: i for i, cell in enumerate(measured.space.cells)}
    return [row[cell] for cell in subgrid(measured.space, trials, seed)]


def _outcome(measured: MeasuredTable, strategy: str, trials: int, order: list[int], seed: int) -> SearchOutcome:
    regret, curve = measured.regret_percent(order), measured.curve(order, seed)
    return SearchOutcome(strategy, trials, regret, curve.error, curve.excess_percent, measured.tokens(order))


def everything(measured: MeasuredTable, seed: int) -> SearchOutcome:
    """The outcome of running all cells: regret 0, and the curve error that a search is compared with."""
    with threadpool_limits(1):
        return _outcome(measured, ALL, len(measured.cells), list(range(len(measured.cells))), seed)
