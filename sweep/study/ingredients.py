"""Two files of a run directory: the prepared model and corpora of its trials, and the state of its search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from sweep.study.fields import LARGEST_COUNT, Schema
from sweep.study.files import reader
from sweep.study.numbers import number

SEARCH_VERSION = INGREDIENTS_VERSION = 1
NEW_ROWS_FILE = "new_rows.json"  # beside the weights of a model that was given rows for another tokenizer
OTHER_TOKENIZER = "losses per token of two tokenizers do not compare, bits per byte do"
AGAIN = "delete it, and run the study again, which writes a new one"


Amount = Annotated[int, Field(gt=0, le=LARGEST_COUNT)]
Natural = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]


class SearchState(Schema):
    """`search.json`: how a search ended. `budget` is in `unit`: trials, tokens or gpu_hours. `asked` is its number of
    proposals; `stopped` is the reason for an end before the budget, else None. Proposals depend on `at_once`, the
    number of trials in parallel.
    """

    strategy: str
    budget: int | float = Field(ge=0)
    unit: str = "trials"
    asked: int = Field(ge=0)
    stopped: str | None = None
    at_once: int = Field(default=1, ge=1)


class ConversationFacts(Schema):
    """Counts of prepared conversations: `targets` are the tokens that are predicted, in training and in held-out ones;
    `filled_tokens` of the training blocks repeat beginnings of conversations, so that no block has padding. `longer`
    conversations did not fit a sequence and lost `cut_tokens` at their ends.
    """

    targets: Amount
    held_out_targets: Amount
    held_out_bytes_per_target: float
    filled_tokens: Natural
    longer: Natural
    cut_tokens: Natural


class CorpusFacts(Schema):
    """Counts of a prepared corpus: of its training documents, of the held-out ones, and of those that are in neither
    part, because they are copies or near-copies of held-out ones.

    `blocks` are the packed training sequences that trials draw from. `files` are the documents' local files, if any.
    `special_strings` counts the strings of the tokenizer's special tokens in the text, which are read as text, and
    `borders_inside` the documents with a token of the text that is the same as one between documents; both and the
    copies are None in files of older versions, which did not look for them; near-copies also where they are kept.
    `bos` and `eos`: whether documents begin with BOS and end with end-of-text. `fingerprint` identifies text,
    tokenizer, block length and split together. `counted` is False where nothing was read, and the counts are those that
    the study states, as of a replay. `trial_blocks`: how many of `blocks` trials draw
    from, where the study limits that. `conversations`: what there is more of stage `sft`.
    """

    fingerprint: str
    documents: Amount
    tokens: Amount
    bytes: Amount
    blocks: Natural
    held_out_documents: Natural
    held_out_tokens: Natural
    held_out_bytes: Natural
    held_out_blocks: Natural
    copies: Natural | None = None
    copied_tokens: Natural | None = None
    near_copies: Natural | None = None
    near_copied_tokens: Natural | None = None
    special_strings: Natural | None = None
    borders_inside: Natural | None = None
    bos: bool = False
    eos: bool = True
    files: tuple[str, ...] = ()
    counted: bool = True
    trial_blocks: Amount | None = None
    conversations: ConversationFacts | None = None

    def drawn_from(self, blocks: float) -> Self:
        """With the number of training blocks that trials draw from: at least one, and no more than there are."""
        return self.model_copy(update={"trial_blocks": min(self.blocks, max(1, round(blocks)))})

    @property
    def read_blocks(self) -> int:
        """The training blocks that trials draw from."""
        return self.trial_blocks or self.blocks

    @property
    def held_out_bytes_per_token(self) -> float:
        """Of the tokens that are predicted."""
        of = self.conversations
        return of.held_out_bytes_per_target if of else self.held_out_bytes / self.held_out_tokens

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


class BaseLoss(Schema):
    """The base model on a sample of one language's held-out text: loss in nats per token, over `tokens` tokens.

    `bits_per_byte_before`: with the tokenizer and rows that the model had before it was given new ones.
    """

    loss: float
    bits_per_byte: float
    tokens: int
    bits_per_byte_before: float | None = None

    def __str__(self) -> str:
        before = self.bits_per_byte_before
        own = "" if before is None else f"; with its own tokenizer {number(before)}"
        return f"{number(self.loss)} nats per token ({number(self.bits_per_byte)} bits per byte{own}), on a sample"


class BaseModelCheck(Schema):
    """What was found when the base model was looked at before the first trial. A broken model is refused and has none.

    `losses` are by language; where they could not be measured, `unmeasured` says why. `new_rows`: tokens that were
    given the mean row, out of `tokens` of the tokenizer.
    """

    rows: int
    tokens: int
    parameters: int
    new_rows: int = 0
    losses: dict[str, BaseLoss] = Field(default_factory=dict)
    unmeasured: str | None = None
    warnings: tuple[str, ...] = ()

    def lines(self, name: Callable[[str], str]) -> list[str]:
        """What was found, for a person; `name` gives the user's word for a language."""
        said = [f"base model: loss of {name(part)} {found}" for part, found in self.losses.items()]
        said += [f"base model: its loss is not measured yet: {self.unmeasured}"] if self.unmeasured else []
        return [*said, *self._vocabulary(), *(f"warning: base model: {warning}" for warning in self.warnings)]

    def _vocabulary(self) -> list[str]:
        rows = f"base model: {self.new_rows:,} of {self.tokens:,} tokens have new rows, the mean of all"
        if any(found.bits_per_byte_before is not None for found in self.losses.values()):
            return [f"{rows}; {OTHER_TOKENIZER}"]
        return [rows] if self.new_rows else []


class SameText(Schema):
    """A user's statement that the text is the same although its files moved, grew or were compressed anew.

    Before it, trials were trained with the recipe of fingerprint `recipe` on the corpora of the fingerprints `corpora`,
    by source, in these `folders`. `base_losses`: the base model's held-out loss (nats per token) then and now.
    """

    reason: str
    recipe: str
    corpora: dict[str, str]
    folders: dict[str, str]
    base_losses: dict[str, tuple[float, float]] = Field(default_factory=dict)


class Ingredients(Schema):
    """`ingredients.json`: the prepared model and corpora of all trials of a run.

    `base_model` is a directory, `folders` the path of each packed corpus, which every worker can open, by the name of
    its source: the language where it has no other. Fingerprints identify content: a path may stay the same while its
    content changes. `commits` are those of what is on the hub, by source, for `base_model` and its tokenizer, for a
    resume. `base_check`: None in a run from before base models were looked at. `same_text`: what the user stated, the
    oldest first.
    """

    base_model: str
    base_model_fingerprint: str
    folders: dict[str, str]
    corpora: dict[str, CorpusFacts]
    commits: dict[str, str] = Field(default_factory=dict)
    base_check: BaseModelCheck | None = None
    same_text: tuple[SameText, ...] = ()

    @property
    def held_out_again(self) -> dict[str, str]:
        """By source, the folder of the packed corpus whose held-out documents are held out of the text of now too."""
        return self.same_text[0].folders if self.same_text else {}

    @property
    def recipes(self) -> set[str]:
        """The fingerprints of the recipes before each statement."""
        return {statement.recipe for statement in self.same_text}

    def with_check_of(self, earlier: Ingredients | None) -> Ingredients:
        """With the losses that a run measured before, perhaps on a GPU, where model and text are still the same."""
        same = earlier and earlier.base_check and earlier.contents() == self.contents()
        return self.model_copy(update={"base_check": earlier.base_check}) if earlier and same else self

    def contents(self) -> dict[str, str]:
        """The fingerprints of model and corpora."""
        corpora = {f"corpora.{name}": facts.fingerprint for name, facts in self.corpora.items()}
        return {"base_model": self.base_model_fingerprint} | corpora

    def fingerprints(self) -> dict[str, str]:
        """Those of what trials read: of the contents, and the size of the part of a corpus that they draw from."""
        parts = {name: facts.trial_blocks for name, facts in self.corpora.items() if facts.trial_blocks}
        return self.contents() | {f"corpora.{name}.trial_blocks": str(blocks) for name, blocks in parts.items()}


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
