"""Trials that a user names beside the study's own: written, read, kept, counted and given to a queue."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_surfaces import Known
from samples import make_study
from searches import GRID, Driver, last, searching

from analysis.fit.fit import fit_study
from analysis.fit_file.findings import Finding, NextTrial
from analysis.table import table as tables
from sweep.store.run import Run
from sweep.study import InputError, Status, Study, Trial
from sweep.study.record import ALSO, MOST_SEED
from sweep.trials import also
from sweep.trials.also import NamedPoint
from sweep.trials.progress import RunProgress
from sweep.verbs.results import rerun

GRID_STUDY = searching({"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}, strategy="grid", trials=None)
points = st.builds(
    NamedPoint,
    st.floats(0, 1).map(abs),
    st.floats(0, exclude_min=True, allow_infinity=False),
    st.none() | st.integers(0, MOST_SEED),
)


def named(study: Study, folder: Path, *texts: str) -> also.NamedTrials:
    """Add the points to the run, as `almr run --also` does."""
    found = also.find(study, Run(folder), also.read(texts))
    also.add(study, Run(folder), found.new)
    return found


@given(st.lists(points, min_size=1))
def test_points_are_read_as_the_numbers_that_were_written(given_points: list[NamedPoint]) -> None:
    assert also.read([also.written(given_points)]) == given_points


@given(points, points)
def test_trials_of_different_points_have_different_ids(one: NamedPoint, other: NamedPoint) -> None:
    first, second = (Trial(almr=p.almr, lr=p.lr, seed=p.seed or 0) for p in (one, other))
    assert (first.id == second.id) == (first == second)


def test_learning_rates_that_print_alike_are_two_trials() -> None:
    lower, higher = also.read(["0.65:3.19e-3,0.65:3.190001e-3"])
    ids = {trial.id for point in (lower, higher) for trial in point.trials(make_study())}
    assert ids == {"almr=0.65_lr=3.19e-03_seed=0", "almr=0.65_lr=3.190001e-03_seed=0"}
    assert also.read(["-0.0:1e-3"])[0].trials(make_study())[0].id == "almr=0.00_lr=1e-03_seed=0"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "'' is no trial"),
        ("0.65", "'0.65' is no trial"),
        ("0.65:1e-3,", "'' is no trial"),
        ("0.65=1e-3", "'0.65=1e-3' is no trial"),
        ("0.65:1e-3;0.7:1e-3", "'0.65:1e-3;0.7:1e-3' is no trial"),
        ("0,65:1e-3", "'0' is no trial"),
        ("half:1e-3", "'half:1e-3' is no trial"),
        ("0.65:1e-3:0.5", "'0.65:1e-3:0.5' is no trial"),
        ("0.65:1e-3:0:0", "'0.65:1e-3:0:0' is no trial"),
        ("1.2:1e-3", "its ALMR is not in 0 to 1 (in percent? write 0.012)"),
        ("65:1e-3", "its ALMR is not in 0 to 1 (in percent? write 0.65)"),
        ("-0.1:1e-3", "its ALMR is not in 0 to 1:"),
        ("nan:1e-3", "its ALMR is not in 0 to 1:"),
        ("0.65:0", "its LR is not a number above 0"),
        ("0.65:-1e-3", "its LR is not a number above 0"),
        ("0.65:nan", "its LR is not a number above 0"),
        ("0.65:inf", "its LR is not a number above 0"),
        ("0.65:1e-3:-1", "its seed is not in 0 to 4294967295"),
    ],
)
def test_what_is_no_trial_is_refused_in_one_line(text: str, fault: str) -> None:
    with pytest.raises(InputError) as refused:
        also.read(["0.1:1e-3", text])
    assert str(refused.value).startswith("--also: ")
    assert fault in str(refused.value)
    assert "\n" not in str(refused.value)
    assert also.FORM in str(refused.value)


def test_a_grid_runs_them_after_its_own_trials_and_counts_them_without_being_told_again(tmp_path: Path) -> None:
    added = named(GRID_STUDY, tmp_path, "0.65:3.19e-3,0.65:2e-4", "0.65:2e-4,0.5:1e-4")
    assert added.notes == [
        "--also: ALMR 0.65, LR 2e-4 is named 2 times: one trial",
        "--also: already in this run, and not added: ALMR 0.5, LR 1e-4",
        "--also: 2 more trials: ALMR 0.65, LR 3.19e-3; ALMR 0.65, LR 2e-4",
    ]
    progress = RunProgress.of(GRID_STUDY, Run(tmp_path))
    assert (progress.total, progress.to_run, list(progress.also)) == (11, 11, added.new)
    driver = Driver(GRID_STUDY, tmp_path, room=2)
    assert driver.go(events=9)[-1].lr in GRID_STUDY.grid.lrs
    assert driver.go()[-2:] == added.new
    assert RunProgress.of(GRID_STUDY, Run(tmp_path)).to_run == 0
    assert named(GRID_STUDY, tmp_path, "0.65:2e-4").new == []


def test_the_fit_uses_them_and_their_reason_is_in_the_table(tmp_path: Path) -> None:
    added = named(GRID_STUDY, tmp_path, "0.65:3.19e-3,0.95:2e-4").new
    Driver(GRID_STUDY, tmp_path, room=2).go()
    table = tables.of_run(tmp_path, GRID_STUDY)
    assert table["excluded"].isna().all()
    asked = table[table["why"] == ALSO]
    assert ALSO == "asked with --also"
    assert set(asked["trial_id"]) == {trial.id for trial in added}


def test_each_seed_of_the_study_is_run_and_a_seed_that_is_named_alone(tmp_path: Path) -> None:
    study = make_study(grid={"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 1e-2], "seeds": [3, 7]})
    added = named(study, tmp_path, "0.6:2e-3,0.1:1e-3:4,0.1:1e-3:7")
    assert [(t.almr, t.seed) for t in added.new] == [(0.6, 3), (0.6, 7), (0.1, 4)]
    assert "already in this run, and not added: ALMR 0.1, LR 1e-3, seed 7" in added.notes[0]


def test_a_point_that_prints_as_another_or_lies_far_outside_is_run_and_said(tmp_path: Path) -> None:
    study = searching(GRID, strategy="grid", trials=None)
    notes = named(study, tmp_path, "0.5:3.16e-5,2e-4:0.5").notes
    assert notes[0] == ("--also: ALMR 0.5, LR 3.16e-5 is another point than ALMR 0.5, LR 3.162e-5, which the run has")
    assert notes[1] == "--also: ALMR 0.0002, LR 5e-1 is 500 x above the grid's highest, 1e-3; ALMR comes first"


def test_a_record_of_an_earlier_grid_is_taken_up_and_not_run_again(tmp_path: Path) -> None:
    Driver(searching(GRID, strategy="grid", trials=None), tmp_path, room=2).go()
    added = named(GRID_STUDY, tmp_path, "0.3:1e-4").new
    assert [trial.almr for trial in added] == [0.3]
    assert RunProgress.of(GRID_STUDY, Run(tmp_path)).to_run == 0
    table = tables.of_run(tmp_path, GRID_STUDY)
    assert table["excluded"].isna().sum() == 10


@pytest.mark.parametrize("killed", ["write_request", "finish"])
def test_a_record_that_is_taken_up_says_so_also_where_the_command_was_killed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    Driver(searching(GRID, strategy="grid", trials=None), tmp_path, room=2).go()

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, killed, kill)
        with pytest.raises(KeyboardInterrupt):
            named(GRID_STUDY, tmp_path, "0.3:1e-4")
    named(GRID_STUDY, tmp_path, "0.3:1e-4")
    record = Run(tmp_path).record(Trial(almr=0.3, lr=1e-4, seed=0))
    assert record
    assert record.proposed
    assert record.proposed.why == ALSO, "else a search extends its space to it, and counts it"


def test_a_search_runs_them_beside_its_budget_and_knows_their_outcomes(tmp_path: Path) -> None:
    study = searching(strategy="random", trials=6)
    beyond = [Trial(almr=0.95, lr=2e-3, seed=0), Trial(almr=0.5, lr=1e-4, seed=0)]
    named(study, tmp_path, "0.95:2e-3,0.5:1e-4")
    assert RunProgress.of(study, Run(tmp_path)).total == 8
    driver = Driver(study, tmp_path)
    given_trials = driver.go()
    assert given_trials[:2] == beyond
    assert len(given_trials) == len(set(given_trials)) == 8
    assert all(study.includes(t.almr, t.lr, t.seed) for t in given_trials[2:])
    state = driver.run.search_state()
    assert state
    assert state.asked == 6


@pytest.mark.parametrize("space", ["cells", "range"])
def test_a_finished_search_runs_exactly_them_and_is_finished_again(tmp_path: Path, space: str) -> None:
    study = searching(strategy="tpe", trials=9, space=space)
    driver = Driver(study, tmp_path)
    driver.go()
    added = named(study, tmp_path, "0.65:3.19e-3,0.7:3e-6").new
    assert RunProgress.of(study, Run(tmp_path)).to_run == 2
    assert driver.go() == added
    assert driver.go() == []
    assert RunProgress.of(study, Run(tmp_path)).to_run == 0
    driver.study = searching(strategy="tpe", trials=10, space=space)
    [more] = driver.go()
    assert driver.study.includes(more.almr, more.lr, more.seed)


def test_a_search_that_is_killed_while_it_runs_them_goes_on_to_the_same_trials(tmp_path: Path) -> None:
    whole, killed = (Driver(searching(strategy="tpe", trials=9), tmp_path / name) for name in ("whole", "killed"))
    for driver in (whole, killed):
        named(driver.study, driver.folder, "0.65:3.19e-4,0.7:3e-5")
    whole.go()
    for _ in range(20):
        killed.go(last, events=5)
    assert killed.proposals == whole.proposals
    assert killed.table == whole.table


def test_a_growing_grid_keeps_its_budget_and_grows_no_row_for_them(tmp_path: Path) -> None:
    bounds = {"almr": [0.05, 0.95], "lr": [1e-6, 1e-2]}
    study = searching(GRID, strategy="grid", trials=30, bounds=bounds)
    low = Known(lr=1e-3)
    plain, other = (Driver(study, tmp_path / name, room=2, known=low) for name in ("plain", "other"))
    assert len(plain.go()) == 30
    named(study, other.folder, "0.95:2e-3")
    given_trials = other.go()
    assert {t for t in given_trials if t.almr != 0.95} == {request.trial for request in plain.run.requests()}
    assert [t.lr for t in given_trials if t.almr == 0.95] == [2e-3]


def test_a_search_of_all_cells_is_whole_where_one_was_run_beside_it(tmp_path: Path) -> None:
    study = searching(GRID_STUDY.grid.model_dump(), strategy="random", trials=9)
    named(study, tmp_path, "0.5:1e-4,0.4:1e-4")
    assert len(Driver(study, tmp_path).go()) == 10
    file = fit_study(study, tables.of_run(tmp_path, study)).file
    assert "missing" not in [warning.code for warning in file.warnings]


def test_one_that_failed_is_left_to_run(tmp_path: Path) -> None:
    [trial] = named(GRID_STUDY, tmp_path, "0.65:3.19e-3").new
    Driver(GRID_STUDY, tmp_path, room=2, failing={trial.id}).go()
    assert Run(tmp_path).record(trial).status is Status.FAILED  # type: ignore[union-attr]
    assert Driver(GRID_STUDY, tmp_path, room=2).go() == [trial]


near = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, 0.6543]), st.sampled_from([1e-5, 3.162e-5, 3.16e-5, 1.23456e-4])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(*near), min_size=1, max_size=6, unique=True))
def test_the_printed_command_names_exactly_the_suggested_trials(
    finished: Run, suggested: list[tuple[float, float]]
) -> None:
    """New points with the study's seed; points that have an outcome with a seed that they do not have."""
    findings = [Finding(code="edge", message="no", next=tuple(NextTrial(almr=a, lr=r) for a, r in suggested))]
    [line] = rerun.suggestion(findings, [], rerun.of(finished))
    arguments = shlex.split(line.partition(": ")[2])
    added = also.find(finished.study(), finished, also.read([arguments[arguments.index("--also") + 1]]))
    assert [(trial.almr, trial.lr) for trial in added.new] == suggested
    old = {(trial.almr, trial.lr) for trial in finished.study().grid_trials}
    assert [trial.seed for trial in added.new] == [int(point in old) for point in suggested]
    assert f"({len(suggested)})" in line


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "small"
    Driver(searching(GRID, strategy="grid", trials=None), folder, room=2).go()
    return Run(folder)
