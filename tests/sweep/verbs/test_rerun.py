"""What a refused fit says: the trials that would settle it, and the command that runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from samples import make_study
from searches import GRID, LOW, Driver, searching

from analysis.fit_file.findings import Finding, NextTrial
from sweep.store.run import Run
from sweep.study import Trial
from sweep.study.record import MOST_SEED
from sweep.trials import also
from sweep.trials.progress import RunProgress
from sweep.verbs.results import fitting, rerun

TRIED = tuple(Trial(almr=0.1, lr=1e-5, seed=seed) for seed in (0, 2))


def finding(*points: tuple[float, float]) -> list[Finding]:
    return [Finding(code="edge", message="no", next=tuple(NextTrial(almr=almr, lr=lr) for almr, lr in points))]


@pytest.mark.parametrize(
    ("points", "count", "expected"),
    [
        ([(0.95, 8e-5)], 2, "0.95:8e-5"),
        ([(0.95, 8e-5), (0.3001, 3.162e-5), (0.95, 8e-5)], 4, "0.95:8e-5,0.3001:3.162e-5"),
        ([(0.1, 1e-5)], 1, "0.1:1e-5:3"),
        ([(0.1, 1e-5), (1.0, 2e-3)], 3, "0.1:1e-5:3,1.0:2e-3"),
    ],
)
def test_the_command_names_each_point_and_another_seed_of_one_that_was_tried(
    points: list[tuple[float, float]], count: int, expected: str
) -> None:
    again = rerun.Rerun("almr run study.yaml", seeds=2, tried=TRIED)
    wanted = [f"to run the suggested trials ({count}): almr run study.yaml --also {expected}"]
    assert rerun.suggestion(finding(*points), finding((0.2, 1.0)), again) == wanted
    assert rerun.suggestion([], finding(*points), again) == wanted


@given(
    tried=st.lists(st.sampled_from([0, 1, 2, 7, MOST_SEED - 1, MOST_SEED]), min_size=1, unique=True),
)
@example(tried=[MOST_SEED])
@example(tried=[0, MOST_SEED])
def test_another_seed_of_a_point_is_one_that_a_study_may_have(tried: list[int]) -> None:
    """Also where the highest was tried: what is printed is read back, and is not one that was run."""
    again = rerun.Rerun("almr run study.yaml", tried=tuple(Trial(almr=0.1, lr=1e-5, seed=seed) for seed in tried))
    command, _ = again.running([(0.1, 1e-5)])
    [point] = also.read([command.split(" --also ")[1]])
    assert point.seed not in {None, *tried}
    make_study(grid=GRID | {"seeds": [*tried, point.seed]})


def test_a_table_has_its_own_advice_and_without_suggestions_there_is_none() -> None:
    assert rerun.suggestion(finding((0.1, 1e-5)), [], None) == [rerun.IN_A_TABLE]
    assert rerun.suggestion(finding(), [], rerun.Rerun("almr run study.yaml")) == []


def test_while_trials_are_left_no_other_trials_are_suggested(tmp_path: Path) -> None:
    study = searching(LOW, trials=14)
    driver = Driver(study, tmp_path / "small", at_once=1)
    driver.go(events=20)  # ten trials
    run, left = Run(tmp_path / "small"), RunProgress.of(study, Run(tmp_path / "small")).to_run
    assert 0 < left < 14
    fit = fitting.fit(run)
    assert fit.refusals
    [line] = rerun.suggestion(fit.refusals, fit.warnings, rerun.of(run))
    assert re.fullmatch(rf"to run the trials that are left \({left}\): almr run \S*study.yaml( --runs \S+)?", line)
    driver.go()
    [line] = rerun.suggestion(fit.refusals, fit.warnings, rerun.of(run))
    assert " --also " in line


def test_the_users_own_file_is_named_and_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, elsewhere = Run(tmp_path / "runs" / "small"), Run(tmp_path / "other" / "small")
    for one in (run, elsewhere):
        one.freeze(make_study(grid=GRID | {"seeds": [0, 1]}))
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert rerun.of(run, "mine.yaml", "auto") == ("almr run mine.yaml --address auto", "", 50, 2, (), None)
    assert rerun.of(run, "demo").command == "almr run runs/small/study.yaml"
    assert rerun.of(elsewhere, "mine.yaml").command == f"almr run mine.yaml --runs {tmp_path / 'other'}"
