"""`base_model` and `corpora`: the model that trials continue from, and their text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from sweep.study.fields import (
    LANGUAGES,
    LIST,
    MAPPING,
    Count,
    Finite,
    LanguageName,
    Name,
    OneOrMore,
    Positive,
    Section,
    Text,
    exactly_one,
)
from sweep.study.sizes.shape import Shape

Embedded = Literal["tiny", "tiny-5.6m", "smollm2-135m"]  # a launch can name them too
EmbeddedText = Literal[
    "shakespeare",
    "three-kingdoms",
    "chinese-poetry",
    "shakespeare-questions",
    "three-kingdoms-questions",
    "shakespeare-preferences",
    "three-kingdoms-preferences",
]
LATER = ("tokenizer", "new_rows")  # fields of a base model that came after the first runs


class BaseModelSource(Section):
    """The model that every trial continues from: give `embedded` or `pretrained`."""

    embedded: Embedded | None = None
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

    @property
    def is_tiny(self) -> bool:
        """Whether it is pre-trained here, on first use."""
        return (self.embedded or "").startswith("tiny")

    def recipe(self) -> dict[str, Any]:
        """Its fields in a study's recipe: newer ones only where they are set, so that older runs stay as they are."""
        recipe = self.model_dump(mode="json", exclude={"shape"})
        return {key: value for key, value in recipe.items() if value is not None or key not in LATER}


RESERVED = (*LANGUAGES, "total")  # names that mean a language, or both together
UNSET = (
    ("near_copies", "drop"),
    ("exclude", None),
    ("trial_tokens", None),
)  # newer fields of a corpus, as they are where nobody set them
HELD_OUT = "held_out"  # part of the names of held-out sets in a launch
TEXT = ("embedded", "files", "dataset", "config", "split", "revision", "field", "encoding")  # what decides the text


class Corpus(Section):
    """Text of one language, or one source of its text: give `embedded`, `files` or `dataset`."""

    embedded: EmbeddedText | None = None
    """A corpus that needs no data hub. Questions and preferences are generated from the two books, for stages `sft` and
    `dpo`.
    """
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
    """Most documents that are used: a fixed random sample of the corpus. Default: all."""
    held_out: Annotated[Finite, Field(gt=0, lt=1)] = 0.05
    """Share of the tokens, in whole documents, that is never trained on: the held-out losses are measured there. Not in
    `launch.corpora`.
    """
    exclude: OneOrMore[Text] | None = None
    """JSON Lines files, relative to the study file: their `text`, and near-copies of it, are never trained on."""
    near_copies: Literal["drop", "keep"] = "drop"
    """Whether near-copies of held-out text are dropped from training. Exact copies always are."""
    tokens: Count | None = None
    """Size in tokens of what is used, for plans before it is tokenised. Default: estimated from local files."""
    trial_tokens: Count | None = None
    """Most tokens of its training text that trials read, again and again: a fixed random part, of whole sequences. Not
    in `launch.corpora`. Default: all, or what `training.simulate_epochs` sets.
    """
    language: LanguageName | None = None
    """Name of the language in reports and messages, such as English. Default: "original" or "additional"."""

    name: Name | None = None
    """Name of the source, in a list of several; losses, guards and weights use it. Default: the language's."""
    weight: Positive | None = None
    """The source's part of its language's tokens; only the ratio to the others matters. Default: all the same."""

    def recipe(self, without: set[str]) -> dict[str, Any]:
        """Its fields in a study's recipe. A newer one only where it is set, so that older runs stay as they are."""
        recipe = self.model_dump(mode="json", exclude=without)
        return {key: value for key, value in recipe.items() if (key, value) not in UNSET}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "embedded", "files", "dataset")
        if self.name and (self.name.lower() in RESERVED or HELD_OUT in self.name.lower()):
            raise ValueError(f"name: {self.name} has another meaning in losses and launch files: give another name")
        return self


@dataclass(frozen=True)
class CorpusSource:
    """One source of a language's text. Its `name` is unique in the study: the language's own where it has no other.

    `fraction` is its share of the language's tokens.
    """

    name: str
    language: str
    fraction: Fraction
    spec: Corpus

    @property
    def share(self) -> float:
        return float(self.fraction)

    @property
    def where(self) -> str:
        """The study's field, as messages write it."""
        return f"corpora.{self.name}"


def _kind(value: Any) -> str:
    return LIST if isinstance(value, list | tuple) else MAPPING


def _agreeing(given: Corpus | tuple[Corpus, ...]) -> Corpus | tuple[Corpus, ...]:
    """A list of one is the same as its only source. Raises ValueError for sources that cannot be mixed."""
    several = (given,) if isinstance(given, Corpus) else given
    if len(several) == 1:
        return several[0].model_copy(update={"weight": None})
    for fault in (_unnamed(several), _unweighted(several), _languages(several), _same_text(several)):
        if fault:
            raise ValueError(fault)
    return several


def _unnamed(several: tuple[Corpus, ...]) -> str | None:
    numbers = [str(number) for number, source in enumerate(several, 1) if source.name is None]
    return f"each of several sources needs a name: add `name` to number {', '.join(numbers)}" if numbers else None


def _unweighted(several: tuple[Corpus, ...]) -> str | None:
    lacking = [source.name or "" for source in several if source.weight is None]
    if not lacking or len(lacking) == len(several):
        return None
    return f"some sources have a weight, but not {', '.join(lacking)}: give each one, or none for equal shares"


def _languages(several: tuple[Corpus, ...]) -> str | None:
    names = list(dict.fromkeys(source.language for source in several if source.language))
    return f"its sources are of several languages, {' and '.join(names)}: write one" if names[1:] else None


def _same_text(several: tuple[Corpus, ...]) -> str | None:
    seen: dict[str, str | None] = {}
    for source in several:
        text = source.model_dump_json(include={*TEXT})
        if text in seen:
            return f"{seen[text]} and {source.name} are the same text: give it once, with the sum of their weights"
        seen[text] = source.name
    return None


Sources = Annotated[
    Annotated[Corpus, Tag(MAPPING)] | Annotated[OneOrMore[Corpus], Tag(LIST)],
    Discriminator(_kind),
    AfterValidator(_agreeing),
]


class Corpora(Section):
    """The corpora that trials mix: the text of two languages, each from one source or a list of several."""

    original: Sources
    """Text of the base model's own language: the replay data."""
    additional: Sources
    """Text of the language to add."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [source.name for language in LANGUAGES for source in self.sources(language) if source.name]
        twice = [name for name in names if Counter(map(str.lower, names))[name.lower()] > 1]
        if twice:
            raise ValueError(f"two sources have the name {twice[-1]}: give one of them another name")
        return self

    def sources(self, language: str) -> tuple[Corpus, ...]:
        """The sources of a language's text, as listed."""
        given: Corpus | tuple[Corpus, ...] = getattr(self, language)
        return (given,) if isinstance(given, Corpus) else given

    def source_names(self, language: str | None = None) -> tuple[str, ...]:
        """The names of a language's sources, or of all."""
        return tuple(name for name, source in self.by_name.items() if language in (None, source.language))

    @property
    def by_name(self) -> dict[str, CorpusSource]:
        """Every source by its name, those of the original language first."""
        found = {}
        for language in LANGUAGES:
            specs = self.sources(language)
            weights = [Fraction(str(spec.weight or 1)) for spec in specs]
            for spec, weight in zip(specs, weights, strict=True):
                name = spec.name or language
                found[name] = CorpusSource(name, language, weight / sum(weights), spec)
        return found

    @property
    def named(self) -> bool:
        """Whether a source has a name of its own: then losses are reported for each source as well."""
        return not set(self.source_names()) <= set(LANGUAGES)
