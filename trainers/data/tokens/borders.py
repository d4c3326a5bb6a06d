"""The special tokens at the borders of documents, and where documents begin in a stream of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sweep.study import InputError
from sweep.study.sections.text.documents import Documents

PROBES = ("a", "1", "天")  # a tokenizer may drop letters that it does not know


@dataclass(frozen=True)
class Borders:
    """`before` and `after` are the ids before and after the text of each document; empty: none."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @staticmethod
    def of(tokenizer: Any, documents: Documents) -> Borders:
        """As the study states, and with `auto` as the tokenizer itself begins a text. Raises InputError where it lacks
        a token.
        """
        if documents.eos and tokenizer.eos_token_id is None:
            raise InputError(
                "documents.eos: the base model's tokenizer has no end-of-text token to separate documents with: set "
                "eos_token in its tokenizer_config.json, or write eos: false"
            )
        own = _prefix(tokenizer)
        if documents.bos is True and not own and tokenizer.bos_token_id is None:
            raise InputError("documents.bos: true, but the base model's tokenizer has no BOS token: write auto")
        before = own if documents.bos == "auto" else own or (tokenizer.bos_token_id,) if documents.bos else ()
        return Borders(before, (tokenizer.eos_token_id,) if documents.eos else ())

    @property
    def ids(self) -> list[int]:
        return [*self.before, *self.after]

    def starts(self, tokens: Any) -> Any:
        """Which tokens but the first are the first of a document: (sequences, length - 1), of an array or a tensor.

        Where documents have both, it takes both: a tokenizer may have one token for both, which also begins a block.
        """
        ended = tokens[:, :-1] == self.after[-1] if self.after else None
        begun = tokens[:, 1:] == self.before[0] if self.before else None
        if ended is None or begun is None:
            return begun if ended is None else ended
        return ended & begun


def _prefix(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the tokenizer puts before a text by itself."""
    whole: list[int] = []
    for probe in PROBES:
        whole, text = (tokenizer(probe, add_special_tokens=special)["input_ids"] for special in (True, False))
        starts = [i for i in range(len(whole) - len(text) + 1) if whole[i : i + len(text)] == text]
        if text and starts:
            return tuple(whole[: starts[0]])
    special = {*tokenizer.all_special_ids} - {tokenizer.eos_token_id}
    return tuple(takewhile(special.__contains__, whole))
