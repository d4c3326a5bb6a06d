"""`base_model` and `corpora`: the model that trials continue from, and their text."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sweep.study.fields import Count, Finite, OneOrMore, Section, Text, exactly_one
from sweep.study.sizes.shape import Shape

LATER = ("tokenizer", "new_rows")  # fields of a base model that came after the first runs


class BaseModelSource(Section):
    """The model that every trial continues from: give `embedded` or `pretrained`."""

    embedded: Literal["tiny", "smollm2-135m"] | None = None
    """A model that needs no model hub."""
    pretrained: str | None = None
    """A Hugging Face id, or a directory (relative to the study file)."""
    revision: str | None = None
    """Branch, tag or commit of the Hugging Face repository. Default: the newest."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    tokenizer: str | None = None
    """A Hugging Face id, or a directory, of the tokenizer to use. Default: the model's own."""
    new_rows: Literal["mean"] | None = None
    """Give tokens that have no row in the embedding the mean of all rows. Default: such a tokenizer is refused."""
    shape: Shape | None = None
    """The model's sizes for `almr plan`, where they cannot be looked up. Training reads the model's own."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "embedded", "pretrained")
        return self

    def recipe(self) -> dict[str, Any]:
        """Its fields in a study's recipe: newer ones only where they are set, so that older runs stay as they are."""
        recipe = self.model_dump(mode="json", exclude={"shape"})
        return {key: value for key, value in recipe.items() if value is not None or key not in LATER}


class Corpus(Section):
    """Text of one language: give `embedded`, `files` or `dataset`."""

    embedded: Literal["shakespeare", "three-kingdoms", "chinese-poetry"] | None = None
    """A corpus that needs no data hub."""
    files: OneOrMore[Text] | None = None
    """Local files, folders or glob patterns, relative to the study file: text, JSON or parquet, all of one kind."""
    dataset: str | None = None
    """A dataset of the Hugging Face hub."""
    config: str | None = None
    """Configuration of the dataset. Default: the dataset's own."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Branch, tag or commit of the dataset. Default: the newest."""
    field: str = "text"
    """Name of the column or JSON field that holds the text; `content.text` is the field `text` in `content`."""
    encoding: str = "utf-8"
    """Character encoding of local text and JSON files: utf-8, utf-16, gb18030, latin-1, ..."""
    documents: Count | None = None
    """Most documents that trials use: a fixed random sample of the corpus. The launch has all of it. Default: all."""
    held_out: Annotated[Finite, Field(gt=0, lt=1)] = 0.05
    """Share of the bytes, in whole documents, that is never trained on: the held-out losses are measured there."""
    tokens: Count | None = None
    """Size in tokens, for `almr plan` before the corpus is tokenised for the first time. Default: not known."""
    language: str | None = None
    """Name of the language in reports and messages, such as English. Default: "original" or "additional"."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "embedded", "files", "dataset")
        return self


class Corpora(Section):
    """The two corpora that trials mix."""

    original: Corpus
    """Text of the base model's own language: the replay data."""
    additional: Corpus
    """Text of the language to add."""
