"""A study's `base_model` and `corpora`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sweep.study.fields import Count, Finite, Schema, exactly_one, listed
from sweep.study.sizes.shape import Shape


class BaseModelSource(Schema):
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
