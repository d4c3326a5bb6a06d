"""`record.json` of a scored model: which model it is, how it was asked, and its scores. Beside it: `questions.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from analysis.scores.read import QUESTIONS, QuestionAnswers, parsed
from sweep.study import InputError, Score
from sweep.study.fields import Schema
from sweep.study.files import reader
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RECORD, ScoreFiles
from sweep.study.numbers import json_text
from sweep.study.study import fingerprint_of

VERSION = 1
REMEDY = "delete its folder, and the next almr scores asks this model again"
Questions = dict[str, list[float | None]]


class ModelIdentity(Schema):
    """The content of a model: `files` is the sha256 of its configuration, tokenizer and weights by name, `sha256` that
    of all of them. `named`: the folder or id that the user gave; `commit`: of a model from the hub.
    """

    named: str
    sha256: str
    files: dict[str, str]
    commit: str | None = None


class TaskScore(Schema):
    """A model's score on one task.

    `key` is the hash of the task's file and data and of how it was asked: a score of another key counts as none.
    `model`: the content that was asked, as of `ModelIdentity`, to which the chat template belongs; `template`: the
    sha256 of that alone, where it was used; `questions`: the hash of the score and of what `questions.json` has of it.
    `provenance`: the versions, the device, and what held the model's code.
    """

    key: str
    model: str
    score: Score
    questions: str
    template: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    seconds: float | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


class ModelRecord(Schema):
    """`tasks` by name; `failures`: why a task has no score, each tried again by the next call."""

    schema_version: int = VERSION
    label: str
    identity: ModelIdentity
    tasks: dict[str, TaskScore] = Field(default_factory=dict)
    failures: dict[str, str] = Field(default_factory=dict)

    def answers(self, task: str, key: str, questions: Questions) -> QuestionAnswers | None:
        """The task's score with its questions; None where it has none of this model's content, asked in this way, and
        where score and questions do not belong together. A score whose questions are lost stands without them.
        """
        found, own = self.tasks.get(task), questions.get(task)
        if found is None or (found.key, found.model) != (key, self.identity.sha256):
            return None
        if own is None:
            return QuestionAnswers(found.score, None)
        return (
            QuestionAnswers(found.score, np.array(own, float)) if digest(found.score, own) == found.questions else None
        )

    def needs(self, task: str, key: str, questions: Questions) -> bool:
        """Whether the task has to be asked, or asked again since its questions are lost."""
        found = self.answers(task, key, questions)
        return found is None or found.questions is None


def digest(score: Score, questions: list[float | None]) -> str:
    return fingerprint_of([score.value, score.stderr, score.n, questions])


def read(folder: Path) -> tuple[ModelRecord, Questions] | None:
    """The record in a model's folder and its questions; None where there is none. Raises InputError for a damaged file,
    naming it and what to do.
    """
    path, questions = folder / RECORD, ScoreFiles(folder).questions
    try:
        record = reader.read(path, ModelRecord, "record of a model's scores", VERSION, REMEDY)
    except FileNotFoundError:
        return None
    try:
        return record, parsed(questions, QUESTIONS) if questions.is_file() else {}
    except InputError:  # its tasks are asked again
        return record, {}


def write(folder: Path, record: ModelRecord, questions: Questions) -> None:
    """The record comes last: what it says of a question is then there."""
    write_atomically(ScoreFiles(folder).questions, json_text(questions))
    write_atomically(folder / RECORD, record.model_dump_json(indent=2))
