"""Two files of a run directory: the prepared model and corpora of its trials, and the state of its search."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sweep.study.fields import Schema
from sweep.study.files import reader

SEARCH_VERSION = INGREDIENTS_VERSION = 1
AGAIN = "delete it, and run the study again, which writes a new one"


class SearchState(Schema):
    """`search.json`: how a search ended. `asked` is its number of proposals; `stopped` is the reason for an end before
    the budget, else None. Proposals depend on `at_once`, the number of trials in parallel.
    """

    strategy: str
    budget: int
    asked: int
    stopped: str | None = None
    at_once: int = 1


class CorpusFacts(Schema):
    """Counts of a prepared corpus: of its training documents, of the held-out ones, and of those that are in neither
    part, because they are copies or near-copies of held-out ones.

    `blocks` are the packed training sequences that trials draw from. `files` are the documents' local files, if any.
    `special_strings` counts the strings of the tokenizer's special tokens in the text, which are read as text, and
    `borders_inside` the documents with a token of the text that is the same as one between documents; both and the
    copies are None in files of older versions, which did not look for them. `bos` and `eos`: whether documents begin
    with BOS and end with end-of-text. `fingerprint` identifies text, tokenizer, block length and split together.
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
    copies: int | None = None
    copied_tokens: int | None = None
    near_copies: int | None = None
    near_copied_tokens: int | None = None
    special_strings: int | None = None
    borders_inside: int | None = None
    bos: bool = False
    eos: bool = True
    files: tuple[str, ...] = ()

    @property
    def held_out_share(self) -> float:
        """The held-out part of all tokens of the corpus."""
        dropped = (self.copied_tokens or 0) + (self.near_copied_tokens or 0)
        return self.held_out_tokens / (self.tokens + self.held_out_tokens + dropped)

    @property
    def dropped(self) -> str:
        """The counts of copies and near-copies, for messages."""
        exact, near = self.copies or 0, self.near_copies or 0
        tokens = (self.copied_tokens or 0) + (self.near_copied_tokens or 0)
        return (
            f"{exact:,} {'copy' if exact == 1 else 'copies'} and {near:,} near-{'copy' if near == 1 else 'copies'} of "
            f"held-out documents ({tokens:,} tokens)"
        )

    @property
    def tokens_per_document(self) -> float:
        return self.tokens / self.documents


class Ingredients(Schema):
    """`ingredients.json`: the prepared model and corpora of all trials of a run.

    `base_model` is a directory or Hugging Face id, `folders` the path of each packed corpus, which every worker
    can open, by the name of its source: the language where it has no other. Fingerprints identify content: a path may
    stay the same while its content changes. `commits` are those of what is on the hub, by source and for `base_model`,
    for a resume that cannot reach it.
    """

    base_model: str
    base_model_fingerprint: str
    folders: dict[str, str]
    corpora: dict[str, CorpusFacts]
    commits: dict[str, str] = Field(default_factory=dict)

    def fingerprints(self) -> dict[str, str]:
        corpora = {f"corpora.{name}": facts.fingerprint for name, facts in self.corpora.items()}
        return {"base_model": self.base_model_fingerprint} | corpora


def read_search(path: Path) -> SearchState | None:
    """A `search.json`; None before a search. Raises InputError where it cannot be read."""
    try:
        return reader.read(path, SearchState, "search state", SEARCH_VERSION, AGAIN)
    except FileNotFoundError:
        return None


def read_ingredients(path: Path) -> Ingredients | None:
    """An `ingredients.json`; None where there is none. Raises InputError where it cannot be read."""
    try:
        return reader.read(path, Ingredients, "list of ingredients", INGREDIENTS_VERSION, AGAIN)
    except FileNotFoundError:
        return None
