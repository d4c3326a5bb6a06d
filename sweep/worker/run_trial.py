"""Runs one trial in a worker process: its storage, log and record. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from sweep.store import temporary
from sweep.store.remote import is_remote
from sweep.store.run import Run
from sweep.store.store_errors import RUNNING_SECONDS
from sweep.study import Record, Status, Study, Trial
from sweep.study.errors import without_secrets
from sweep.study.files.layout import RECORD, TRIALS
from sweep.worker.finite_losses import with_finite_losses
from sweep.worker.watch import watched
from sweep.worker.watch.ending import ATTEMPT
from trainers.loop.out_of_memory import micro_batch_file

PUSH_SECONDS = 30.0  # between pushes of a running trial's files


def work(address: str, trial: Trial, had: str | None = None) -> Record:
    """Run a trial of the run's study and write its record last. Exceptions are written to its `train.log` too.

    A trial that hangs ends with this whole process, which is watched from outside. `had`: as of `standing`.
    """
    with at_worker(address, trial) as run:
        return standing(run, trial, had) or _work(run, trial)


def standing(run: Run, trial: Trial, had: str | None = None) -> Record | None:
    """The result of an attempt whose process ended after it had written it, and before Tune knew: it stands.

    `had`: the sha256 of the record that the trial had before its first attempt, which then is to score it.
    """
    study, done = run.study(), run.record(trial)
    stands = done and done.status is not Status.FAILED and done.fingerprint == study.fingerprint
    to_score = is_finalist(run, study, trial) and run.record_sha256(trial) == had
    return done if stands and not to_score else None


def _work(run: Run, trial: Trial) -> Record:
    study = run.study()
    attempt = run.start(trial, study)
    # A replay waits as long as the measured trial took, without heartbeats: its process alone is watched.
    heartbeat = None if study.replay else run.files.trial(trial.id).heartbeat
    with _logged(run.log(trial), attempt), watching(run, trial, heartbeat):
        record = carry_out(run, study, trial, attempt)
    assert record, "a single worker returns a record"
    return record


def carry_out(run: Run, study: Study, trial: Trial, attempt: int) -> Record | None:
    """Run the trial on this rank. Rank 0 writes the record and returns it; the other ranks return None."""
    record = _retry_out_of_memory(lambda: _train_or_score(run, study, trial, attempt))
    if record is None:
        return None
    record = with_finite_losses(record)
    run.keep_base_scores(record)
    code = record.provenance.get("code_sha256") or run.code_sha256()  # of a finalist: of the code that trained it
    more = {"provenance": record.provenance | {"code_sha256": code}}
    record = record.model_copy(update=more | {"proposed": run.proposed(trial)})
    run.finish(record)
    return record


def _retry_out_of_memory(attempt: Callable[[], Record | None]) -> Record | None:
    """Start a single worker's trial again, with the smaller micro-batch that it stored. Raises MicroBatchHalvedError in
    a worker group, whose processes have to be started again.
    """
    from trainers.loop.out_of_memory import MicroBatchHalvedError, free_memory

    while True:
        try:
            return attempt()
        except MicroBatchHalvedError:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise
        free_memory()  # outside the handler: its traceback refers to the model


def _train_or_score(run: Run, study: Study, trial: Trial, attempt: int) -> Record | None:
    return _score(run, study, trial) if is_finalist(run, study, trial) else _train(run, study, trial, attempt)


def is_finalist(run: Run, study: Study, trial: Trial) -> bool:
    """Whether the trial has finished, and was requested again to be scored."""
    done = run.record(trial)
    return done is not None and done.status is Status.COMPLETE and bool(study.benchmarks) and not study.replay


def _score(run: Run, study: Study, trial: Trial) -> Record | None:
    from trainers.trials import finalist

    done, ingredients = run.record(trial), run.ingredients()
    assert done, "a finalist has its record"
    assert ingredients, "a finished trial has its ingredients"
    return finalist.score(study, done, ingredients, run.trial_folder(trial))


def _train(run: Run, study: Study, trial: Trial, attempt: int) -> Record | None:
    if study.replay:
        from trainers.trials import recorded

        return recorded.run_trial(study, trial, attempt) if os.environ.get("RANK", "0") == "0" else None
    from trainers.trials import of_stage

    ingredients = run.ingredients()
    assert ingredients, "ingredients are written before a trial starts"
    return of_stage.run_trial(study, trial, ingredients, run.trial_folder(trial), attempt)


def watching(run: Run, trial: Trial, heartbeat: Path | None = None) -> contextlib.AbstractContextManager[None]:
    """Tell what watches this process that it works on the trial, and how the driver comes to read its log."""
    push = [sys.executable, "-m", "sweep.worker.push_log", run.address, str(run.folder), trial.id]
    return watched.trial(run.log(trial), heartbeat, push if run.mirror else None)


def begin_log(path: Path, attempt: int) -> None:
    """What stands below in the log of a trial is of this attempt."""
    with path.open("a", encoding="utf-8") as log:
        log.write(f"{ATTEMPT}{attempt}\n")


@contextlib.contextmanager
def _logged(path: Path, attempt: int) -> Iterator[None]:
    begin_log(path, attempt)
    with path.open("a", encoding="utf-8", errors="backslashreplace") as log:  # half a letter, of a file's name
        handler = log_handler(log)
        faulthandler.enable(log)  # a crash in native code leaves its stack, and a line that names the signal
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except BaseException:
            log.write(without_secrets(traceback.format_exc()))
            raise
        finally:
            faulthandler.enable(sys.__stderr__ or 2)
            logging.getLogger().removeHandler(handler)


def log_handler(stream: TextIO) -> logging.Handler:
    """A new handler of the root logger that writes to the stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    return handler


@contextlib.contextmanager
def at_worker(address: str, trial: Trial) -> Iterator[Run]:
    """The run for the worker of a trial. On an object store: a mirror of its own, pushed regularly and at the end."""
    if not is_remote(address):
        yield Run(address)
        return
    with temporary.folder("trial") as scratch, watched.scratch(str(scratch)):
        run = Run(address, scratch / "run")
        mirror, own, files = run.mirror, f"{TRIALS}/{trial.id}/", run.files.trial(trial.id)
        assert mirror
        files.folder.mkdir(parents=True, exist_ok=True)
        mirror.patience, mirror.waiting = RUNNING_SECONDS, files.heartbeat.touch
        needed = (run.files.study, run.files.ingredients, run.files.provenance, run.files.tracking)
        mirror.fetch(*map(run.files.name, needed))
        mirror.pull(own)
        note = f"{TRIALS}/{micro_batch_file(run.study())}"
        mirror.fetch(note, *map(run.files.name, (files.request, files.record)))  # that store may list them late

        def wanted(name: str) -> bool:
            return name == note or (name.startswith(own) and not name.endswith(f"/{RECORD}"))

        with mirror.pushing(PUSH_SECONDS, wanted):
            yield run
