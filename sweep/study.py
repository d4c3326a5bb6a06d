"""The study file: what is swept, on which model and text. A leaf: standard library and pydantic only."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sweep.benchmark import Benchmarks
from sweep.fields import Count, Finite, Positive, exactly_one, listed, nearest_multiple
from sweep.grid import Grid
from sweep.guards import ScoreGuard
from sweep.recipe import Training
from sweep.resources import Execution, Resources, Tracking
from sweep.search import Search
from sweep.shape import Shape
from sweep.transfer import TransferRule
from sweep.trial import Schema

MINIMUM_TRIALS = 9  # a quadratic in two dials has six coefficients; its noise has to be seen too
LANGUAGES: tuple[str, str] = ("original", "additional")


class InputError(ValueError):
    """Bad input from a user: the message names the file, the field and the fix. Shown as one line, exit status 2."""


class BaseModel(Schema):
    """The model that training continues from: an embedded one, or a Hugging Face id or directory. `shape` states
    its sizes for `almr plan` where they cannot be looked up; training reads the model's own.
    """

    embedded: Literal["tiny", "smollm2-135m"] | None = None
    pretrained: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    shape: Shape | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "embedded", "pretrained")
        return self


class Corpus(Schema):
    """Text of one language: embedded, local files, or a Hugging Face dataset.

    `held_out` is the share of its bytes, by whole documents, that no trial trains on. `documents` caps how many are
    read; `tokens` states the size, for `almr plan`, before the corpus was ever tokenised.
    """

    embedded: Literal["shakespeare", "three-kingdoms", "chinese-poetry"] | None = None
    files: (
        Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(listed), Field(min_length=1)] | None
    ) = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    field: str = "text"
    encoding: str = "utf-8"
    documents: Count | None = None
    held_out: Annotated[Finite, Field(gt=0, lt=1)] = 0.05
    tokens: Count | None = None
    language: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "embedded", "files", "dataset")
        return self


class Corpora(Schema):
    original: Corpus
    additional: Corpus


class Weights(Schema):
    original: Annotated[Finite, Field(ge=0, le=1e6)] = 0.5
    additional: Annotated[Finite, Field(ge=0, le=1e6)] = 0.5

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.original + self.additional <= 0:
            raise ValueError("both weights are 0: give at least one language a weight")
        return self

    @property
    def shares(self) -> dict[str, float]:
        total = self.original + self.additional
        return {"original": self.original / total, "additional": self.additional / total}


class Objective(Schema):
    """What the winner minimises: the weighted mean of the two held-out losses, or the additional language's loss where
    the original's is at most `forgetting_guard_percent` above the base model's. Intervals are at `level`.

    A winner under which a trial reads a corpus more than `max_epochs` times is refused: up to four passes are about
    as good as new text (Muennighoff et al., arXiv 2305.16264). So is one that does not keep every one of `guards`, on
    benchmark scores, with the probability of the intervals.
    """

    weights: Weights | None = None
    forgetting_guard_percent: Annotated[Finite, Field(ge=0)] | None = None
    level: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    max_epochs: Positive = 4.0
    guards: tuple[ScoreGuard, ...] = ()

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        if self.weights is not None and self.forgetting_guard_percent is not None:
            raise ValueError("give weights or forgetting_guard_percent, not both")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Each language's weight in what is minimised; equal where the study names none."""
        if self.forgetting_guard_percent is not None:
            return {"original": 0.0, "additional": 1.0}
        return (self.weights or Weights()).shares


class Launch(Schema):
    """The one large run that the winner is exported to. Without `transfer` the rule is `direct`, with a warning."""

    model: str
    tokens: Count
    global_batch_tokens: Count
    sequence_length: Count
    nodes: Count = 1
    gpus_per_node: Count = 8
    micro_batch_sequences: Count = 1
    checkpoints: Annotated[Count, Field(description="how many checkpoints the run writes")] = 20
    formats: tuple[Literal["llamafactory"], ...] = ("llamafactory",)
    transfer: TransferRule | None = None

    @property
    def tokens_per_pass(self) -> int:
        """Tokens that all GPUs together take in one micro-batch each."""
        return self.nodes * self.gpus_per_node * self.micro_batch_sequences * self.sequence_length

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.global_batch_tokens % self.tokens_per_pass:
            nearest = nearest_multiple(self.global_batch_tokens, self.tokens_per_pass)
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} is not a multiple of nodes x gpus_per_node x "
                f"micro_batch_sequences x sequence_length = {self.tokens_per_pass}: write {nearest}, "
                f"or change one of these"
            )
        if self.tokens < self.global_batch_tokens:
            raise ValueError(
                f"tokens {self.tokens} is less than one global batch: write {self.global_batch_tokens} or more"
            )
        return self


class Replay(Schema):
    """Answer trials from a measured table instead of training; `pace` is the share of the real time to wait."""

    table: str
    pace: Annotated[Finite, Field(ge=0)] = 0.0


class Study(Schema):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    base_model: BaseModel
    corpora: Corpora
    training: Training
    grid: Grid
    search: Search = Search()
    objective: Objective = Objective()
    resources: Resources = Resources()
    execution: Execution = Execution()
    tracking: Tracking = Tracking()
    keep: Annotated[Literal["none", "best", "all"], Field(description="which trained models stay on disk")] = "none"
    benchmarks: Benchmarks | None = None
    launch: Launch | None = None
    replay: Replay | None = None

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        if self.search.proposes and len(self.grid.seeds) > 1:
            raise ValueError("search: a search runs one seed: give grid.seeds one value, or search.strategy: grid")
        self.search.refuse_bounds_inside(self.grid)
        return self

    @model_validator(mode="after")
    def _batches_fill_the_workers(self) -> Self:
        sequences, workers = self.training.batch_sequences, self.resources.workers
        if sequences % workers:
            whole = nearest_multiple(sequences, workers) * self.training.sequence_length
            raise ValueError(
                f"training.global_batch_tokens {self.training.global_batch_tokens} is {sequences} sequences, which "
                f"{workers} workers cannot share equally: write {whole}"
            )
        return self

    def asks_for(self, almr: float, lr: float, seed: int) -> bool:
        """Whether a trial is one of this study's: in its grid, or where its search may go."""
        if (almr, lr, seed) in set(self.grid.points):
            return True
        return seed in self.grid.seeds and self.search.may_propose(self.grid, almr, lr)

    def recipe(self) -> dict[str, Any]:
        """What a trial's numbers depend on. All other fields may change between runs."""
        recipe = self.model_dump(mode="json", include={"base_model", "corpora", "replay"})
        recipe["training"] = self.training.recipe()
        del recipe["base_model"]["shape"]  # it only describes, like a corpus' size
        for corpus in recipe["corpora"].values():
            del corpus["tokens"], corpus["language"]  # they only describe
        return recipe

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.recipe())


def fingerprint_of(content: Any) -> str:
    """16 hex digits of the sha256 of the content's canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
