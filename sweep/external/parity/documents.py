"""Short documents: the training text cut into pieces of about a third of a sequence, so that each has several borders.

Documents that are longer than a sequence hide what a trainer does at their borders: a run on the demo's, of 56,600
tokens, ends with the same loss with and without a document mask. On short ones step 1 shows it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sweep.study import CorpusFacts, Ingredients, Study
from sweep.study.sections.text.corpora import CorpusSource
from trainers.data import documents
from trainers.data.conversations import messages
from trainers.data.origins.hub import RecordedCommit

SHORTEST, LONGEST = 1 / 6, 1 / 2  # of a sequence
SPARE = 1.25  # for what is held out, and for text with more letters a token than the mean
LEAST_SEQUENCES = 60  # of each source: a twentieth is held out
SEED = 0


def write(study: Study, ingredients: Ingredients, folder: Path, tokens: int) -> dict[str, Path]:
    """Write a JSON Lines file of each source, with enough text for a run of so many tokens; returns their paths.

    A source with less text gives all of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    length, found = study.training.sequence_length, {}
    for name, source in study.corpora.by_name.items():
        wanted = max(source.share * tokens * SPARE, LEAST_SEQUENCES * length)
        found[name] = folder / f"{name}.jsonl"
        with found[name].open("w", encoding="utf-8") as opened:
            for record in _records(study, source, ingredients, wanted):
                opened.write(json.dumps(record, ensure_ascii=False) + "\n")
    return found


def _records(study: Study, source: CorpusSource, ingredients: Ingredients, tokens: float) -> Iterator[dict[str, Any]]:
    """Conversations are short, and stay as they are."""
    if study.training.stage == "cpt":
        yield from ({"text": text} for text in _pieces(source, ingredients, tokens, study.training.sequence_length))
        return
    facts = ingredients.corpora[source.name]
    recorded = RecordedCommit(ingredients.commits.get(source.name), ask=False)
    found = documents.resolve(source.spec, source.where, recorded)
    texts = documents.read(replace(found, read_as=messages.read_as(source.spec)))["text"]
    for text in itertools.islice(texts, max(1, round(tokens / facts.tokens_per_document))):
        yield {messages.MESSAGES: messages.of(text)}


def _pieces(source: CorpusSource, ingredients: Ingredients, tokens: float, length: int) -> Iterator[str]:
    """Pieces of the source's documents, of `tokens` tokens in all; each of a random number within the limits."""
    facts, draw = ingredients.corpora[source.name], np.random.default_rng(SEED)
    recorded = RecordedCommit(ingredients.commits.get(source.name), ask=False)
    for text in documents.read(documents.resolve(source.spec, source.where, recorded))["text"]:
        letters, start = _letters_per_token(facts, text), 0
        while start < len(text) and tokens > 0:
            size = draw.uniform(SHORTEST, LONGEST) * length
            end = start + max(1, round(size * letters))
            if piece := text[start:end].strip():
                yield piece
            start, tokens = end, tokens - size
        if tokens <= 0:
            return


def _letters_per_token(facts: CorpusFacts, text: str) -> float:
    return facts.bytes / facts.tokens / (len(text.encode("utf-8", "replace")) / len(text))
