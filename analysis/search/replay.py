"""A search replayed on a measured table: it asks for cells, whose outcomes are known, and what it finds is judged.

The proposals are those of the real search (analysis.search.ask), one after another with nothing in flight.
"""

from __future__ import annotations

from collections.abc import Sequence

from threadpoolctl import threadpool_limits

from analysis.search.ask import OTHERS, ask
from analysis.search.measured import MeasuredTable
from analysis.search.outcomes import ALL, SearchOutcome
from analysis.search.subgrid import subgrid

STRATEGIES = ("surface", *OTHERS, "grid")


def replay(
    measured: MeasuredTable, strategy: str, counts: Sequence[int], curve: float, seed: int
) -> list[SearchOutcome]:
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


def search(measured: MeasuredTable, strategy: str, trials: int, curve: float, seed: int) -> list[int]:
    """The rows of `cells` in the order in which the strategy asks for them."""
    row = {cell: i for i, cell in enumerate(measured.space.cells)}
    order: list[int] = []
    for index in range(trials):
        seen = measured.cells.iloc[order]
        found = ask(strategy, seen, measured.goal, measured.space, [], index, curve, seed)
        order.append(row[found.almr, found.lr])
    return order


def _grid(measured: MeasuredTable, trials: int, seed: int) -> list[int]:
    row = {cell: i for i, cell in enumerate(measured.space.cells)}
    return [row[cell] for cell in subgrid(measured.space, trials, seed)]


def _judged(measured: MeasuredTable, strategy: str, trials: int, order: list[int], seed: int) -> SearchOutcome:
    regret, curve = measured.regret_percent(order), measured.curve(order, seed)
    return SearchOutcome(strategy, trials, regret, curve.error, curve.excess_percent, measured.tokens(order))


def everything(measured: MeasuredTable, seed: int) -> SearchOutcome:
    """As if all cells had been run: the regret is 0, and a search's error of the curve can be held against this one."""
    with threadpool_limits(1):
        return _judged(measured, ALL, len(measured.cells), list(range(len(measured.cells))), seed)
