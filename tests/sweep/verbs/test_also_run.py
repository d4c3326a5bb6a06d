"""`almr run STUDY --also`, and the commands that a refused fit prints: run as printed, through the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from bowl_run import LAUNCH
from known_surfaces import Known
from samples import study_content
from searches import GRID, LOW, Driver
from typer.testing import CliRunner, Result

from analysis.fit_file.findings import Finding, NextTrial
from sweep import cli
from sweep.planning import warnings
from sweep.store.run import Run
from sweep.study import Study, study_file
from sweep.study.files.trial_files import read_record
from sweep.trials import also
from sweep.verbs.results import fitting, rerun
from sweep.verbs.running import training

Point = tuple[float, float, int]


@pytest.fixture(autouse=True)
def without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are answered from a known surface, in this process; all else is as a user has it."""
    monkeypatch.chdir(tmp_path)
    known = Known()

    def train(study: Study, run: Run, *others: Any) -> None:
        Driver(study, run.folder, room=2, known=known).go()

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(fitting, "keep_figures", lambda fitted, folder: fitted)


def almr(*arguments: str, status: int | None = None) -> Result:
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert status is None or result.exit_code == status
    return result


def write(grid: dict[str, Any], **changes: Any) -> str:
    Path("study.yaml").write_text(yaml.safe_dump(study_content(grid=grid, **changes)))
    return "study.yaml"


def ran() -> set[Point]:
    """The trials that have a record."""
    records = map(read_record, Path("runs/small/trials").glob("*/record.json"))
    return {(record.almr, record.lr, record.seed) for record in records}


def suggested() -> set[tuple[float, float]]:
    fit = json.loads(Path("runs/small/fit.json").read_text())
    return {(trial["almr"], trial["lr"]) for finding in fit["refusals"] for trial in finding["next"]}


def printed(output: str) -> list[str]:
    """The command on the last line of the output, without the word almr."""
    program, *arguments = shlex.split(output.strip().splitlines()[-1].partition(": ")[2])
    assert program == "almr"
    return arguments


@pytest.mark.parametrize("search", [{}, pytest.param({"strategy": "tpe", "trials": 12}, marks=pytest.mark.slow)])
def test_the_command_that_a_refusal_prints_runs_exactly_the_trials_that_it_suggests(search: dict[str, Any]) -> None:
    first = almr("run", write(LOW, search=search, launch=LAUNCH), status=3)
    before, wanted = ran(), suggested()
    assert "REFUSED (edge)" in first.stdout
    assert wanted
    *verb, option, points = printed(first.stdout)
    refused = CliRunner().invoke(cli.app, ["export", "small"])
    assert f"almr run runs/small/study.yaml --also {points}" in str(refused.exception)
    assert f">almr run runs/small/study.yaml --also {points}</code>" in Path("runs/small/report.html").read_text()
    again = almr(*verb, option, points)
    assert {(almr, lr) for almr, lr, _ in ran() - before} == wanted
    assert len(ran() - before) == len(wanted)
    table = Path("runs/small/trials.csv").read_text()
    assert table.count("asked with --also") == len(wanted)
    assert "not in the study's grid" not in table
    assert f"based on {len(ran())} complete trials" in again.stdout


def test_trials_that_were_named_are_in_the_plan_and_the_state_of_the_run() -> None:
    study = write(GRID)
    plan = almr("plan", study, "--also", "0.65:3.19e-4,0.5:1e-4,0.65:3.19e-4:5")
    assert "27 trials" in plan.stdout
    assert "named with --also: ALMR 0.65, LR 3.19e-4 to do; ALMR 0.65, LR 3.19e-4, seed 5 to do" in plan.stdout
    assert "already in this run, and not added: ALMR 0.5, LR 1e-4" in plan.stderr
    assert not Path("runs/small/trials").exists()
    loaded, run = study_file.load(study), Run.within("runs", "small")
    also.add(loaded, run, also.find(loaded, run, also.read(["0.65:3.19e-4"])).new)
    Driver(loaded, run.folder, room=2).go()
    status = almr("status", "small")
    assert "26 of 26 trials complete" in status.stdout
    assert "of these, named with --also: 1" in status.stdout
    content = json.loads(almr("plan", study, "--json").stdout)
    assert (content["total"], content["left"]) == (26, 0)
    assert content["also"] == ["almr=0.65_lr=3.19e-04_seed=0"]


def test_what_is_no_trial_is_refused_before_anything_is_written() -> None:
    refused = CliRunner().invoke(cli.app, ["run", write(GRID), "--also", "0.65:3e-4", "--also", "65:3e-4"])
    assert "write 0.65" in str(refused.exception)
    assert not Path("runs").exists()


def test_a_small_grid_may_be_completed_by_trials_that_are_named() -> None:
    study = study_file.load(write({"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4]}))
    assert "its grid has 6 trials" in (warnings.too_small(study) or "")
    assert warnings.too_small(study, also=3) is None


def test_a_replay_suggests_the_trials_that_its_table_has(tmp_path: Path) -> None:
    Path("table.csv").write_text("almr,lr,seed,loss_original,loss_additional\n0.65,3e-4,0,3.5,4.5\n")
    of = study_file.load(write(GRID, replay={"table": "table.csv"}))
    run = Run.within("runs", "small")
    run.freeze(of)
    again = rerun.of(run)._replace(left=0)
    both = [Finding(code="edge", message="m", next=(NextTrial(almr=0.65, lr=lr),)) for lr in (3e-4, 4e-4)]
    assert rerun.suggestion(both, [], again) == [f"to run the suggested trials (1): {again.command} --also 0.65:3e-4"]
    [line] = rerun.suggestion(both[1:], [], again)
    assert line.startswith("the suggested trials are not in the table that this run replays")


def test_a_replay_names_the_trial_that_its_table_lacks() -> None:
    study = write(GRID, replay={"table": "table.csv"})
    Path("table.csv").write_text("almr,lr,seed,loss_original,loss_additional\n0.65,3e-4,0,3.5,4.5\n")
    refused = CliRunner().invoke(cli.app, ["run", study, "--also", "0.65:3e-4,0.65:4e-4"])
    assert "no row for almr=0.65_lr=4e-04_seed=0: leave it out" in str(refused.exception)
    assert not Path("runs/small/trials").exists()


def test_a_study_that_names_its_own_run_as_a_rung_is_refused_before_anything_is_written() -> None:
    """By plan and run, whether the run is there or not; the run of another study is no fault of that kind."""
    launch = LAUNCH | {"transfer": {"rule": "ladder", "rungs": [{"run": "runs/small"}]}}
    study = write(GRID, launch=launch)
    own = "runs/small is this study's own run, and its sweep is a rung already: name the runs of other sizes"
    for _ in range(2):
        refused = CliRunner().invoke(cli.app, ["run", study])
        assert own in str(refused.exception)
        assert "\n" not in str(refused.exception)
        assert not Path("runs/small/trials").exists()
        said = " ".join(almr("plan", study).stderr.split())
        assert f"almr run will refuse this study: launch.transfer.rungs: {Path.cwd()}/{own}" in said
        Run.within("runs", "small").freeze(study_file.load(study))
    Path("runs/small").rename("copied")
    study = write(GRID, launch=LAUNCH | {"transfer": {"rule": "ladder", "rungs": [{"run": "copied"}]}})
    assert "own run" in str(CliRunner().invoke(cli.app, ["run", study]).exception)
    study = write(
        GRID | {"seeds": [1]},
        name="other",
        launch=LAUNCH | {"transfer": {"rule": "ladder", "rungs": [{"run": "copied"}]}},
    )
    assert "own run" not in almr("plan", study).stderr
