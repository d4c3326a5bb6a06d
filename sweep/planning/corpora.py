"""The sizes of the corpora: as packed, as stated, or estimated from the size of plain-text files."""

from __future__ import annotations

import glob
from pathlib import Path

from sweep.study import CorpusFacts, Study
from sweep.study.sections.corpora import Corpus

BYTES_PER_TOKEN = 3.5  # between Chinese and English with common vocabularies; used until a corpus is tokenised
PLAIN_TEXT = (".txt", ".md", ".jsonl", ".json")


def epochs(study: Study, language: str, tokens: int, facts: CorpusFacts | None) -> list[float] | None:
    """How many times a trial of `tokens` reads a corpus, at each ALMR of the grid; None if the size is unknown."""
    corpus: Corpus = getattr(study.corpora, language)
    if facts:
        size: float | None = facts.blocks * study.training.sequence_length
    else:
        whole = expected_tokens(corpus)
        size = whole and whole * (1 - corpus.held_out)
    if not size:
        return None
    shares = [almr if language == "additional" else 1 - almr for almr in study.grid.almr]
    return [share * tokens / size for share in shares]


def packed_tokens(study: Study, language: str, facts: CorpusFacts | None) -> float | None:
    """Tokens of training and held-out text together."""
    return facts.tokens + facts.held_out_tokens if facts else expected_tokens(getattr(study.corpora, language))


def expected_tokens(corpus: Corpus) -> float | None:
    """Tokens of a corpus that has not been tokenised yet; None where nothing tells its size."""
    if corpus.tokens:
        return corpus.tokens
    paths = {Path(file) for pattern in corpus.files or () for file in glob.glob(pattern, recursive=True)}
    if not paths or corpus.documents or not all(path.suffix in PLAIN_TEXT and path.is_file() for path in paths):
        return None
    return sum(path.stat().st_size for path in paths) / BYTES_PER_TOKEN
