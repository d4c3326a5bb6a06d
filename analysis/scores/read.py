"""A run's benchmark scores, and what each model answered to each question, as the trials left them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic

from analysis.surfaces.kernels import Array
from analysis.table import table as tables
from sweep.study.errors import InputError
from sweep.study.files.layout import RunFiles, ScoreFiles, TrialFiles
from sweep.study.record import Score, read_record

SCORES = pydantic.TypeAdapter(dict[str, Score])
FAILURES = pydantic.TypeAdapter(dict[str, str])
QUESTIONS = pydantic.TypeAdapter(dict[str, list[float | None]])
REMEDY = "delete it and score again"


@dataclass(frozen=True)
class QuestionAnswers:
    """One model's score on one task. `questions` (n,) is what each question counted; NaN where it has no answer, None
    where the questions were not kept."""

    score: Score
    questions: Array | None = None


@dataclass(frozen=True)
class ScoredModel:
    """A scored model by task; `failures` says why a task has no score."""

    answers: dict[str, QuestionAnswers]
    failures: dict[str, str]


@dataclass(frozen=True)
class ScoredPoint:
    """Where a trial is."""

    trial_id: str
    almr: float
    lr: float
    seed: int


@dataclass(frozen=True)
class Scored:
    """The base model, and the usable trials that have a score, in the table's order."""

    base: ScoredModel
    places: list[ScoredPoint]
    trials: list[ScoredModel]

    @property
    def models(self) -> list[ScoredModel]:
        return [self.base, *self.trials]


def read(run: Path, table: pd.DataFrame) -> Scored | None:
    """None where neither a trial of the table nor the base model was scored: then no file is read.

    Raises InputError for a file that is not what it should be.
    """
    files = RunFiles(run)
    if not files.base.scores.is_file() and not any(str(name).startswith("score_") for name in table):
        return None
    places = [_place(row) for row in tables.usable(table).to_dict("records")]
    each = [(place, _trial(files.trial(place.trial_id))) for place in places]
    scored = [(place, model) for place, model in each if model.answers or model.failures]
    return Scored(_base(files.base), [place for place, _ in scored], [model for _, model in scored])


def _place(row: dict[Any, Any]) -> ScoredPoint:
    seed = 0 if pd.isna(row["seed"]) else int(row["seed"])
    return ScoredPoint(str(row["trial_id"]), float(row["almr"]), float(row["lr"]), seed)


def _base(files: ScoreFiles) -> ScoredModel:
    why = _parsed(files.failures, FAILURES) if files.failures.is_file() else {}
    return _model(_parsed(files.scores, SCORES) if files.scores.is_file() else {}, why, files)


def _trial(files: TrialFiles) -> ScoredModel:
    record = read_record(files.record)
    return _model(record.scores, record.score_failures, files)


def _model(scores: dict[str, Score], failures: dict[str, str], files: ScoreFiles) -> ScoredModel:
    questions = _parsed(files.questions, QUESTIONS) if scores and files.questions.is_file() else {}
    answers = {
        task: QuestionAnswers(score, np.array(questions[task], float) if task in questions else None)
        for task, score in scores.items()
        if np.isfinite(score.value)
    }
    lost = {task: "its score is not a number" for task in scores if task not in answers}
    return ScoredModel(answers, failures | lost)


def _parsed(path: Path, kind: pydantic.TypeAdapter[Any]) -> Any:
    try:
        return kind.validate_python(json.loads(path.read_bytes()))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}; {REMEDY}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable ({error}); {REMEDY}") from None
