"""`gains.json`: the table of several models' scores, each compared with the first and with the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from analysis.fit_file.scores import Change, Verdict
from sweep.study.fields import Schema
from sweep.study.files import reader

VERSION = 1
NAME = "gains.json"


class GainsModel(Schema):
    """A model of the table. `reference`: it is in no chain of gains. `sha256` of its content: None where it could not
    be read, and `why` says why.
    """

    label: str
    named: str
    reference: bool = False
    sha256: str | None = None
    commit: str | None = None
    template: str | None = None
    why: str | None = None


class ModelScore(Schema):
    """A model's score on a row, with the standard error of its questions where it is known."""

    value: float
    stderr: float | None = None
    n: int | None = None


class Gain(Schema):
    """The score of `model` minus that of `against`, or why there is none.

    `won` and `lost` count the questions on which the model is better and worse; `needed`: the questions that would
    decide a difference of this size, where these did not.
    """

    model: str
    against: str
    change: Change | None = None
    verdict: Verdict | None = None
    won: int | None = None
    lost: int | None = None
    needed: int | None = None
    why: str | None = None


class GainsRow(Schema):
    """One task, or the plain mean over the tasks of a group. A model without a score is absent from `scores`."""

    name: str
    kind: Literal["task", "group"]
    group: str
    tasks: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    metric: str | None = None
    higher_is_better: bool = True
    questions: int | None = None
    scores: dict[str, ModelScore] = Field(default_factory=dict)
    gains: tuple[Gain, ...] = ()


class GainsFile(Schema):
    """`comparisons`: how many verdicts Holm's correction is for. `failures`: by model, why a task has no score."""

    schema_version: int = VERSION
    level: float
    comparisons: int
    models: tuple[GainsModel, ...]
    rows: tuple[GainsRow, ...]
    failures: dict[str, dict[str, str]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def chain(self) -> list[str]:
        """The labels of the models that are compared, the first first."""
        return [model.label for model in self.models if not model.reference]


def read(folder: Path) -> GainsFile | None:
    """The table in a folder; None where there is none. Raises InputError for one that cannot be read."""
    try:
        return reader.read(folder / NAME, GainsFile, "table of gains", VERSION, "write it anew with almr scores")
    except FileNotFoundError:
        return None
