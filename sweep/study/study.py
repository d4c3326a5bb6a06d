"""The study file: what is swept, on which model and text. A leaf: standard library and pydantic only."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sweep.study.fields import Finite, Schema, nearest_multiple
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.corpora import BaseModelSource, Corpora
from sweep.study.sections.grid import Grid
from sweep.study.sections.launch import Launch
from sweep.study.sections.objective import Objective
from sweep.study.sections.resources import Execution, Resources, Tracking
from sweep.study.sections.search import Search
from sweep.study.sections.training import Training

MINIMUM_TRIALS = 9  # a quadratic in two dials has six coefficients; its noise has to be seen too


class Replay(Schema):
    """Answer trials from a measured table instead of training; `pace` is the share of the real time to wait."""

    table: str
    pace: Annotated[Finite, Field(ge=0)] = 0.0


class Study(Schema):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    base_model: BaseModelSource
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

    def language_name(self, language: str) -> str:
        """The user's own name of "original" or "additional", such as "English"; the word itself where none is given."""
        corpus = getattr(self.corpora, language, None)
        return (corpus.language if corpus else None) or language

    def includes(self, almr: float, lr: float, seed: int) -> bool:
        """Whether a trial belongs to this study: a point of its grid, or one that its search may propose."""
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
