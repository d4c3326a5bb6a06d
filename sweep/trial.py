"""A trial (one point of a study) and its record (what came of it). A leaf: standard library and pydantic only."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import pydantic

SCHEMA_VERSION = 1
SCORING = "scoring"  # the key of `score_failures` where no task at all could be scored


class Schema(pydantic.BaseModel):
    """A frozen row or file of this product: an unknown field is an error, never ignored."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Status(StrEnum):
    COMPLETE = "complete"
    DIVERGED = "diverged"  # data: it bounds the surface
    FAILED = "failed"  # infrastructure: it is retried


class Trial(Schema):
    """One point (almr, lr, seed) of a study. `id` names its folder and is never parsed back."""

    almr: float = pydantic.Field(ge=0, le=1)
    lr: float = pydantic.Field(gt=0)
    seed: int = pydantic.Field(ge=0)

    @property
    def id(self) -> str:
        almr = f"{self.almr:.2f}" if float(f"{self.almr:.2f}") == self.almr else repr(self.almr)
        return f"almr={almr}_lr={_shortest_scientific(self.lr)}_seed={self.seed}"


def _shortest_scientific(value: float) -> str:
    texts = (f"{value:.{digits}e}" for digits in range(17))
    return next(text for text in texts if float(text) == value)


class Proposed(Schema):
    """Why a search asked for a trial: its number in the search, from 0, and what it was to do ("start", "winner",
    "curve", the name of another strategy, or "grown" for a cell beyond the grid).

    `improvement`: by how much (nats per token) the best single trial was then expected to lower the surface's best
    loss; None before there was a surface.
    """

    index: int
    why: str
    improvement: float | None = None


class PerLanguage(Schema):
    """A number for each language; None where it was not measured (missing is never zero)."""

    original: float | None = None
    additional: float | None = None


class Score(Schema):
    """One benchmark score with its standard error over n questions.

    `version` and `prompt_sha256` are the task's: only scores in which both are equal can be compared. `group` is the
    task group that it counts in, `language` the corpus whose language the task is in, `metric` what the value is.
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
    """What a shorter token budget came to: a branch off the trial's trunk, with a decay of its own.

    `tokens` is the budget as the study asks for it, `steps` the same in whole batches. A branch that diverged has the
    `reason`, and no loss.
    """

    tokens: int
    steps: int
    reason: str | None = None
    loss: PerLanguage = PerLanguage()
    bits_per_byte: PerLanguage = PerLanguage()


class Record(Schema):
    """The outcome of a trial, `record.json`: written last and atomically, the only definition of done.

    Losses are nats per token on the held-out text. `almr` is the ratio asked for and `almr_achieved` the one
    counted in training tokens; `epochs` says how often each corpus was gone through. `seconds` is the whole trial,
    `training_seconds` its optimizer steps alone. `tokens` and `steps` are of the run to its full budget,
    `trained_tokens` counts those of the branches to shorter `horizons` too.
    """

    schema_version: int = SCHEMA_VERSION
    trial_id: str
    fingerprint: str
    almr: float
    lr: float
    seed: int
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
    scores: dict[str, Score] = {}
    score_failures: dict[str, str] = {}
    epochs: PerLanguage = PerLanguage()
    seconds: float | None = None
    training_seconds: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    peak_memory_bytes: int | None = None
    gpu_hours: float | None = None
    proposed: Proposed | None = None
    provenance: dict[str, Any] = {}

    @property
    def trial(self) -> Trial:
        return Trial(almr=self.almr, lr=self.lr, seed=self.seed)


class Asked(Schema):
    """`trial.json`: a trial that was asked for. `attempt` counts how often it was begun, `proposed` is of a search."""

    almr: float
    lr: float
    seed: int
    fingerprint: str
    attempt: int = 0
    proposed: Proposed | None = None

    @property
    def trial(self) -> Trial:
        return Trial(almr=self.almr, lr=self.lr, seed=self.seed)


class SearchState(Schema):
    """`search.json`: what a search came to. `stopped` says why it ended before its budget; None where it did not.
    `at_once`: how many trials ran at a time, on which its proposals depend.
    """

    strategy: str
    budget: int
    asked: int
    stopped: str | None = None
    at_once: int = 1


class CorpusFacts(Schema):
    """What a prepared corpus holds: counts over its training documents, and the held-out ones beside them.

    `blocks` are the packed training sequences that trials draw from. `files` are the documents as local files, where
    the corpus has any. `fingerprint` stands for text, tokenizer, block length and split together.
    """

    fingerprint: str
    documents: int
    tokens: int
    bytes: int
    blocks: int
    held_out_documents: int
    held_out_tokens: int
    held_out_bytes: int
    held_out_blocks: int
    files: tuple[str, ...] = ()

    @property
    def tokens_per_document(self) -> float:
        return self.tokens / self.documents


class Ingredients(Schema):
    """What all trials of a study are made from: `ingredients.json` of a run.

    `base_model` is a directory or Hugging Face id, `folders` the packed corpus of each language, as paths that every
    worker can open. The fingerprints, here and in the facts, stand for content: paths may stay while it changes.
    """

    base_model: str
    base_model_fingerprint: str
    folders: dict[str, str]
    corpora: dict[str, CorpusFacts]

    def fingerprints(self) -> dict[str, str]:
        corpora = {f"corpora.{language}": facts.fingerprint for language, facts in self.corpora.items()}
        return {"base_model": self.base_model_fingerprint} | corpora
