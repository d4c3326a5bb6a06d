"""A run that goes on, written without training: some trials ended, one runs, and a driver that is this process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import bowl_run

from sweep.store.owner import Owner
from sweep.store.run import Run
from sweep.study import Study, Trial
from sweep.study.study_file import dump

GRID = {"almr": [0.1, 0.3, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}
STEPS = 8


def study(**changes) -> Study:
    return bowl_run.study(grid=GRID, **changes)


def begin(folder: Path, of: Study) -> Run:
    """A run of which no trial has begun."""
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(dump(of))
    run = Run(folder)
    run.files.lock.write_text(Owner.here().model_dump_json())
    return run


def end(run: Run, of: Study, trials: Iterable[Trial], seconds: float = 10.0, **changes) -> None:
    """Give trials a record, in a bowl around ALMR 0.5 and LR 3e-3."""
    for trial in trials:
        loss = 3.0 + (trial.almr - 0.5) ** 2 + 0.1 * [1e-3, 3e-3, 1e-2].index(trial.lr) % 2
        record = bowl_run.record(of, trial, loss).model_copy(update={"seconds": seconds} | changes)
        run.trial_folder(trial).mkdir(parents=True, exist_ok=True)
        run.files.trial(trial.id).record.write_text(record.model_dump_json())


def start(run: Run, of: Study, trial: Trial, step: int = 4, each: float = 2.0) -> None:
    """A trial that has logged `step` steps of `each` seconds."""
    run.start(trial, of)
    lines = [{"step": s, "tokens": 256 * s, "loss": 6.0 - 0.1 * s, "seconds": each * s} for s in range(1, step + 1)]
    run.files.trial(trial.id).metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.files.trial(trial.id).heartbeat.touch()
