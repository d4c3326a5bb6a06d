"""The next trial of our own search."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_surfaces import Known
from search_samples import TOTAL, lost, measured, search

from analysis.search.design import FIRST
from analysis.search.propose import WINNER_FIRST, SearchContext, propose
from analysis.search.space import Point, Space

KNOWN = Known(coupling=1.0)


def the_next(table: pd.DataFrame, space: Space, pending: list[Point] = [], curve: float = 0.0, seed: int = 0):  # noqa: B006
    return propose(SearchContext(table, TOTAL, space, pending, len(table) + len(pending), curve, seed))


def test_it_starts_in_the_middle_and_around_it(cells: Space) -> None:
    found = search(lambda points: measured(KNOWN, points), cells, len(FIRST))
    assert {one.why for one in found} == {"start"}
    places = cells.unit(np.array([one.almr for one in found]), np.array([one.lr for one in found]))
    assert places == pytest.approx(np.array(FIRST), abs=0.1 + 0.0626)  # jitter, and half a cell


POINTS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.25, 0.3, 0.7, 1.0]), st.sampled_from([1e-5, 3e-5, 2e-4, 1e-3])),
    min_size=2,
    max_size=20,
    unique=True,
)


@given(POINTS, st.data())
@settings(max_examples=25)
def test_only_a_free_cell_of_the_list_is_proposed(points: list[Point], data: st.DataObject) -> None:
    """Whatever the list, one row or one column among them, whatever was measured, diverged or is in flight."""
    used = data.draw(st.integers(0, len(points) - 1))
    flying = data.draw(st.integers(0, min(len(points) - 1 - used, 20 if used else len(FIRST) - 1)))
    table = measured(KNOWN, points[:used], 0.01)
    table = lost(table, data.draw(st.lists(st.booleans(), min_size=used, max_size=used)))
    found = the_next(table, Space(tuple(points)), points[used : used + flying], data.draw(st.sampled_from([0.0, 0.9])))
    assert (found.almr, found.lr) in points[used + flying :]


def test_before_any_trial_ended_more_than_the_design_can_be_in_flight(cells: Space) -> None:
    pending = list(cells.cells[: 9 * len(FIRST) : 9])
    found = the_next(measured(KNOWN, []), cells, pending)
    assert (found.almr, found.lr) not in pending


def test_where_everything_diverges_it_retreats_to_lower_lrs_and_goes_on_to_the_last_cell() -> None:
    space = Space.grid([0.1, 0.4, 0.6, 0.9], np.geomspace(1e-5, 1e-3, 4))
    found = search(lambda points: lost(measured(KNOWN, points), slice(None)), space, len(space.cells))
    proposed = [(one.almr, one.lr) for one in found]
    assert set(proposed) == set(space.cells)
    assert {one.why for one in found} == {"start"}
    for i in range(len(FIRST), len(proposed)):
        lowest = min(lr for _, lr in proposed[:i])
        lower = [lr for _, lr in set(space.cells) - set(proposed[:i]) if lr < lowest]
        assert not lower or proposed[i][1] < lowest


def test_a_search_that_diverged_at_first_still_finds_the_bowl(cells: Space) -> None:
    def outcome(points: list[Point]) -> pd.DataFrame:
        return lost(measured(low, points), [lr > 5e-5 for _, lr in points])

    low = Known(lr=2e-5)
    found = search(outcome, cells, 14)
    best = min(low.mean(one.almr, one.lr) for one in found if one.lr <= 5e-5)
    assert best - low.mean(cells.almr, cells.lr).min() < 0.02


def test_trials_that_diverged_repel() -> None:
    """The loss falls up to the highest LR, until trials there are known to diverge."""
    space, falls = Space.grid(np.linspace(0.1, 0.9, 5), np.geomspace(1e-5, 1e-3, 9)), Known(lr=2e-3)
    points = [(a, r) for a in np.unique(space.almr)[[0, 2, 4]] for r in np.unique(space.lr)[[0, 3, 6]]]
    top = [(a, float(space.lr.max())) for a in np.unique(space.almr)[[0, 2, 4]]]
    assert the_next(measured(falls, points, 0.002), space).lr > max(lr for _, lr in points)
    table = measured(falls, points + top, 0.002)
    assert the_next(lost(table, table["lr"] == space.lr.max()), space).lr < space.lr.max()


def test_points_in_flight_are_apart(cells: Space, spread: list[Point]) -> None:
    table, pending = measured(KNOWN, spread, 0.002), []
    for _ in range(4):
        found = the_next(table, cells, pending)
        pending.append((found.almr, found.lr))
    places = cells.unit(*np.array(pending).T)
    pairs = [np.linalg.norm(one - other) for one, other in itertools.combinations(places, 2)]
    assert len(set(pending)) == 4
    assert not set(pending) & set(spread)
    assert min(pairs) > 0.12  # a cell or more
    assert max(pairs) > 0.25


def test_the_same_trials_give_the_same_proposal_in_any_order(cells: Space, spread: list[Point]) -> None:
    table = lost(measured(KNOWN, spread, 0.002), [8])
    pending = [cells.cells[40], cells.cells[50]]
    first = the_next(table, cells, pending, curve=0.5)
    assert the_next(table, cells, pending, curve=0.5) == first
    for seed in range(3):
        other = the_next(table.sample(frac=1, random_state=seed), cells, pending[::-1], curve=0.5)
        assert (other.almr, other.lr, other.why) == (first.almr, first.lr, first.why)
        assert other.launch_loss == pytest.approx(first.launch_loss, rel=1e-3)


@pytest.mark.parametrize(("curve", "expected"), [(0.0, 0), (0.25, 4)])
def test_the_curve_gets_its_share_after_the_winner(curve: float, expected: int, cells: Space) -> None:
    points: list[Point] = []
    why = []
    for _ in range(24):
        found = propose(SearchContext(measured(KNOWN, points, 0.002), TOTAL, cells, index=len(points), curve=curve))
        points.append((found.almr, found.lr))
        why.append(found.why)
    assert why.count("curve") == expected
    assert "curve" not in why[:WINNER_FIRST]
    assert ("curve", "curve") not in itertools.pairwise(why)
    assert why[: len(FIRST)] == ["start"] * len(FIRST)
    assert len(set(points)) == 24


def test_what_a_launch_is_expected_to_lose_falls_with_the_trials(cells: Space) -> None:
    left = [one.launch_loss for one in search(lambda points: measured(KNOWN, points, 0.0002), cells, 14)]
    assert left[: len(FIRST)] == [None] * len(FIRST)
    assert all(loss >= 0 for loss in left[len(FIRST) :])
    assert left[-1] < 1e-3 < left[len(FIRST)]


@pytest.mark.parametrize("at_once", [8, 16])
def test_a_batch_is_laid_out_for_its_size_inside_the_range_and_goes_on_so_until_enough_ended(
    at_once: int, cells: Space
) -> None:
    pending: list[Point] = []
    for index in range(at_once + 3):
        found = propose(SearchContext(measured(KNOWN, []), TOTAL, cells, pending, index, at_once=at_once))
        assert found.why == "start"
        pending.append((found.almr, found.lr))
    places = cells.unit(*np.array(pending).T)
    assert len(set(pending)) == at_once + 3
    assert ((places > 0) & (places < 1)).all()
    for half in (places[:, 0] < 0.5, places[:, 0] > 0.5, places[:, 1] < 0.5, places[:, 1] > 0.5):
        assert half.sum() >= at_once / 3


def test_losses_that_are_nats_higher_at_the_ends_of_the_range_do_not_hide_the_valley() -> None:
    """A plateau below the best LR, a wall above it, over three decades of LR."""
    space = Space.grid(np.linspace(0.1, 0.9, 7).tolist(), np.geomspace(1e-5, 1e-2, 17).tolist())
    wide = Known(almr=0.35, lr=6e-4, coupling=1.0, steepness=0.02, cliff=1.6)
    losses = wide.mean(space.almr, space.lr)
    assert losses.max() - losses.min() > 2
    for seed in range(3):
        found = search(lambda points: measured(wide, points, 0.0005), space, 14, seed=seed)
        best = min(wide.mean(one.almr, one.lr) for one in found)
        assert best - losses.min() < 0.001


def test_a_best_cell_beside_a_cliff_is_found() -> None:
    """The loss falls with LR up to the best one; the next higher LR loses 0.3 nats and more."""
    space = Space.grid(np.linspace(0.1, 0.9, 7).tolist(), np.geomspace(1e-5, 1e-2, 17).tolist())

    def outcome(points: list[Point]) -> pd.DataFrame:
        almr, lr = np.array(points, float).reshape(-1, 2).T
        over = np.log(lr / 1.1e-3)  # the best LR on the grid is 1e-3
        loss = 3 + 0.15 * (almr - 0.5) ** 2 + np.where(over > 0, 0.3 + over, -0.08 * over)
        return measured(KNOWN, points).assign(loss_total=loss)

    best = outcome(list(space.cells))["loss_total"].min()
    regrets = [outcome([(one.almr, one.lr) for one in search(outcome, space, 16, seed=seed)]) for seed in range(4)]
    assert np.mean([table["loss_total"].min() - best for table in regrets]) < 0.002
