"""One corpus as the launch reads it: how much of it, how often, and from which column."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

from sweep.study.ingredients import CorpusFacts
from sweep.study.sections.corpora import Corpus


@dataclass(frozen=True)
class LaunchCorpus:
    """`share` is the corpus' part of the launch's `launch_tokens`, counted in tokens."""

    language: str
    spec: Corpus
    facts: CorpusFacts
    share: float
    launch_tokens: int

    @property
    def rewritten(self) -> bool:
        """Whether `facts.files` hold the documents as the trials cut them, not the study's own files (plain text)."""
        return bool(self.spec.files) and not any(self._named(file) for file in self.facts.files)

    def _named(self, file: str) -> bool:
        # `**/` also stands for no folder at all, which fnmatch does not know.
        return any(fnmatch(file, pattern.replace("**/", "*")) for pattern in self.spec.files or ())

    @property
    def field(self) -> str:
        """The column that holds the text."""
        return "text" if self.spec.embedded or self.rewritten else self.spec.field

    @property
    def corpus_tokens(self) -> int | None:
        """Size of what the launch reads; None where the trials read only its head and the study states no size."""
        if self.spec.documents and not self.rewritten:
            return self.spec.tokens
        return self.facts.tokens + self.facts.held_out_tokens

    @property
    def documents(self) -> float | None:
        """Documents of the corpus, at the trials' mean tokens per document."""
        return self.corpus_tokens / self.facts.tokens_per_document if self.corpus_tokens else None

    @property
    def epochs(self) -> float | None:
        """How often the launch goes through the corpus."""
        return self.share * self.launch_tokens / self.corpus_tokens if self.corpus_tokens else None
