"""Scoring a trial that has run: its kept model, or, where none was kept, the same model trained again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweep.study.fields import LANGUAGES
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TrialFiles
from sweep.study.ingredients import Ingredients
from sweep.study.record import SCORING, Record
from sweep.study.sections.corpora import BaseModelSource
from sweep.study.sections.resources import Tracking
from sweep.study.study import Study
from trainers.benchmarks import outcome
from trainers.benchmarks.scoring import Scoring
from trainers.data.corpus import open_packed
from trainers.loop import out_of_memory as memory
from trainers.model.model import load_model
from trainers.workers.device import open_device
from trainers.workers.group import WorkerGroup

SAME_LOSS = 1e-3  # nats: a model trained again on other hardware differs by rounding


class AnotherModelError(ValueError):
    """A trial that was trained again came to another model."""


def score(study: Study, record: Record, ingredients: Ingredients, folder: Path) -> Record | None:
    """The trial's record with its scores; all else in it stays. `folder/model` is the kept model, which a gang's
    first rank scores alone: the others return None.
    """
    assert study.benchmarks
    now = study.model_copy(update={"benchmarks": study.benchmarks.model_copy(update={"when": "all"})})
    kept = TrialFiles(folder).model.is_dir()
    try:
        if kept:
            found = _kept(now, ingredients, folder) if outcome.first_rank() else {}
        else:
            found = _trained_again(now, record, ingredients, folder)
    except memory.Halved:  # its gang starts again with less
        raise
    except Exception as error:  # whatever goes wrong, what was trained stays
        if not kept and study.resources.worker_group and not isinstance(error, AnotherModelError):
            raise  # the other ranks wait for this one: whoever started the gang ends them, and keeps the record
        found = {"score_failures": {SCORING: outcome.one_line(error)}}
    if not outcome.first_rank():
        return None
    return record.model_copy(update=found | {"provenance": record.provenance | found.get("provenance", {})})


def _kept(study: Study, ingredients: Ingredients, folder: Path) -> dict[str, Any]:
    alone = WorkerGroup(0, 1, open_device(study.resources))
    corpora = {language: open_packed(Path(ingredients.folders[language])) for language in LANGUAGES}
    scoring = Scoring(study, ingredients, corpora, folder)
    base = load_model(study, ingredients.base_model, alone)
    scoring.base(base)
    del base  # before the next one is loaded
    kept = BaseModelSource(
        pretrained=str(TrialFiles(folder).model), trust_remote_code=study.base_model.trust_remote_code
    )
    model = load_model(study.model_copy(update={"base_model": kept}), str(TrialFiles(folder).model), alone)
    return scoring.trial(model, diverged=False) | {"provenance": scoring.provenance}


def _trained_again(study: Study, record: Record, ingredients: Ingredients, folder: Path) -> dict[str, Any]:
    """A trial is deterministic: its model is had again for the trial's price. Raises ValueError where it is not."""
    from trainers import cpt

    once = study.model_copy(update={"keep": "none", "tracking": Tracking(tensorboard=False)})  # both have its first run
    with _beside(folder) as scratch:
        again = cpt.run_trial(once, record.trial, ingredients, scratch, record.attempt)
        if again is None:
            return {}
        for language in LANGUAGES:
            one, other = getattr(again.loss, language), getattr(record.loss, language)
            if one is None or other is None or abs(one - other) > SAME_LOSS:
                raise AnotherModelError(
                    f"trained again, its {language} loss is {one}, not {other}: state keep: best or all"
                )
        if (made := TrialFiles(scratch).questions).exists():
            write_atomically(TrialFiles(folder).questions, made.read_bytes())
    provenance = {key: again.provenance[key] for key in ("base_scores", "scoring_seconds", "questions")}
    return {"scores": again.scores, "score_failures": again.score_failures, "provenance": provenance}


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder beside the trial's, the same for all ranks of a gang, with the heartbeat that is watched. Beside, since
    there lies the note of how much fits into memory. It outlasts a kill: its checkpoint is gone on from.
    """
    scratch = folder.with_name(f".again-{folder.name}")
    if outcome.first_rank():
        scratch.mkdir(exist_ok=True)
        if not (beat := TrialFiles(scratch).heartbeat).is_symlink():
            beat.symlink_to(TrialFiles(folder).heartbeat)
    try:
        yield scratch
    finally:
        if outcome.first_rank():
            shutil.rmtree(scratch, ignore_errors=True)
