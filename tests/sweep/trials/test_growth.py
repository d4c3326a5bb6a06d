"""Cells beyond the grid: where the optimum is there, within the bounds and the budget, and not otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from known_surfaces import Known
from searches import LOW, Driver, last, searching

from sweep.study import Status, Study

pytestmark = pytest.mark.slow

GRID_ENDS = LOW["lr"][-1]
BOUNDS = {"lr": [1e-5, 3e-4]}
NINE = LOW | {"almr": [0.1, 0.5, 0.9]}


def grown_grid(trials: int = 24, bounds: Any = BOUNDS, grid: Any = NINE) -> Study:
    return searching(grid, strategy="grid", trials=trials, bounds=bounds)


def beyond(driver: Driver) -> list[float]:
    """The LRs over the grid's that were tried."""
    return sorted({request.lr for request in driver.run.requests() if request.lr > GRID_ENDS})


@pytest.mark.parametrize("strategy", ["surface", "tpe"])
def test_a_search_goes_beyond_the_grid_to_the_optimum_and_not_past_its_bounds(strategy: str, tmp_path: Path) -> None:
    driver = Driver(searching(NINE, strategy=strategy, trials=13, bounds={"lr": [1e-5, 1e-4]}), tmp_path)
    driver.go()
    assert beyond(driver)[-1] in (8e-5, 1e-4)
    assert len(driver.table) == 13


def test_a_killed_search_grows_to_the_same_cells(tmp_path: Path) -> None:
    whole = Driver(searching(NINE, strategy="tpe", trials=13, bounds=BOUNDS), tmp_path / "whole")
    whole.go()
    killed = dataclasses.replace(whole, folder=tmp_path / "killed")
    killed.go(last, events=21)
    killed.go()
    assert killed.proposals == whole.proposals
    assert beyond(killed)


def test_a_grid_grows_step_by_step_until_the_optimum_is_inside(tmp_path: Path) -> None:
    driver = Driver(grown_grid(), tmp_path, room=2)
    driver.go()
    assert beyond(driver) == [8e-5, 1.6e-4]
    assert len(driver.table) == 15
    assert [index for index, *_ in driver.proposals] == list(range(9, 15))
    assert {why for *_, why in driver.proposals} == {"grown"}
    assert driver.go() == []


@pytest.mark.parametrize(("trials", "grown"), [(9, 0), (11, 2), (14, 5), (15, 6)])
def test_a_grid_never_grows_beyond_its_budget_which_counts_the_grid_too(
    trials: int, grown: int, tmp_path: Path
) -> None:
    driver = Driver(grown_grid(trials), tmp_path, room=2)
    driver.go()
    assert len(driver.table) == trials
    assert len(driver.proposals) == grown


def test_a_grid_grows_to_its_bounds_and_no_further(tmp_path: Path) -> None:
    driver = Driver(grown_grid(bounds={"lr": [1e-5, 5e-5]}), tmp_path, room=2)
    driver.go()
    assert beyond(driver) == [5e-5]
    downward = Driver(grown_grid(bounds={"lr": [5e-6, 4e-5]}), tmp_path / "downward", room=2, known=Known(lr=1e-6))
    downward.go()
    assert min(request.lr for request in downward.run.requests()) == 5e-6
    assert not beyond(downward)


@pytest.mark.parametrize("strategy", ["grid", "surface"])
def test_nothing_grows_where_the_optimum_is_inside(strategy: str, tmp_path: Path) -> None:
    inside = NINE | {"lr": [1e-5, 2e-5, 4e-5, 8e-5]}
    wide = {"lr": [1e-7, 1e-2], "almr": [0.0, 1.0]}
    study = searching(inside, strategy=strategy, trials=14, bounds=wide)
    driver = Driver(study, tmp_path, room=2, known=Known(lr=3e-5))
    driver.go()
    grid = set(study.grid_trials)
    assert len(driver.table) == 12
    assert {request.trial for request in driver.run.requests()} == grid


@pytest.mark.parametrize("events", [18, 19, 23])
def test_a_killed_grid_grows_to_the_same_cells(events: int, tmp_path: Path) -> None:
    whole, killed = (Driver(grown_grid(13), tmp_path / name, room=2) for name in ("whole", "killed"))
    whole.go()
    killed.go(last, events=events)
    killed.go()
    assert killed.proposals == whole.proposals
    assert killed.table == whole.table


def test_a_step_that_the_budget_cut_short_is_finished_by_a_larger_one(tmp_path: Path) -> None:
    whole, raised = (Driver(grown_grid(24), tmp_path / name, room=2) for name in ("whole", "raised"))
    whole.go()
    raised.study = grown_grid(10)
    raised.go()
    assert len(raised.table) == 10
    raised.study = grown_grid(24)
    raised.go()
    assert raised.table == whole.table


def test_records_that_nothing_else_tells_of_count_against_the_budget(tmp_path: Path) -> None:
    driver = Driver(grown_grid(11), tmp_path, room=2)
    driver.go(events=18)
    for trial in driver.study.grid_trials:
        (driver.run.trial_folder(trial) / "trial.json").unlink()
    assert len(driver.go()) == 2


def test_each_seed_of_a_grown_cell_is_run(tmp_path: Path) -> None:
    driver = Driver(grown_grid(21, grid=NINE | {"seeds": [0, 1]}), tmp_path, room=2)
    driver.go()
    assert len(driver.table) == 21
    assert [request.seed for request in driver.run.requests() if request.proposed] == [0, 1, 0]


def test_a_grid_of_which_nothing_completes_does_not_grow(tmp_path: Path) -> None:
    driver = Driver(grown_grid(), tmp_path, room=2, diverging=1e-9)
    driver.go()
    assert [status for status, _ in driver.table.values()] == [Status.DIVERGED] * 9


@pytest.mark.slow  # thousands of cells a proposal
def test_a_free_range_grows_within_its_bounds(tmp_path: Path) -> None:
    driver = Driver(
        searching({"almr": [0.1, 0.9], "lr": [1e-5, 4e-5]}, space="range", bounds=BOUNDS, trials=16), tmp_path
    )
    driver.go()
    assert len(driver.table) == 16
    assert beyond(driver)
    assert beyond(driver)[-1] <= 3e-4


def test_trials_between_the_cells_add_no_cells_between_them(tmp_path: Path) -> None:
    free = Driver(searching(NINE, strategy="random", space="range", trials=9), tmp_path)
    free.go()
    between = {request.trial for request in free.run.requests()}
    driver = Driver(searching(NINE, strategy="random", trials=18, bounds=BOUNDS), tmp_path)
    given = driver.go()
    assert {trial.almr for trial in between} - set(NINE["almr"]), "or there is nothing to see"
    assert {trial.almr for trial in given} <= set(NINE["almr"])
    assert {trial.lr for trial in given if trial.lr <= GRID_ENDS} <= set(NINE["lr"])
