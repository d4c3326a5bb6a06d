"""Pairs as token ids: prompt and answers under the model's chat template, as `trl` tokenises them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainers.data.conversations.rendering import applied
from trainers.preference.pairs import Message, Pair


@dataclass(frozen=True)
class PairTokens:
    """Token ids of a prompt and of two answers that follow it. Each row of a trial is the prompt with one of them."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def longest(self) -> int:
        """The tokens of the longer row."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def tokens(self) -> int:
        """Of both rows together."""
        return 2 * len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)


def tokens_of(tokenizer: Any, pair: Pair) -> PairTokens:
    """The ids of a pair. `tokenizer`: of transformers, with a chat template.

    An answer begins where the whole row departs from the prompt alone with the template's opening of the next turn.
    Some templates write a prompt alone in another way; what differs then belongs to the answers. Raises UnsuitedError
    where the template refuses a conversation.
    """
    prompt = _ids(tokenizer, pair.prompt, opened=True)
    chosen, rejected = (_ids(tokenizer, pair.prompt + answer) for answer in (pair.chosen, pair.rejected))
    shared = min(_common(prompt, chosen), _common(prompt, rejected))
    return PairTokens(prompt[:shared], chosen[shared:], rejected[shared:])


def _ids(tokenizer: Any, messages: list[Message], opened: bool = False) -> list[int]:
    found = applied(tokenizer, messages, add_generation_prompt=opened, tokenize=True, return_dict=True)
    ids: list[int] = list(found["input_ids"])
    return ids


def _common(one: list[int], other: list[int]) -> int:
    """The number of ids that both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
