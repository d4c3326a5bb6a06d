"""One trial in a worker process: run it, keep its log, write its record. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from sweep.store.at_worker import at_worker
from sweep.store.run import Run
from sweep.study.record import Record
from sweep.study.study import Study
from sweep.study.trial import Status, Trial
from sweep.worker import hang


def work(address: str, trial: Trial) -> Record:
    """Run a trial of the run's study to its record, which is written last. What it raises is in its `train.log` too.

    A trial that hangs takes the process with it.
    """
    with at_worker(address, trial) as run:
        return _work(run, trial)


def _work(run: Run, trial: Trial) -> Record:
    study = run.study()
    attempt = run.start(trial, study)
    with _logged(run.log(trial), attempt), _watched(run, study, trial):
        record = carry_out(run, study, trial, attempt)
    assert record, "a trial of one worker has its record"
    return record


def carry_out(run: Run, study: Study, trial: Trial, attempt: int) -> Record | None:
    """The trial itself, on every rank of a gang; rank 0 keeps the record, and the others return None."""
    record = _until_it_fits(lambda: _outcome(run, study, trial, attempt))
    if record is None:
        return None
    run.keep_base_scores(record)
    more = {"provenance": record.provenance | {"code_sha256": run.code_sha256()}}
    record = record.model_copy(update=more | {"proposed": run.proposed(trial)})
    run.finish(record)
    return record


def _until_it_fits(outcome: Callable[[], Record | None]) -> Record | None:
    """A worker alone that ran out of memory begins anew with the micro-batch that it noted; a gang is started again."""
    from trainers.loop.out_of_memory import Halved, forget

    while True:
        try:
            return outcome()
        except Halved:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise
        forget()  # out of the handler, whose traceback holds the model


def _outcome(run: Run, study: Study, trial: Trial, attempt: int) -> Record | None:
    return _score(run, study, trial) if _finished(run, study, trial) else _train(run, study, trial, attempt)


def _finished(run: Run, study: Study, trial: Trial) -> bool:
    """A finished trial that comes again is a finalist, to be scored."""
    done = run.record(trial)
    return done is not None and done.status is Status.COMPLETE and bool(study.benchmarks) and not study.replay


def _score(run: Run, study: Study, trial: Trial) -> Record | None:
    from trainers import finalist

    done, ingredients = run.record(trial), run.ingredients()
    assert done, "a finalist has its record"
    assert ingredients, "a finished trial had its ingredients"
    return finalist.score(study, done, ingredients, run.trial_folder(trial))


def _train(run: Run, study: Study, trial: Trial, attempt: int) -> Record | None:
    if study.replay:
        from trainers import recorded

        return recorded.run_trial(study, trial, attempt) if os.environ.get("RANK", "0") == "0" else None
    from trainers import cpt

    ingredients = run.ingredients()
    assert ingredients, "a trial is started after its ingredients are kept"
    return cpt.run_trial(study, trial, ingredients, run.trial_folder(trial), attempt)


def _watched(run: Run, study: Study, trial: Trial) -> contextlib.AbstractContextManager[None]:
    if study.replay:
        return contextlib.nullcontext()  # it waits as long as the measured trial took, without a sign
    return hang.killed_when_silent(run.trial_folder(trial), study.resources.hang_minutes, run.log(trial))


@contextlib.contextmanager
def _logged(path: Path, attempt: int) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as log:
        handler = log_handler(log)
        log.write(f"--- attempt {attempt}\n")
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except BaseException:
            log.write(traceback.format_exc())
            raise
        finally:
            logging.getLogger().removeHandler(handler)


def log_handler(stream: TextIO) -> logging.Handler:
    """What is logged goes to the stream, until the handler is taken off the root logger."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    return handler
