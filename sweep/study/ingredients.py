"""What the trials of a run are made from, and how far its search is: two files of a run directory."""

from __future__ import annotations

from pathlib import Path

from sweep.study.fields import Schema
from sweep.study.files import reader

SEARCH_VERSION = INGREDIENTS_VERSION = 1
AGAIN = "delete it, and run the study again, which writes it anew"


class SearchState(Schema):
    """`search.json`: what a search came to. `stopped` says why it ended before its budget; None where it did not.
    `at_once`: how many trials ran at a time, on which its proposals depend.
    """

    strategy: str
    budget: int
    asked: int
    stopped: str | None = None
    at_once: int = 1


class CorpusFacts(Schema):
    """What a prepared corpus holds: counts over its training documents, and the held-out ones beside them.

    `blocks` are the packed training sequences that trials draw from. `files` are the documents as local files, where
    the corpus has any. `fingerprint` stands for text, tokenizer, block length and split together.
    """

    fingerprint: str
    documents: int
    tokens: int
    bytes: int
    blocks: int
    held_out_documents: int
    held_out_tokens: int
    held_out_bytes: int
    held_out_blocks: int
    files: tuple[str, ...] = ()

    @property
    def tokens_per_document(self) -> float:
        return self.tokens / self.documents


class Ingredients(Schema):
    """What all trials of a study are made from: `ingredients.json` of a run.

    `base_model` is a directory or Hugging Face id, `folders` the packed corpus of each language, as paths that every
    worker can open. The fingerprints, here and in the facts, stand for content: paths may stay while it changes.
    """

    base_model: str
    base_model_fingerprint: str
    folders: dict[str, str]
    corpora: dict[str, CorpusFacts]

    def fingerprints(self) -> dict[str, str]:
        corpora = {f"corpora.{language}": facts.fingerprint for language, facts in self.corpora.items()}
        return {"base_model": self.base_model_fingerprint} | corpora


def read_search(path: Path) -> SearchState | None:
    """A `search.json`; None before a search. Raises InputError where it cannot be read."""
    try:
        return reader.read(path, SearchState, "search state", SEARCH_VERSION, AGAIN)
    except FileNotFoundError:
        return None


def read_ingredients(path: Path) -> Ingredients | None:
    """An `ingredients.json`; None before it was prepared, and for a replayed study. Raises InputError where it cannot
    be read."""
    try:
        return reader.read(path, Ingredients, "list of ingredients", INGREDIENTS_VERSION, AGAIN)
    except FileNotFoundError:
        return None
