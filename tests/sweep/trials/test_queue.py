"""The queue of a search, driven by hand: which trials it gives, in any order of endings, killed and gone on with."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
from samples import make_study
from searches import GRID, Driver, Pick, last, searching, shuffled

from sweep.store.run import Run
from sweep.study import Status, Study, Trial
from sweep.trials.progress import RunProgress
from sweep.trials.queue import PATIENCE, GridQueue, SearchQueue, Turn

pytestmark = pytest.mark.slow

TRIALS = 10


def cells(driver: Driver) -> list[tuple[float, float]]:
    return [(almr, lr) for _, almr, lr, _ in driver.proposals]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A search that nothing disturbed."""
    driver = Driver(searching(trials=TRIALS), tmp_path_factory.mktemp("whole"))
    driver.go()
    return driver


def test_a_search_gives_so_many_cells_of_its_grid_once_each_and_two_at_a_time(whole: Driver) -> None:
    assert whole.most == 2
    assert len(set(cells(whole))) == len(whole.table) == TRIALS
    grid = whole.study.grid
    assert set(cells(whole)) <= set(itertools.product(grid.almr, grid.lrs))
    assert [index for index, *_ in whole.proposals] == list(range(TRIALS))
    state = whole.run.search_state()
    assert state
    assert (state.strategy, state.budget, state.asked, state.stopped) == ("surface", TRIALS, TRIALS, None)
    assert (0.5, 1e-4) in cells(whole)  # the best cell of the surface


@pytest.mark.parametrize("pick", [last, shuffled(1)])
def test_the_order_in_which_trials_end_changes_no_proposal(whole: Driver, tmp_path: Path, pick: Pick) -> None:
    other = dataclasses.replace(whole, folder=tmp_path)
    other.go(pick)
    assert other.proposals == whole.proposals


@pytest.mark.parametrize("events", [1, 5, 9, 16])
def test_a_killed_search_goes_on_to_the_same_trials(whole: Driver, tmp_path: Path, events: int) -> None:
    killed = dataclasses.replace(whole, folder=tmp_path)
    killed.go(events=events)
    begun = killed.run.left(request.trial for request in killed.run.requests())
    again = killed.go()
    assert again[: len(begun)] == begun
    assert killed.proposals == whole.proposals
    assert killed.table == whole.table


def test_a_search_killed_again_and_again_ends_all_the_same(tmp_path: Path) -> None:
    whole = Driver(searching(strategy="random"), tmp_path / "whole")
    whole.go()
    killed = dataclasses.replace(whole, folder=tmp_path / "killed")
    for _ in range(20):
        killed.go(shuffled(3), events=4)
    assert killed.table == whole.table


def test_a_larger_budget_keeps_what_was_proposed_and_goes_on(whole: Driver, tmp_path: Path) -> None:
    small = dataclasses.replace(whole, folder=tmp_path, study=searching(trials=TRIALS - 8))
    small.go()
    assert small.proposals == whole.proposals[:2]
    small.study = whole.study
    assert len(small.go()) == 8
    assert small.proposals == whole.proposals


@pytest.mark.parametrize("strategy", ["tpe", "random"])
def test_other_strategies_go_through_the_same_queue(strategy: str, tmp_path: Path) -> None:
    one, other = (Driver(searching(strategy=strategy, trials=12), tmp_path / name) for name in ("one", "other"))
    one.go()
    other.go(last, events=13)
    other.go(last)
    assert one.most == 2
    assert len(set(cells(one))) == 12
    assert {why for *_, why in one.proposals} == {strategy}
    assert other.table == one.table


def test_a_search_ends_under_its_tolerance_says_so_and_stays_ended(tmp_path: Path) -> None:
    driver = Driver(searching(tolerance=10.0, trials=20), tmp_path)
    driver.go()
    state = driver.run.search_state()
    assert state
    assert state.stopped
    assert "under search.tolerance" in state.stopped
    assert state.asked == len(driver.table) < 14
    assert RunProgress.of(driver.study, driver.run).ended == state.stopped
    assert driver.go() == []
    assert driver.run.search_state() == state
    driver.study = searching(tolerance=0.0, trials=len(driver.table) + 1)
    assert len(driver.go()) == 1
    assert RunProgress.of(driver.study, driver.run).ended is None


def test_no_slot_waits_for_a_trial_that_takes_far_longer_than_the_others(tmp_path: Path) -> None:
    """Trial 1 never ends; the other slot goes on once it is late, and treats it as running."""
    driver = Driver(searching(trials=8), tmp_path)
    driver.run.freeze(driver.study)
    queue = SearchQueue(driver.study, driver.run, 2, seconds=lambda: driver.seconds)
    given: list[Trial] = []
    waits = 0
    while (turn := queue.next()) is not Turn.DONE and len(given) < 8:
        if turn is Turn.WAIT:
            waits += 1
            driver.seconds += PATIENCE + 1
            continue
        driver.run.start(turn, driver.study)
        given.append(turn)
        if len(given) != 2:
            driver.seconds += 10
            driver.run.finish(driver._record(turn))
            queue.ended(turn)
    assert len(set(given)) == 8
    assert waits == 1
    assert queue.running == {given[1]}


def test_a_search_whose_first_trials_all_diverge_goes_to_lower_learning_rates(tmp_path: Path) -> None:
    driver = Driver(searching(trials=12), tmp_path, diverging=3e-5)
    driver.go()
    assert len(driver.table) == 12
    assert [lr for _, lr in cells(driver)[:4]] == [lr for _, lr in cells(driver)[:4] if lr >= 3e-5]
    assert sum(status == Status.COMPLETE for status, _ in driver.table.values()) >= 3
    nothing = Driver(searching(strategy="tpe", trials=12), tmp_path / "nothing", diverging=1e-9)
    nothing.go()
    assert [status for status, _ in nothing.table.values()] == ["diverged"] * 12


def test_a_failed_trial_is_retried_by_the_next_run_and_the_search_goes_on_around_it(tmp_path: Path) -> None:
    driver = Driver(searching(trials=TRIALS), tmp_path)
    third = driver.go(events=4)[2]
    driver = Driver(searching(trials=TRIALS), tmp_path, failing={third.id})
    driver.go()
    assert driver.table[third.id][0] == Status.FAILED
    assert len(set(cells(driver))) == len(driver.table) == TRIALS
    driver.failing = ()
    driver.study = searching(trials=TRIALS + 1)
    given = driver.go()
    assert given[0] == third
    assert len(given) == 2
    assert {status for status, _ in driver.table.values()} == {Status.COMPLETE}


def test_a_search_of_more_trials_than_cells_ends_saying_so(tmp_path: Path) -> None:
    driver = Driver(searching({"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}, strategy="tpe"), tmp_path)
    driver.go()
    assert len(driver.table) == 9
    state = driver.run.search_state()
    assert state
    assert state.stopped == "all 9 cells were run"


def test_a_free_range_is_searched_between_the_cells(tmp_path: Path) -> None:
    driver = Driver(searching({"almr": [0.1, 0.9], "lr": [1e-5, 1e-3]}, space="range", trials=9), tmp_path)
    driver.go()
    assert len(set(cells(driver))) == 9
    assert all(0.1 <= almr <= 0.9 and 1e-5 <= lr <= 1e-3 for almr, lr in cells(driver))
    assert any(almr not in (0.1, 0.9) and lr not in (1e-5, 1e-3) for almr, lr in cells(driver))
    assert all(driver.study.includes(almr, lr, 0) for almr, lr in cells(driver))


def plain(folder: Path, study: Study, **changes: float) -> Driver:
    """A grid of the same folder that was run before the search."""
    driver = Driver(study, folder, room=2, **changes)  # type: ignore[arg-type]
    driver.go()
    return driver


def test_trials_of_an_earlier_grid_are_known_and_only_proposals_count_against_the_budget(tmp_path: Path) -> None:
    earlier = plain(tmp_path, searching({"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-3]}, strategy="grid", trials=None))
    driver = Driver(searching(trials=6), tmp_path)
    given = driver.go()
    assert len(given) == 6
    assert not {trial.id for trial in given} & {trial.id for trial in earlier.study.grid_trials}
    assert len(driver.table) == 12
    assert "start" not in {why for *_, why in driver.proposals}  # six trials are enough to draw a surface
    assert RunProgress.of(driver.study, driver.run).to_run == 0


def test_trials_that_the_study_no_longer_includes_neither_run_again_nor_widen_it(tmp_path: Path) -> None:
    wide = Driver(searching(strategy="random", trials=12), tmp_path)
    wide.go(events=20)
    before = {request.trial for request in wide.run.requests()}
    narrow = Driver(searching(GRID | {"lr": [1e-5, 3.162e-05, 1e-4]}, trials=12), tmp_path)
    given = narrow.go()
    assert max(lr for _, lr in cells(wide)) > 1e-4, "or there is nothing to see"
    assert all(trial.lr <= 1e-4 for trial in given)
    kept = sum(trial.lr <= 1e-4 for trial in before)
    assert kept + len([trial for trial in given if trial not in before]) == 12
    assert RunProgress.of(narrow.study, narrow.run).to_run == 0


def test_no_more_of_a_grid_is_in_flight_than_run_at_once(tmp_path: Path) -> None:
    study, run = make_study(grid={"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}), Run(tmp_path)
    queue = GridQueue(study, run, study.grid_trials, at_once=2)
    first, second = queue.next(), queue.next()
    assert isinstance(first, Trial)
    assert isinstance(second, Trial)
    assert queue.next() is Turn.WAIT
    queue.ended(first)
    assert isinstance(queue.next(), Trial)


def test_a_trial_of_an_earlier_grid_that_failed_may_be_asked_for_again(tmp_path: Path) -> None:
    small = {"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}
    middle = Trial(almr=0.5, lr=1e-4, seed=0)
    plain(tmp_path, searching(small, strategy="grid", trials=None), failing={middle.id})
    driver = Driver(searching(small, strategy="random", trials=5), tmp_path)
    assert driver.go() == [middle]
    assert driver.table[middle.id][0] == Status.COMPLETE
    assert driver.run.attempts(middle) == 2
