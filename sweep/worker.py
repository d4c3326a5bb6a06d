"""One trial in a worker process: run it, keep its log, write its record. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

from sweep.store import Run
from sweep.study import Study
from sweep.trial import Record, Trial


def work(run_folder: str, trial: Trial) -> Record:
    """Run a trial of the run's study to its record, which is written last. What it raises is in its `train.log` too."""
    run = Run(Path(run_folder))
    study = run.study()
    attempt = run.start(trial, study)
    with _logged(run.trial_folder(trial) / "train.log", attempt):
        record = _train(run, study, trial, attempt)
    asked = run.asked(trial)
    more = {"provenance": record.provenance | {"code_sha256": run.code_sha256()}}
    record = record.model_copy(update=more | {"proposed": asked.proposed if asked else None})
    run.finish(record)
    return record


def _train(run: Run, study: Study, trial: Trial, attempt: int) -> Record:
    if study.replay:
        from trainers import recorded

        return recorded.run_trial(study, trial, attempt)
    from trainers import cpt

    ingredients = run.ingredients()
    assert ingredients, "a trial is started after its ingredients are kept"
    record = cpt.run_trial(study, trial, ingredients, run.trial_folder(trial), attempt)
    assert record, "only workers of a gang that are not its first have none"
    return record


@contextlib.contextmanager
def _logged(path: Path, attempt: int) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        log.write(f"--- attempt {attempt}\n")
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except BaseException:
            log.write(traceback.format_exc())
            raise
        finally:
            logging.getLogger().removeHandler(handler)
