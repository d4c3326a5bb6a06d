"""One corpus of the launch: its share of the tokens, its size, and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweep.study import CorpusFacts
from sweep.study.sections.corpora import Corpus


@dataclass(frozen=True)
class LaunchCorpus:
    """`name` is that of the study's source; `share` is its share of the launch's `launch_tokens`. `unseen`: whether the
    launch leaves out the trials' held-out text.
    """

    name: str
    language: str
    spec: Corpus
    facts: CorpusFacts
    share: float
    launch_tokens: int
    unseen: bool = False

    @property
    def rewritten(self) -> bool:
        """Whether `facts.files` are the documents as the trials' reader cut them, not the study's own files."""
        return [Path(file).parent.name for file in self.facts.files] == [self.facts.fingerprint]

    @property
    def field(self) -> str:
        """The column that holds the text."""
        return "text" if self.spec.embedded or self.rewritten else self.spec.field

    @property
    def corpus_tokens(self) -> int | None:
        """Size of what the launch reads. None where the trials read only a sample of it and the study states no size.

        The launch reads the whole corpus, except of a data set of the hub with a nested field: of that, the sample.
        """
        if self.spec.documents and not (self.spec.dataset and self.rewritten):
            return self.spec.tokens
        return self.facts.tokens + (0 if self.unseen else self.facts.held_out_tokens)

    @property
    def documents(self) -> float | None:
        """Number of documents, by the trials' mean tokens per document."""
        return self.corpus_tokens / self.facts.tokens_per_document if self.corpus_tokens else None

    @property
    def epochs(self) -> float | None:
        """How many times the launch reads the corpus."""
        return self.share * self.launch_tokens / self.corpus_tokens if self.corpus_tokens else None
