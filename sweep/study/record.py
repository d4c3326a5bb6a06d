"""The record of a trial, `record.json`, and its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic

from sweep.study.fields import Schema
from sweep.study.files import reader
from sweep.study.trial import Proposed, Status, Trial, TrialRequest

SCHEMA_VERSION = 1
SCORING = "scoring"  # the key of `score_failures` for a failure of all tasks


class PerLanguage(Schema):
    """A number for each language; None where it was not measured, never zero."""

    original: float | None = None
    additional: float | None = None


class Score(Schema):
    """One benchmark score with its standard error over n questions.

    `version` and `prompt_sha256` are those of the task: only scores with equal ones can be compared. `group` is the
    task group of the score, `language` the language of the task, `metric` the name of the value, such as acc.
    """

    value: float
    stderr: float | None = None
    n: int | None = None
    higher_is_better: bool = True
    version: str | None = None
    prompt_sha256: str | None = None
    group: str | None = None
    language: Literal["original", "additional"] | None = None
    metric: str | None = None


class Horizon(Schema):
    """The result at a shorter token budget: a branch off the trial's main run, with its own decay.

    `tokens` is the budget in the study, `steps` the same in whole batches. A branch that diverged has a `reason` and
    no loss.
    """

    tokens: int
    steps: int
    reason: str | None = None
    loss: PerLanguage = PerLanguage()
    bits_per_byte: PerLanguage = PerLanguage()


class Record(Schema):
    """The outcome of a trial, `record.json`: written last and atomically, the only definition of done.

    Losses are nats per token on the held-out text. `almr` is the requested ratio, `almr_achieved` the ratio of the
    training tokens. `epochs` is the number of passes over each corpus. `seconds` is the time of the whole trial,
    `training_seconds` that of its optimizer steps. `tokens` and `steps` are those of the main run; `trained_tokens`
    includes the branches to shorter `horizons`.
    """

    schema_version: int = SCHEMA_VERSION
    trial_id: str
    fingerprint: str
    almr: float = pydantic.Field(ge=0, le=1)
    lr: float = pydantic.Field(gt=0, allow_inf_nan=False)
    seed: int = pydantic.Field(ge=0)
    status: Status
    attempt: int
    reason: str | None = None
    almr_achieved: float | None = None
    tokens: int | None = None
    steps: int | None = None
    trained_tokens: int | None = None
    loss: PerLanguage = PerLanguage()
    bits_per_byte: PerLanguage = PerLanguage()
    base_loss: PerLanguage = PerLanguage()
    base_bits_per_byte: PerLanguage = PerLanguage()
    horizons: tuple[Horizon, ...] = ()
    scores: dict[str, Score] = pydantic.Field(default_factory=dict)
    score_failures: dict[str, str] = pydantic.Field(default_factory=dict)
    epochs: PerLanguage = PerLanguage()
    seconds: float | None = None
    training_seconds: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    peak_memory_bytes: int | None = None
    gpu_hours: float | None = None
    proposed: Proposed | None = None
    provenance: dict[str, Any] = pydantic.Field(default_factory=dict)

    @property
    def trial(self) -> Trial:
        return Trial(almr=self.almr, lr=self.lr, seed=self.seed)

    @property
    def request(self) -> TrialRequest:
        """The request that led to this record."""
        return TrialRequest(
            **self.trial.model_dump(), fingerprint=self.fingerprint, attempt=self.attempt, proposed=self.proposed
        )


def read_record(path: Path) -> Record:
    """Read a record. Raises FileNotFoundError, and InputError naming a file that is no record of this version."""
    return reader.read(path, Record, "record", SCHEMA_VERSION, "delete it to run the trial again")
