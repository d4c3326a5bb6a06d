"""Runs the launch with our own trainer: the only trial of its study, on every worker that torchrun starts.

    torchrun ... -m sweep.worker.launch_run STUDY FOLDER

FOLDER becomes a run directory. Rank 0 prepares corpora and base model there; the other ranks wait for them. At the end
it compares the held-out losses with the prediction beside STUDY, where there is one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from analysis.launch.plan import predicted_losses
from sweep.store import places
from sweep.store.run import Run
from sweep.study import InputError, Record, Status, Study, Trial, numbers, study_file
from sweep.worker import branched
from sweep.worker import run_trial as worker
from trainers.loop.out_of_memory import MicroBatchHalvedError

POLL_SECONDS = 1.0
SAY_SECONDS = 20.0  # between lines of progress
PREPARATION_HOURS = 24  # tokenising the corpora of a large run takes many hours


def main() -> None:
    path, run, first = Path(sys.argv[1]), Run(Path(sys.argv[2])), os.environ.get("RANK", "0") == "0"
    try:
        study = study_file.load(path)
        trial = only_trial(study)
        if first:
            prepare(run, study)
        wait_until_prepared(run, study)
        study = places.as_before(study, run.study())
        if first and (step := branched.take_over(run, study, trial, path.parent)):
            _say(f"branch: goes on from the checkpoint of step {step:,} with peak LR {numbers.lr(trial.lr)}")
        record = finished(run, trial)
        if record is None:
            attempt = run.start(trial, study) if first else 1
            with _progress(run, study, trial) if first else contextlib.nullcontext():
                record = worker.carry_out(run, study, trial, attempt)
        if record and first:
            sys.exit(conclude(run, record, path.parent))
    except (InputError, MicroBatchHalvedError) as error:
        sys.exit(f"almr: {error}")


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
    run.keep_ingredients(trainers_prepare.prepare(study, _PreparationLines().show, run.ingredients()))
    run.freeze(places.as_before(study, run.study()) if run.files.study.exists() else study)


class _PreparationLines:
    """Prints each phase of the preparation once, and the share of it that is done from time to time."""

    def __init__(self) -> None:
        self.phase, self.printed = "", 0.0

    def show(self, phase: str, share: float | None) -> None:
        now = time.monotonic()
        if phase != self.phase:
            _say(phase)
        elif share is not None and now - self.printed >= SAY_SECONDS:
            _say(f"{phase}: {numbers.percent(share)}")
        else:
            return
        self.phase, self.printed = phase, now


def wait_until_prepared(run: Run, study: Study) -> None:
    """Wait until rank 0 has prepared this study. Raises InputError after `PREPARATION_HOURS`.

    Says after `SAY_SECONDS` which folder is not here, since rank 0 may have made it in a cache of its own node.
    """
    began, told = time.monotonic(), False
    while not _is_prepared(run, study):
        waited = time.monotonic() - began
        if waited > PREPARATION_HOURS * 3600:
            raise InputError(
                f"{run.folder}: rank 0 has not prepared the corpora within {PREPARATION_HOURS} hours: read its log"
            )
        if not told and waited > SAY_SECONDS and (lost := _lost(run)):
            _say(f"waiting for {lost[0]}: if rank 0 has it already, ALMR_CACHE is no folder that all nodes see")
            told = True
        time.sleep(POLL_SECONDS)


def _is_prepared(run: Run, study: Study) -> bool:
    if not run.files.study.exists() or run.ingredients() is None or _lost(run):
        return False
    before = run.study()
    return before.fingerprint == places.as_before(study, before).fingerprint


def _lost(run: Run) -> list[str]:
    """Folders that an earlier start made, and that are not here: rank 0 makes them anew where the cache was lost."""
    made = run.ingredients()
    return [folder for folder in (made.base_model, *made.folders.values()) if not Path(folder).is_dir()] if made else []


def finished(run: Run, trial: Trial) -> Record | None:
    """The record of a launch that was run before; None where there is none, or it failed."""
    record = run.record(trial)
    return None if record is None or record.status is Status.FAILED else record


@contextlib.contextmanager
def _progress(run: Run, study: Study, trial: Trial) -> Iterator[None]:
    """Print the step and the training loss from time to time."""
    done = threading.Event()
    metrics = run.files.trial(trial.id).metrics

    def follow() -> None:
        told = 0
        while not done.wait(SAY_SECONDS):
            with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
                steps = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
                last = [step for step in steps if "loss" in step][-1]
                if last["step"] > told:
                    _say(f"step {last['step']:,} of {study.training.steps:,}, loss {numbers.number(last['loss'])}")
                told = last["step"]

    _say(f"training: {study.training.steps:,} steps; log: {metrics}")
    threading.Thread(target=follow, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def conclude(run: Run, record: Record, folder: Path) -> int:
    """Print the outcome, and the losses beside their prediction; returns the exit status."""
    reason = f": {record.reason}" if record.reason else ""
    print(f"almr: the launch is {record.status.value}{reason}; record: {run.trial_folder(record.trial)}")
    if record.status is not Status.COMPLETE:
        return 1
    predicted = predicted_losses.read(folder)
    if predicted:
        print("\n".join(predicted.compared(record.base_loss.model_dump(), record.loss.model_dump())))
    return 0


def _say(line: str) -> None:
    print(f"almr: {line}", flush=True)


if __name__ == "__main__":
    main()
