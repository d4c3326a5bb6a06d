"""All strategies, through one interface."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from known_surfaces import Known
from search_samples import TOTAL, lost, measured, search

from analysis.decision.objectives import Goal, GuardedGoal, WeightedGoal
from analysis.search.ask import OTHERS, ask
from analysis.search.propose import SearchContext
from analysis.search.space import Point, Space

KNOWN = Known()
SMALL = Space.grid([0.1, 0.5, 0.9], [1e-5, 1e-4, 1e-3])
ALL = ("surface", *OTHERS)


@pytest.mark.parametrize("strategy", ALL)
def test_no_cell_is_proposed_twice_until_none_is_left(strategy: str) -> None:
    def outcome(points: list[Point]) -> pd.DataFrame:
        return lost(measured(KNOWN, points), [lr > 5e-4 for _, lr in points])

    found = search(outcome, SMALL, len(SMALL.cells), strategy)
    assert {(one.almr, one.lr) for one in found} == set(SMALL.cells)


@pytest.mark.parametrize("strategy", ALL)
def test_cells_in_flight_are_left_alone(strategy: str, cells: Space, spread: list[Point]) -> None:
    table, pending = measured(KNOWN, spread, 0.002), []
    for index in range(9, 13):
        found = ask(strategy, SearchContext(table, TOTAL, cells, pending, index))
        assert (found.almr, found.lr) in set(cells.cells) - {*spread, *pending}
        pending.append((found.almr, found.lr))


@pytest.mark.parametrize("strategy", ALL)
def test_the_same_trials_give_the_same_proposal(strategy: str, cells: Space, spread: list[Point]) -> None:
    table = lost(measured(KNOWN, spread, 0.002), [8])
    first = ask(strategy, SearchContext(table, TOTAL, cells, cells.cells[:2], 11, seed=4))
    assert ask(strategy, SearchContext(table.copy(), TOTAL, cells, cells.cells[:2], 11, seed=4)) == first


@pytest.mark.parametrize("strategy", ALL)
def test_the_order_of_the_rows_does_not_matter(strategy: str, cells: Space, spread: list[Point]) -> None:
    table = lost(measured(KNOWN, spread, 0.002), [8])
    first = ask(strategy, SearchContext(table, TOTAL, cells, index=9, seed=4))
    other = ask(strategy, SearchContext(table.iloc[::-1], TOTAL, cells, index=9, seed=4))
    assert (other.almr, other.lr, other.why) == (first.almr, first.lr, first.why)


@pytest.mark.parametrize("strategy", ALL)
def test_another_seed_is_another_search(strategy: str) -> None:
    fine = Space.range((0.1, 0.9), (1e-5, 1e-3))
    searches = [search(lambda points: measured(KNOWN, points), fine, 2, strategy, seed) for seed in range(3)]
    assert len({tuple((one.almr, one.lr) for one in found) for found in searches}) == 3


def test_the_reason_of_a_foreign_proposal_is_its_strategy() -> None:
    assert ask("random", SearchContext(measured(KNOWN, []), TOTAL, SMALL)).why == "random"
    assert ask("surface", SearchContext(measured(KNOWN, []), TOTAL, SMALL)).why == "start"


def test_trials_outside_the_space_and_failed_ones_are_no_obstacle(spread: list[Point]) -> None:
    table = measured(KNOWN, [*spread, (1.0, 5e-3)], 0.002)
    table.loc[0, "excluded"] = "failed: lost"
    for strategy in ALL:
        found = ask(strategy, SearchContext(table, TOTAL, SMALL, index=len(table)))
        assert (found.almr, found.lr) in SMALL.cells


@pytest.mark.parametrize(
    ("goal", "almr"),
    [
        (WeightedGoal({"original": 0.0, "additional": 1.0}), 0.8),
        (WeightedGoal({"original": 1.0, "additional": 0.0}), 0.2),
        (GuardedGoal(float(KNOWN.losses(0.45, 1e-4)["original"]), 0.9), 0.4),
    ],
)
def test_weights_and_guard_say_where_the_best_is(goal: Goal, almr: float, cells: Space) -> None:
    points: list[Point] = []
    for index in range(11):
        found = ask("surface", SearchContext(_losses(points), goal, cells, index=index, curve=0.0))
        points.append((found.almr, found.lr))
    table = _losses(points)
    best = table.loc[goal.of_trials(table).idxmin()]
    assert (best["almr"], best["lr"]) == (almr, pytest.approx(1e-4))


def _losses(points: list[Point]) -> pd.DataFrame:
    almr, lr = np.array(points, float).reshape(-1, 2).T
    losses = {f"loss_{name}": loss for name, loss in KNOWN.losses(almr, lr).items()}
    table = pd.DataFrame({"almr": almr, "lr": lr, "status": "complete"} | losses)
    return table.assign(excluded=pd.Series([None] * len(table), dtype=object))
