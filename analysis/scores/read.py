"""A run's benchmark scores and the score of each question, read from the run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic

from analysis.surfaces.kernels import Array
from analysis.table import table as tables
from sweep.study import InputError, Score
from sweep.study.files import reader
from sweep.study.files.layout import RunFiles, ScoreFiles, TrialFiles
from sweep.study.files.trial_files import read_trial

SCORES = pydantic.TypeAdapter(dict[str, Score])
FAILURES = pydantic.TypeAdapter(dict[str, str])
QUESTIONS = pydantic.TypeAdapter(dict[str, list[float | None]])
REMEDY = "delete it, and run the study again"


@dataclass(frozen=True)
class QuestionAnswers:
    """One model's score on one task. `questions` (n,): the score of each question, NaN without an answer; None where
    they were not kept."""

    score: Score
    questions: Array | None = None


@dataclass(frozen=True)
class ScoredModel:
    """A model's answers by task; `failures` says why a task has no score."""

    answers: dict[str, QuestionAnswers]
    failures: dict[str, str]


@dataclass(frozen=True)
class ScoredPoint:
    """A trial's place in the grid."""

    trial_id: str
    almr: float
    lr: float
    seed: int


@dataclass(frozen=True)
class Scored:
    """The base model, and the usable trials that have a score, in the table's order."""

    base: ScoredModel
    points: list[ScoredPoint]
    trials: list[ScoredModel]

    @property
    def models(self) -> list[ScoredModel]:
        return [self.base, *self.trials]


def read(run: Path, table: pd.DataFrame) -> Scored | None:
    """Read the scores of the table's usable trials. None, without reading a file, where nothing was scored.

    Raises InputError for an invalid file.
    """
    files = RunFiles(run)
    if not files.base.scores.is_file() and not any(str(name).startswith("score_") for name in table):
        return None
    points = [_point(row) for row in tables.usable(table).to_dict("records")]
    each = [(point, _trial(files.trial(point.trial_id))) for point in points]
    scored = [(point, model) for point, model in each if model.answers or model.failures]
    return Scored(_base(files.base), [point for point, _ in scored], [model for _, model in scored])


def _point(row: dict[Any, Any]) -> ScoredPoint:
    seed = 0 if pd.isna(row["seed"]) else int(row["seed"])
    return ScoredPoint(trial_id=str(row["trial_id"]), almr=float(row["almr"]), lr=float(row["lr"]), seed=seed)


def _base(files: ScoreFiles) -> ScoredModel:
    why = parsed(files.failures, FAILURES) if files.failures.is_file() else {}
    return _model(parsed(files.scores, SCORES) if files.scores.is_file() else {}, why, files)


def _trial(files: TrialFiles) -> ScoredModel:
    record = read_trial(files.record)
    return _model(record.scores, record.score_failures, files)


def _model(scores: dict[str, Score], failures: dict[str, str], files: ScoreFiles) -> ScoredModel:
    questions = parsed(files.questions, QUESTIONS) if scores and files.questions.is_file() else {}
    answers = {
        task: QuestionAnswers(score, np.array(questions[task], float) if task in questions else None)
        for task, score in scores.items()
        if np.isfinite(score.value)
    }
    lost = {task: "its score is not a number" for task in scores if task not in answers}
    return ScoredModel(answers, failures | lost)


def parsed(path: Path, kind: pydantic.TypeAdapter[Any]) -> Any:
    """The content of a file of scores. Raises InputError naming file, field and fix."""
    try:
        return kind.validate_python(reader.parse(path, "file of scores", REMEDY))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}; {REMEDY}") from None
