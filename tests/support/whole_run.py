"""A finished replayed run with every kind of file that a run directory may hold, made without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from bowl_run import LAUNCH
from samples import bowl_csv, study_content
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.study.files.layout import RunFiles
from sweep.trials.queue import Queue, Turn
from trainers.trials import recorded

NAME, RESULTS = "small", "results.csv"
GRID = {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}
SEARCH = {"strategy": "surface", "trials": 10, "tolerance": 1e-9}  # of nine cells: it ends early, and says why
TASKS = ("arc", "ceval")
QUESTIONS = 40


def in_turn(run_one: Callable[[Study, Run, Trial], Record]) -> Callable[..., None]:
    """In place of `sweep.controller.run_trials`: one trial after the other, in this process."""

    def in_place(study: Study, run: Run, make_queue: Callable[[int], Queue], watch: Any, address: str | None) -> None:
        queue = make_queue(1)
        while isinstance(trial := queue.next(), Trial):
            watch(trial, None)
            record = run_one(study, run, trial)
            queue.ended(trial)
            watch(trial, record)
        assert trial is Turn.DONE

    return in_place


def _replay(study: Study, run: Run, trial: Trial) -> Record:
    attempt = run.start(trial, study)
    try:
        record = recorded.run_trial(study, trial, attempt)
    except RuntimeError as error:  # the table says that it failed
        identity = {"trial_id": trial.id, "fingerprint": study.fingerprint, "proposed": run.proposed(trial)}
        record = Record(**trial.model_dump(), **identity, status=Status.FAILED, attempt=attempt, reason=str(error))
    run.finish(record)
    return record


def _train(study: Study, run: Run, trial: Trial) -> Record:
    """What a worker does."""
    from sweep.worker.run_trial import work

    return work(run.address, trial, run.record_sha256(trial))


run_trials = in_turn(_replay)


@contextmanager
def without_ray() -> Iterator[None]:
    """Replays of this process are by `run_trials`, wait for no storage, and stage a small part of our code."""
    with (
        mock.patch("sweep.controller.run_trials", run_trials),
        mock.patch("sweep.store.lock.time.sleep"),
        mock.patch("sweep.store.provenance.PACKAGES", ("sweep/store",)),
    ):
        yield


@contextmanager
def trained_here() -> Iterator[None]:
    """Runs of this process train in it; no Ray starts."""
    with (
        mock.patch("sweep.controller.ahead", return_value=nullcontext()),
        mock.patch("sweep.controller.run_trials", in_turn(_train)),
    ):
        yield


def write(folder: Path, search: dict[str, Any] = SEARCH) -> Path:
    """Make the run in `folder`/runs, with its study and its table beside it; returns its directory."""
    folder.mkdir(parents=True, exist_ok=True)
    table = bowl_csv(folder / "table.csv", GRID["almr"], GRID["lr"], seconds=0.0)
    launch = LAUNCH | {"formats": ["native"]}
    corpora = {
        "original": {"embedded": "shakespeare", "tokens": 10**6},
        "additional": {"embedded": "three-kingdoms", "tokens": 10**6},
    }
    content = study_content(
        name=NAME, grid=GRID, search=search, launch=launch, corpora=corpora, replay={"table": str(table)}
    )
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    run = Run(folder / "runs" / NAME)
    with without_ray():
        _almr(folder, "run", "study.yaml")
        run.stage_code()
        _score(run)
        _log(run)
        for verb in ("fit", "report", "export"):
            _almr(folder, verb, NAME, *(["--accept-risk", "a test"] if verb == "export" else []))
        _confirm(folder, run.files)
    return run.folder


def _almr(folder: Path, *arguments: str) -> None:
    with chdir(folder):
        done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code in (0, 3), f"{arguments}: {done.output} {done.exception!r}"


def _score(run: Run) -> None:
    """Give the trials and the base model benchmark scores with the outcome of each question."""
    for number, files in enumerate(run.files.each_trial(), start=1):
        record = json.loads(files.record.read_text())
        answers = {task: _answers(number + k) for k, task in enumerate(TASKS)}
        record["scores"] = {task: _of(found) for task, found in answers.items()}
        files.record.write_text(json.dumps(record, indent=2))
        files.questions.write_text(json.dumps(answers))
    base, answers = run.files.base, {task: _answers(0) for task in TASKS}
    base.folder.mkdir()
    base.scores.write_text(json.dumps({task: _of(found) for task, found in answers.items()}))
    base.failures.write_text(json.dumps({"gsm8k": "its data are missing"}))
    base.questions.write_text(json.dumps(answers))


def _answers(model: int) -> list[float]:
    return [float((question * 7 + model * 3) % 10 < 4 + model % 3) for question in range(QUESTIONS)]


def _of(answers: list[float]) -> dict[str, Any]:
    share = sum(answers) / len(answers)
    return {"value": share, "stderr": (share * (1 - share) / len(answers)) ** 0.5, "n": len(answers), "metric": "acc"}


def _log(run: Run) -> None:
    """What a real trial leaves beside its record."""
    for files in run.files.each_trial():
        lines = [
            {"step": s, "tokens": 256 * s, "loss": 5 - s / 9, "lr": 1e-3, "seconds": float(s)} for s in range(1, 9)
        ]
        files.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        files.log().write_text("trained\n")
        files.heartbeat.touch()
    next(run.files.each_trial()).saved_model_note.write_text('{"objective": 4.2}')
    run.files.parity.write_text('{"schema_version": 1, "results": {}}')


def _confirm(folder: Path, files: RunFiles) -> None:
    head, *rows = (files.launch / "confirm" / "results-template.csv").read_text().splitlines()
    assert head == "lr,seed,status,loss_original,loss_additional"
    done = [f"{row.split(',')[0]},0,complete,{3 + 0.1 * k},4.0" for k, row in enumerate(rows)]
    (folder / RESULTS).write_text("\n".join([head, *done]) + "\n")
    _almr(folder, "confirm", NAME, "--results", RESULTS, "--accept-risk", "a test")
