"""Runs the launch with our own trainer: the only trial of its study, on every worker that torchrun starts.

    torchrun ... -m sweep.worker.launch_run STUDY FOLDER

FOLDER becomes a run directory. Rank 0 prepares corpora and base model there; the other ranks wait for them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from sweep.store.run import Run
from sweep.study import InputError, Status, Study, Trial, study_file
from sweep.worker import run_trial as worker
from trainers.loop.out_of_memory import MicroBatchHalvedError

POLL_SECONDS = 1.0
PREPARATION_HOURS = 24  # tokenising the corpora of a large run takes many hours


def main() -> None:
    run, first = Run(Path(sys.argv[2])), os.environ.get("RANK", "0") == "0"
    try:
        study = study_file.load(sys.argv[1])
        trial = only_trial(study)
        if first:
            prepare(run, study)
        wait_until_prepared(run, study)
        if is_finished(run, trial):
            return
        attempt = run.start(trial, study) if first else 1
        record = worker.carry_out(run, study, trial, attempt)
    except (InputError, MicroBatchHalvedError) as error:
        sys.exit(f"almr: {error}")
    if record:
        print(record.model_dump_json(indent=2))
        sys.exit(0 if record.status is Status.COMPLETE else 1)


def only_trial(study: Study) -> Trial:
    """Raises InputError for a study of several trials."""
    trials = study.grid_trials
    if len(trials) != 1:
        raise InputError(
            f"study {study.name}: the grid has {len(trials)} trials, but a launch runs exactly one: use almr run"
        )
    return trials[0]


def prepare(run: Run, study: Study) -> None:
    from trainers import prepare as trainers_prepare

    run.folder.mkdir(parents=True, exist_ok=True)
    run.keep_ingredients(trainers_prepare.prepare(study, earlier=run.ingredients()))
    run.freeze(study)


def wait_until_prepared(run: Run, study: Study) -> None:
    """Wait until rank 0 has prepared this study. Raises InputError after `PREPARATION_HOURS`."""
    until = time.monotonic() + PREPARATION_HOURS * 3600
    while not (run.files.study.exists() and run.ingredients() and run.study().fingerprint == study.fingerprint):
        if time.monotonic() > until:
            raise InputError(
                f"{run.folder}: rank 0 has not prepared the corpora within {PREPARATION_HOURS} hours: read its log"
            )
        time.sleep(POLL_SECONDS)


def is_finished(run: Run, trial: Trial) -> bool:
    record = run.record(trial)
    if record is None or record.status is Status.FAILED:
        return False
    print(f"almr: nothing to run: {run.trial_folder(trial)} already has a record (status {record.status.value})")
    return True


if __name__ == "__main__":
    main()
