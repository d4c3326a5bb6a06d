"""What a refused fit says: the trials that would settle it, and the change and the command that run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from samples import make_study
from searches import GRID, LOW, Driver, searching

from analysis.fit.fit import Fit
from analysis.fit_file.findings import Finding, NextTrial
from sweep.store.run import Run
from sweep.study import Study
from sweep.study.sections.grid import Grid
from sweep.trials.progress import RunProgress
from sweep.verbs import fitting, rerun


def fitted(study: Study, folder: Path) -> Fit:
    Driver(study, folder / "small").go()
    return fitting.fit(Run(folder / "small"))


def suggested(fit: Fit, *points: tuple[float, float]) -> str:
    """The line for a fit that is refused, and suggests these points."""
    trials = tuple(NextTrial(almr=almr, lr=lr) for almr, lr in points)
    file = fit.file.model_copy(update={"refusals": [Finding(code="edge", message="no", next=trials)]})
    again = rerun.Rerun("study.yaml", "almr run study.yaml")
    [line] = rerun.suggestion(Fit(**vars(fit) | {"file": file}), again)
    assert line.startswith("to run ")
    assert line.endswith("almr run study.yaml")
    return line


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A grid of 5 ALMRs and 3 LRs, all below the best one."""
    return fitted(searching(LOW, strategy="grid", trials=None), tmp_path_factory.mktemp("low"))


def test_a_grid_grown_as_suggested_runs_as_many_trials_as_it_says(low: Fit, tmp_path: Path) -> None:
    assert low.study
    again = rerun.Rerun("study.yaml", "almr run study.yaml")
    [line] = rerun.suggestion(low, again)
    found = re.fullmatch(
        r"to run the suggested trials: add LR ([-0-9e., ]+) to grid \((\d+) more trials\) in study.yaml, then: "
        r"almr run study.yaml",
        line,
    )
    assert found, line
    lrs = (*low.study.grid.lrs, *map(float, found[1].split(", ")))
    grown = searching({"almr": low.study.grid.almr, "lr": lrs}, strategy="grid", trials=None)
    Driver(low.study, tmp_path / "small").go()
    assert RunProgress.of(grown, Run(tmp_path / "small")).to_run == int(found[2])


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.1, 1e-5)], "add a seed to grid.seeds (15 more trials) in study.yaml"),
        ([(0.95, 1e-5)], "add ALMR 0.95 to grid (3 more trials)"),
        ([(0.95, 8e-5), (0.5, 8.01e-5)], "add ALMR 0.95 and LR 8e-5, 8.01e-5 to grid (15 more trials)"),
        ([(0.3001, 4.01e-5), (0.5, 8e-5)], "add LR 8e-5 to grid (5 more trials)"),
    ],
)
def test_of_a_grid_it_names_the_values_to_add_and_counts_the_trials(
    low: Fit, points: list[tuple[float, float]], expected: str
) -> None:
    assert expected in suggested(low, *points)


def with_study(fit: Fit, **changes: Any) -> Fit:
    assert fit.study
    return Fit(**vars(fit) | {"study": fit.study.model_copy(update=changes)})


def test_of_a_search_the_budget_is_raised_and_the_grid_grows_where_it_has_to(low: Fit) -> None:
    search = searching(trials=14).search
    some = with_study(low, grid=Grid(**GRID), search=search)
    assert suggested(some, (0.4, 2e-4)) == (
        "to run more trials, which the search chooses: raise search.trials above 14 in study.yaml, "
        "then: almr run study.yaml"
    )
    beyond = suggested(some, (0.4, 2e-3))
    assert "add LR 2e-3 to grid (write grid.lr as a list) and raise search.trials above 14 in" in beyond
    spent = with_study(some, search=search.model_copy(update={"trials": 25}))
    assert "add ALMR 0.40 to grid and raise search.trials above 25 in" in suggested(spent, (0.4, 1e-4))


def test_a_table_has_its_own_advice_and_without_suggestions_there_is_none(low: Fit) -> None:
    again = rerun.Rerun("study.yaml", "almr run study.yaml")
    assert rerun.suggestion(Fit(**vars(low) | {"study": None}), None) == [rerun.IN_A_TABLE]
    none = low.file.model_copy(update={"refusals": [], "warnings": []})
    assert rerun.suggestion(Fit(**vars(low) | {"file": none}), again) == []


def test_while_trials_are_left_no_other_trials_are_suggested(tmp_path: Path) -> None:
    study = searching(LOW, trials=14)
    driver = Driver(study, tmp_path / "small", at_once=1)
    driver.go(events=20)  # ten trials
    run, left = Run(tmp_path / "small"), RunProgress.of(study, Run(tmp_path / "small")).to_run
    assert 0 < left < 14
    fit = fitting.fit(run)
    assert fit.file.refusals
    [line] = rerun.suggestion(fit, rerun.of(run))
    assert re.fullmatch(rf"to run the trials that are left \({left}\): almr run \S*study.yaml( --runs \S+)?", line)
    driver.go()
    [line] = rerun.suggestion(fitting.fit(run), rerun.of(run))
    assert "raise search.trials above 14" in line


def test_the_users_own_file_is_named_and_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, elsewhere = Run(tmp_path / "runs" / "small"), Run(tmp_path / "other" / "small")
    for one in (run, elsewhere):
        one.freeze(make_study())
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert rerun.of(run, "mine.yaml", "auto") == ("mine.yaml", "almr run mine.yaml --address auto", "", 6)
    assert rerun.of(run, "demo").command == "almr run runs/small/study.yaml"
    assert rerun.of(elsewhere, "mine.yaml").command == f"almr run mine.yaml --runs {tmp_path / 'other'}"
