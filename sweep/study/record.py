"""A trial (one point of a study), its request by a driver, and its record."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

import pydantic

from sweep.study.fields import Schema, TrainerName

SCHEMA_VERSION = REQUEST_VERSION = 1
SIMULATED = "simulated_by"  # in the provenance of a record, and a column of tables: what made its losses
SAME_TEXT = "same_text"  # likewise: the user's statement that its text is that of the trials before
ALSO = "asked with --also"  # why a trial is run that the user named beside the study's own
OWN_TRAINER: TrainerName = "native"
MOST_SEED = 2**32 - 1  # numpy takes no larger one
SAME_LOSS = 1e-3  # nats: training again on other hardware differs by rounding
SCORING = "scoring"  # the key of `score_failures` for a failure of all tasks


def simulated_losses(made: str) -> str:
    """What every output of simulated losses says; `made`: what made them."""
    return f"THE LOSSES ARE SIMULATED by {made}: nobody measured them"


class Status(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"  # a result: such cells are bad
    FAILED = "failed"  # a fault of infrastructure: it is retried


class Trial(Schema):
    """One point (almr, lr, seed) of a study. `id` names its folder and is never parsed back."""

    almr: float = pydantic.Field(ge=0, le=1)
    lr: float = pydantic.Field(gt=0, allow_inf_nan=False)
    seed: int = pydantic.Field(ge=0, le=MOST_SEED)

    @property
    def id(self) -> str:
        almr = f"{self.almr:.2f}" if float(f"{self.almr:.2f}") == self.almr else repr(self.almr)
        return f"almr={almr}_lr={shortest_scientific(self.lr)}_seed={self.seed}"


def shortest_scientific(value: float) -> str:
    """The number in as many digits as it takes to read it back: no two numbers are written alike."""
    texts = (f"{value:.{digits}e}" for digits in range(17))
    return next(text for text in texts if float(text) == value)


class Proposed(Schema):
    """Why a trial is run that a search, or the user, proposed.

    `index` is its number in the search, from 0. `why` is its purpose: "start", "winner", "curve", the name of another
    strategy, "grown" for a cell beyond the grid, or ALSO. `launch_loss` is what a launch of the best trial at that time
    was expected to lose against the best cell, in nats per token; None before there was a surface.
    """

    index: int
    why: str
    launch_loss: float | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, content: Any) -> Any:
        """They wrote `improvement`, the expected gain of the best single trial."""
        return {k: v for k, v in content.items() if k != "improvement"} if isinstance(content, dict) else content


class TrialRequest(Schema):
    """`trial.json`: a requested trial. `attempt` counts its attempts; `proposed` is None for a trial of the grid."""

    almr: float = pydantic.Field(ge=0, le=1)
    lr: float = pydantic.Field(gt=0, allow_inf_nan=False)
    seed: int = pydantic.Field(ge=0, le=MOST_SEED)
    fingerprint: str
    attempt: int = pydantic.Field(default=0, ge=0)
    proposed: Proposed | None = None

    @property
    def trial(self) -> Trial:
        return Trial(almr=self.almr, lr=self.lr, seed=self.seed)

    @property
    def also(self) -> bool:
        """Whether the user named the trial beside the study's own: it belongs to the run wherever it lies."""
        return self.proposed is not None and self.proposed.why == ALSO


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


class SourceResult(Schema):
    """The results on one source of a language's text, as `Record` has them for the language.

    `weight` is the source's share of the language's tokens.
    """

    language: Literal["original", "additional"]
    weight: float
    loss: float | None = None
    base_loss: float | None = None
    bits_per_byte: float | None = None
    base_bits_per_byte: float | None = None
    epochs: float | None = None


class Horizon(Schema):
    """The result at a shorter token budget: a branch off the trial's main run, with its own decay.

    `tokens` is the budget in the study, `steps` the same in whole batches. A branch that diverged has a `reason` and
    no loss. `sources` is as in `Record`, without what the base model has and without epochs.
    """

    tokens: int
    steps: int
    reason: str | None = None
    loss: PerLanguage = PerLanguage()
    bits_per_byte: PerLanguage = PerLanguage()
    sources: dict[str, SourceResult] = pydantic.Field(default_factory=dict)


def trainer_text(name: str, version: str) -> str:
    """A trainer with its version, which may say the name itself."""
    return version if version.lower().startswith(name.lower()) and version else f"{name} {version}".strip()


class TrainerUsed(Schema):
    """What trained a trial. `version`: as it says itself, with that of its libraries; empty of our own trainer."""

    name: TrainerName = OWN_TRAINER
    version: str = ""

    @property
    def text(self) -> str:
        return trainer_text(self.name, self.version)


class Record(Schema):
    """The outcome of a trial, `record.json`: written last and atomically, the only definition of done.

    Losses are nats per token on the held-out text. `almr` is the requested ratio, `almr_achieved` the ratio of the
    training tokens. `epochs` is the number of passes over each corpus. `seconds` is the time of the whole trial,
    `training_seconds` that of its optimizer steps. `tokens` and `steps` are those of the main run; `trained_tokens`
    includes the branches to shorter `horizons`.

    Where the study names sources of its corpora, `sources` has the results on each. Then a language's loss is the mean
    of its sources' losses, weighted by their shares of its tokens, and its epochs are those of the source that is read
    most often.
    """

    schema_version: int = SCHEMA_VERSION
    trial_id: str
    fingerprint: str
    almr: float = pydantic.Field(ge=0, le=1)
    lr: float = pydantic.Field(gt=0, allow_inf_nan=False)
    seed: int = pydantic.Field(ge=0, le=MOST_SEED)
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
    sources: dict[str, SourceResult] = pydantic.Field(default_factory=dict)
    trainer: TrainerUsed = TrainerUsed()
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

    def losses(self, kind: Literal["loss", "base_loss"] = "loss") -> dict[str, float | None]:
        """The loss of each language and, by its name, of each source."""
        languages: PerLanguage = getattr(self, kind)
        return languages.model_dump() | {name: getattr(source, kind) for name, source in self.sources.items()}

    def another_model(self, again: Record, label: Callable[[str], str]) -> str | None:
        """Why a trial that was trained `again` for its scores is not the same model; None where it is. `label`: the
        name of a language.
        """
        for language, loss in self.loss:
            other = getattr(again.loss, language)
            if loss is None or other is None or abs(other - loss) > SAME_LOSS:
                return (
                    f"trained again, its {label(language)} loss is {other} instead of {loss}: set keep: best or all, "
                    f"so that models are saved and need not be trained again"
                )
        return None

    @property
    def request(self) -> TrialRequest:
        """The request that led to this record."""
        return TrialRequest(
            **self.trial.model_dump(), fingerprint=self.fingerprint, attempt=self.attempt, proposed=self.proposed
        )
