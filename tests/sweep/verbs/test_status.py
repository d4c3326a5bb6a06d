"""`almr status`: what is running, by whom and how far; what was interrupted, and the command that resumes it."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from samples import make_study
from searches import Driver
from typer.testing import CliRunner

from sweep import cli
from sweep.store import lock
from sweep.store.owner import Owner
from sweep.store.run import Run
from sweep.study import Study, Trial

LATE = Trial(almr=0.5, lr=1e-2, seed=0)
EARLY = Trial(almr=0.5, lr=1e-3, seed=0)


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture
def run(study: Study, tmp_path: Path) -> Run:
    """Two of six trials done, two begun: one of them logged three of eight steps."""
    Driver(study, tmp_path / "runs" / "small", room=1).go(events=4)
    run = Run(tmp_path / "runs" / "small")
    for trial in (EARLY, LATE):
        run.start(trial, study)
    steps = [{"step": n, "loss": 6.0 - n, "seconds": 2.0 * n} for n in (1, 2, 3)]
    lines = [*steps, {"step": 3, "held_out": {}}, {"step": 2, "loss": 9.0, "seconds": 9.0, "horizon": 512}]
    run.files.trial(LATE.id).metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def driven(run: Run, **changes: Any) -> None:
    now = datetime.now(UTC)
    driver = Owner.here().model_copy(update={"user": "ada", "since": now - timedelta(minutes=1), **changes})
    run.files.lock.write_text(driver.model_dump_json())


def status(run: Run, *options: str) -> str:
    result = CliRunner().invoke(cli.app, ["status", str(run.folder), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_trial_of_a_driver_that_is_alive_is_running(run: Run) -> None:
    driven(run)
    os.utime(run.files.trial(EARLY.id).request, (0, 0))  # begun long before: by an earlier driver
    text = status(run)
    assert "is running: 2 of 6 trials complete, 0 diverged, 0 failed, 4 left" in text
    assert "driver: ada on " in text
    assert "running: ALMR 0.50, LR 1e-2: step 3/8, loss 3.00, 128 tokens/s, 10 s left" in text
    assert "interrupted: ALMR 0.50, LR 1e-3: step 0/8\n" in text
    assert "almr run" not in text
    now = json.loads(status(run, "--json"))
    assert now["begun"] == [EARLY.id, LATE.id]
    [running] = now["running"]
    assert (running["trial_id"], running["step"], running["loss"], running["seconds_left"]) == (LATE.id, 3, 3.0, 10.0)
    assert [trial["trial_id"] for trial in now["interrupted"]] == [EARLY.id]


@pytest.mark.parametrize(
    "changes", [None, {"process": 2**22 + 1}, {"host": "away", "beat": datetime(2020, 1, 1, tzinfo=UTC)}]
)
def test_without_a_driver_it_says_where_a_trial_stopped_and_what_resumes_it(
    run: Run, changes: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if changes:
        driven(run, **changes)
    monkeypatch.chdir(run.folder.parents[1])
    text = status(run)
    assert "is interrupted: 2 of 6 trials complete" in text
    assert "running" not in text
    assert "interrupted: ALMR 0.50, LR 1e-2: step 3/8, loss 3.00" in text
    assert text.endswith("to resume: almr run runs/small/study.yaml\n")


@pytest.mark.parametrize(("minutes", "state"), [(3, "running"), (10, "interrupted")])
def test_a_driver_on_a_machine_that_was_lost_is_not_heard_of(run: Run, minutes: int, state: str) -> None:
    beat = datetime.now(UTC) - timedelta(minutes=minutes)
    driven(run, host="away", process=7, beat=beat)
    text = status(run)
    assert f" is {state}: 2 of 6 trials complete" in text
    said = f"nothing was heard of ada on away (pid 7) since {beat.astimezone():%Y-%m-%d %H:%M:%S}, {minutes} min "
    assert said in text
    assert json.loads(status(run, "--json"))["unheard"].startswith(said)
    driven(run, process=2**22 + 1, beat=beat)  # ended, on this machine
    assert "nothing was heard" not in status(run)


def test_the_command_that_resumes_works_from_any_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    words = shlex.split(json.loads(status(run, "--json"))["resume"])
    planned = CliRunner().invoke(cli.app, ["plan", *words[2:], "--json"], catch_exceptions=False)
    content = json.loads(planned.stdout)
    assert (content["total"], content["left"]) == (6, 4)


def test_a_renamed_run_has_to_get_its_name_back_before_it_is_resumed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.folder.parents[1])
    renamed = Run(run.folder.rename(run.folder.with_name("kept")))
    end = f"rename {renamed.folder} to small, the name of its study, then: almr run runs/small/study.yaml"
    assert status(renamed).endswith(f"to resume: {end}\n")
    assert json.loads(status(renamed, "--json"))["resume"] == end


def test_a_broken_request_of_a_finished_trial_is_no_fault(run: Run) -> None:
    before = status(run)
    [done, *_] = run.files.records()
    done.with_name("trial.json").write_text('{"half": ')
    assert status(run) == before


def test_a_loss_that_is_no_number_and_a_foreign_lock_are_no_fault(run: Run) -> None:
    run.files.trial(LATE.id).metrics.write_text('{"step": 4, "loss": NaN, "seconds": 1.0}\n')
    run.files.lock.write_text("{}")
    now = json.loads(status(run, "--json"), parse_constant=pytest.fail)
    assert {trial["loss"] for trial in now["interrupted"]} == {None}
    assert now["driver"] is None
    assert lock.holder(lock.LocalLockFile(run.files.lock)) is None


@pytest.mark.parametrize(
    "line",
    [
        *("5", "null", "[" * 100_000, "\x00" * 9),
        *(
            '{"step": NaN}',
            '{"step": [4]}',
            '{"step": null}',
            '{"step": 4, "seconds": "x"}',
            '{"step": 4, "loss": "x"}',
        ),
    ],
)
def test_a_damaged_line_of_metrics_is_no_fault(run: Run, line: str) -> None:
    run.files.trial(LATE.id).metrics.write_text(f'{{"step": 3, "loss": 2.5, "seconds": 1.0}}\n{line}\n')
    interrupted = json.loads(status(run, "--json"))["interrupted"]
    [found] = [trial for trial in interrupted if trial["trial_id"] == LATE.id]
    expected = (4, None) if '"loss"' in line else (3, 2.5)
    assert (found["step"], found["loss"]) == expected


def test_a_run_that_ended_is_finished(study: Study, tmp_path: Path) -> None:
    Driver(study, tmp_path / "small", room=1).go()
    text = status(Run(tmp_path / "small"))
    assert "is finished: 6 of 6 trials complete, 0 diverged, 0 failed, 0 left" in text
    assert "almr run" not in text


def test_the_trainer_of_the_trials_is_named_unless_it_is_our_own(run: Run) -> None:
    assert "trained by" not in status(run)
    path = run.files.records()[0]
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"trainer": {"name": "megatron", "version": "0.16.1"}}))
    text = status(run)
    assert "trained by megatron 0.16.1: 1 trial" in text
    assert "trained by native: 1 trial" in text
    assert json.loads(status(run, "--json"))["trainers"][0].keys() == {"name", "version", "trials"}
