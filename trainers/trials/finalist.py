"""Scoring of a finished trial: its saved model or, where none was saved, the same model trained again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweep.study import Ingredients, Record, Study
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TrialFiles
from sweep.study.record import SCORING
from sweep.study.sections.resources import Tracking
from sweep.study.sections.text.corpora import BaseModelSource
from trainers.benchmarks import outcome
from trainers.benchmarks.scoring import Scoring
from trainers.data.corpus import open_corpora
from trainers.loop.out_of_memory import MicroBatchHalvedError
from trainers.model.loading import load_model
from trainers.workers.device import open_device
from trainers.workers.group import WorkerGroup
from trainers.workers.heartbeat import Heartbeat


class AnotherModelError(ValueError):
    """Training a trial again gave another model."""


def score(study: Study, record: Record, ingredients: Ingredients, folder: Path) -> Record | None:
    """The trial's record with its scores; all else in it stays.

    A saved model (`folder/model`) is scored by the first of several workers alone. The others return None.
    """
    assert study.benchmarks
    now = study.model_copy(update={"benchmarks": study.benchmarks.model_copy(update={"when": "all"})})
    saved = TrialFiles(folder).model.is_dir()
    try:
        if saved:
            found = _score_saved_model(now, ingredients, folder) if outcome.first_rank() else {}
        else:
            found = _train_again(now, record, ingredients, folder)
    except MicroBatchHalvedError:  # the trial starts again with the smaller micro-batch
        raise
    except Exception as error:  # whatever goes wrong in scoring, the record stays
        if not saved and study.resources.worker_group and not isinstance(error, AnotherModelError):
            raise  # the other workers wait for this one: the process that started them ends them, the record stays
        found = {"score_failures": {SCORING: outcome.one_line(error)}}
    if not outcome.first_rank():
        return None
    return record.model_copy(update=found | {"provenance": record.provenance | found.get("provenance", {})})


def _score_saved_model(study: Study, ingredients: Ingredients, folder: Path) -> dict[str, Any]:
    alone = WorkerGroup(0, 1, open_device(study.resources), heartbeat=Heartbeat(folder).signal)
    scoring = Scoring(study, ingredients, open_corpora(ingredients), folder, alone)
    base = load_model(study, ingredients.base_model, alone)
    scoring.base(base)
    del base  # before the next one is loaded
    path = str(TrialFiles(folder).model)
    source = BaseModelSource(pretrained=path, trust_remote_code=study.base_model.trust_remote_code)
    model = load_model(study.model_copy(update={"base_model": source}), path, alone)
    return scoring.trial(model, diverged=False) | {"provenance": scoring.provenance}


def _train_again(study: Study, record: Record, ingredients: Ingredients, folder: Path) -> dict[str, Any]:
    """Train the trial again, which is deterministic, for its scores. Raises AnotherModelError where losses differ."""
    from trainers.trials import of_stage

    once = study.model_copy(update={"keep": "none", "tracking": Tracking(tensorboard=False)})  # as in its first run
    with _scratch_folder(folder) as scratch:
        again = of_stage.run_trial(once, record.trial, ingredients, scratch, record.attempt)
        if again is None:
            return {}
        if fault := record.another_model(again, study.language_name):
            raise AnotherModelError(fault)
        if (questions := TrialFiles(scratch).questions).exists():
            write_atomically(TrialFiles(folder).questions, questions.read_bytes())
    kept = ("base_scores", "scoring_seconds", "questions", "sandbox")
    provenance = {key: again.provenance[key] for key in kept if key in again.provenance}
    return {"scores": again.scores, "score_failures": again.score_failures, "provenance": provenance}


@contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder beside the trial's, where the stored micro-batch is found; the same for all workers. Its heartbeat is
    the trial's. A process that is killed leaves it, so that the next one resumes from its checkpoint.
    """
    scratch = TrialFiles(folder).again
    if outcome.first_rank():
        scratch.mkdir(exist_ok=True)
        if not (heartbeat := TrialFiles(scratch).heartbeat).is_symlink():
            heartbeat.symlink_to(TrialFiles(folder).heartbeat)
    try:
        yield scratch
    finally:
        if outcome.first_rank():
            shutil.rmtree(scratch, ignore_errors=True)
