"""One corpus of the launch: its share of the tokens, its size, and its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sweep.study import LANGUAGES, CorpusFacts, InputError, Study
from sweep.study import numbers as formats
from sweep.study.files import patterns
from sweep.study.sections.text.corpora import TEXT, Corpora, Corpus, CorpusSource

BYTES_PER_TOKEN = 3.5  # between Chinese and English with common vocabularies
DOCUMENT_TOKENS = 1000  # of a document of the web, about
ESTIMATED = "estimated from the bytes of its files"


class TextSize(NamedTuple):
    """Tokens of a text, and in words where the number comes from."""

    tokens: float
    source: str


class TrialText(NamedTuple):
    """What the trials measured of a language's text: means over its sources. Before that, of text in general."""

    tokens_per_document: float
    tokens_per_byte: float

    @classmethod
    def of(cls, counted: Iterable[CorpusFacts]) -> TrialText:
        known = list(counted)
        if not known:
            return cls(DOCUMENT_TOKENS, 1 / BYTES_PER_TOKEN)
        tokens = sum(facts.tokens for facts in known)
        return cls(tokens / sum(facts.documents for facts in known), tokens / sum(facts.bytes for facts in known))


@dataclass(frozen=True)
class LaunchCorpus:
    """`name` is that of the launch's source; `share` is its share of the launch's `launch_tokens`. `facts`: the trials'
    counts of the same text, None where they read another or nothing is counted yet; `same_text`: they read this very
    text; `sampled`: another sample of it; `measured`: means of their text of this language. `unseen`: the launch leaves
    out what `facts` count as held out. `own`: it is a source of `launch.corpora`.
    """

    name: str
    language: str
    spec: Corpus
    facts: CorpusFacts | None
    measured: TrialText
    share: float
    launch_tokens: int
    same_text: bool = False
    sampled: bool = False
    unseen: bool = False
    own: bool = False

    @property
    def tokens_per_document(self) -> float:
        """Mean over the corpus, where the trials counted it, else over the trials' text of its language."""
        return self.facts.tokens_per_document if self.facts else self.measured.tokens_per_document

    @cached_property
    def size(self) -> TextSize | None:
        """Of what the launch reads; None where nothing tells it. The `tokens` of the trials' corpora say only what they
        read.
        """
        if self.facts and not self.sampled:
            held_out = 0 if self.unseen else self.facts.held_out_tokens
            return TextSize(self.facts.tokens + held_out, "counted")
        if self.spec.tokens and (self.own or not self.sampled):
            return TextSize(self.spec.tokens, "as stated")
        files = None if self.spec.documents else patterns.plain_files(self.spec.files or ())
        if not files:
            return None
        read = sum(file.stat().st_size for file in files)
        return TextSize(read * self.measured.tokens_per_byte, ESTIMATED)

    @property
    def corpus_tokens(self) -> float | None:
        return self.size.tokens if self.size else None

    @property
    def is_estimated(self) -> bool:
        """Whether the size is a guess from bytes, which the trials' text makes more exact once it is counted."""
        return self.size is not None and self.size.source == ESTIMATED

    @property
    def tokenised(self) -> float | None:
        """Tokens that are packed before the launch: of the whole corpus, or of the sample of it."""
        sample = self.spec.documents and self.spec.documents * self.tokens_per_document
        return min((known for known in (self.corpus_tokens, sample) if known), default=None)

    def label(self, study: Study) -> str:
        """The corpus as messages name it."""
        language = study.language_name(self.language)
        return language if self.name == self.language else f"{self.name} ({language})"

    @property
    def epochs(self) -> float | None:
        """How many times the launch reads the corpus."""
        return self.share * self.launch_tokens / self.corpus_tokens if self.corpus_tokens else None


def launch_corpora(study: Study) -> Corpora:
    """The launch's text: of `launch.corpora`, else all of the trials', of which they may read a sample."""
    if study.launch and study.launch.corpora:
        return study.launch.corpora
    content = study.corpora.model_dump()
    for given in content.values():
        for source in given if isinstance(given, list | tuple) else [given]:
            source |= {"documents": None, "trial_tokens": None}
    return Corpora.model_validate(content)


def same_text(one: Corpora, other: Corpora) -> bool:
    """Whether both read the same text by the same shares, of which one may take a sample."""
    of_one, of_other = (
        [(source.language, source.share, source.spec.model_dump(include={*TEXT})) for source in of.by_name.values()]
        for of in (one, other)
    )
    return len(of_one) == len(of_other) and all(source in of_other for source in of_one)


def unread(study: Study) -> list[str]:
    """Warnings: which of the launch's own files are not here. Another machine may have them, where they are packed."""
    found = []
    for source in study.launch.corpora.by_name.values() if study.launch and study.launch.corpora else ():
        for pattern in source.spec.files or ():
            try:
                patterns.matching(pattern)
            except InputError as error:
                found.append(f"launch.{source.where}: {error} (or prepare the launch on a machine that has it)")
    return found


def sources_of(
    study: Study, almr: float, counted: Mapping[str, CorpusFacts], held_out: Collection[str] = ()
) -> dict[str, LaunchCorpus]:
    """The sources of the launch's text, by name. A source's share of the tokens is its share of its language, times
    that of the language. `counted`: the trials' counts, as far as they are known; `held_out`: the trials' sources
    whose held-out text the launch leaves out.
    """
    assert study.launch
    shares, found = {"original": 1 - almr, "additional": almr}, {}
    names = {language: study.corpora.source_names(language) for language in LANGUAGES}
    measured = {language: TrialText.of(counted[n] for n in names[language] if n in counted) for language in LANGUAGES}
    for name, source in launch_corpora(study).by_name.items():
        known = _same_text(source.spec, study.corpora.by_name.values())
        found[name] = LaunchCorpus(
            name=name,
            language=source.language,
            spec=source.spec,
            facts=counted.get(known.name) if known else None,
            measured=measured[source.language],
            share=shares[source.language] * source.share,
            launch_tokens=study.launch.steps * study.launch.global_batch_tokens,
            same_text=known is not None and known.spec.documents == source.spec.documents,
            sampled=known is not None and known.spec.documents != source.spec.documents,
            unseen=known is not None and known.name in held_out,
            own=study.launch.corpora is not None,
        )
    return found


def _same_text(spec: Corpus, sources: Iterable[CorpusSource]) -> CorpusSource | None:
    """The trials' source of this text, or of a sample of it."""
    text = spec.model_dump(include={*TEXT})
    return next((one for one in sources if one.spec.model_dump(include={*TEXT}) == text), None)


def repetition(study: Study, source: LaunchCorpus) -> str | None:
    """A warning that the launch reads a text more than once, by its own tokens and text. None where it does not."""
    name, limit, size = source.label(study), study.objective.max_epochs, source.size
    if size is None or source.epochs is None:
        sample = f" (the trials read {source.facts.documents:,} documents of it)" if source.facts else ""
        return (
            f"{name} corpus: its size is not known, so the launch may repeat it{sample}: state the launch's "
            f"text and its tokens under launch.corpora"
        )
    if source.epochs <= 1:
        return None
    fix = ". Supply a larger corpus." if source.epochs > limit else ""
    return (
        f"{name} corpus: the launch would read it {formats.times(source.epochs)} (limit {limit:g} x; "
        f"{formats.tokens(size.tokens)} tokens, {size.source}{_trial_passes(study, source)}){fix}"
    )


def _trial_passes(study: Study, source: LaunchCorpus) -> str:
    if source.facts is None:
        return ""
    tokens, part = source.facts.tokens, "its training part"
    if source.facts.trial_blocks:
        tokens, part = source.facts.trial_blocks * study.training.sequence_length, "the part that it draws from"
    passes = source.share * study.training.tokens / tokens
    unlike = ", so its loss does not show that: training.simulate_epochs would" if passes <= 1 else ""
    return f"; a trial reads {formats.passes(passes, part)}{unlike}"
