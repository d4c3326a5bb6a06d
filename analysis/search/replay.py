"""A search replayed on a measured table: it asks for cells, whose outcomes are known, and what it finds is judged.

The proposals are those of the real search (analysis.search.ask), one after another with nothing in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.search.ask import OTHERS, ask
from analysis.search.measured import Measured
from analysis.search.subgrid import subgrid

STRATEGIES = ("surface", *OTHERS, "grid")
ALL = "all cells"


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
    """As if all cells had been run: the regret is 0, and a search's error of the curve can be held against this one."""
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


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """One row per strategy and number of trials, in the order in which they first come."""
    groups: dict[tuple[str, int], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.strategy, outcome.trials), []).append(outcome)
    return [Row.of(group) for group in groups.values()]
