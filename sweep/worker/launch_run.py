"""The launch with our own trainer: the one trial of a study of one trial, on every worker that torchrun starts.

    torchrun ... -m sweep.worker.launch_run STUDY FOLDER

FOLDER becomes a run directory. The first worker prepares corpora and base model there, the others wait for them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from sweep.store.run import Run
from sweep.study import study_file
from sweep.study.errors import InputError
from sweep.study.study import Study
from sweep.study.trial import Status, Trial
from sweep.worker import run_trial as worker
from trainers.loop.out_of_memory import MicroBatchHalvedError

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 86_400.0  # to tokenise the corpora of a large run


def main() -> None:
    run, first = Run(Path(sys.argv[2])), os.environ.get("RANK", "0") == "0"
    try:
        study = study_file.load(sys.argv[1])
        trial = only_trial(study)
        if first:
            prepare(run, study)
        wait(run, study)
        if finished(run, trial):
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
    points = study.grid.points
    if len(points) != 1:
        raise InputError(f"study {study.name}: a launch is one trial, its grid has {len(points)}: use almr run")
    almr, lr, seed = points[0]
    return Trial(almr=almr, lr=lr, seed=seed)


def prepare(run: Run, study: Study) -> None:
    from trainers import prepare as trainers_prepare

    run.folder.mkdir(parents=True, exist_ok=True)
    run.keep_ingredients(trainers_prepare.prepare(study, earlier=run.ingredients()))
    run.freeze(study)


def wait(run: Run, study: Study) -> None:
    """Until the first worker has prepared this very study. Raises InputError after a day."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (run.files.study.exists() and run.ingredients() and run.study().fingerprint == study.fingerprint):
        if time.monotonic() > until:
            raise InputError(f"{run.folder}: the first worker has not prepared the corpora in a day: see its log")
        time.sleep(POLL_SECONDS)


def finished(run: Run, trial: Trial) -> bool:
    record = run.record(trial)
    if record is None or record.status is Status.FAILED:
        return False
    print(f"almr: {run.trial_folder(trial)}: is {record.status.value} already")
    return True


if __name__ == "__main__":
    main()
