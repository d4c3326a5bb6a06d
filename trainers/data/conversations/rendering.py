"""Conversations as token ids under a chat template, and which of them are targets.

Targets are the assistant's turns with their end-of-turn token. A template with `{% generation %}` markers says where
they are. Of any other they are found by its prefix property: the ids of the messages before a turn, with what opens the
assistant's, are those that the ids with that turn begin with. A template that has neither is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.study import fingerprint_of
from trainers.data.conversations import template_date
from trainers.data.conversations.messages import Message
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer

VERSION = 1  # of ids and targets: raise it where the same conversation would give others
FIELD = "documents.chat_template"
MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
PROBE: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
MARK_THEM = "put {% generation %} markers around the assistant's turns in a template of your own, or write chatml"
REWRITTEN = f"writes an earlier turn otherwise once others follow, so the targets cannot be told: {MARK_THEM}"
JOINED = (
    f"opens the assistant's turn with what joins the answer in one token, or leaves it out of the turn: {MARK_THEM}"
)
ALTERNATING = "correct its roles, or give another template"


class UnsuitedError(ValueError):
    """A conversation that a template does not write, or of which it does not tell the targets."""


def applied(tokenizer: Any, messages: list[Message], **options: Any) -> Any:
    """A conversation by the tokenizer's template. Raises UnsuitedError for whatever the template raises: it is a
    program of the user's, which transformers runs in a sandbox of Jinja.
    """
    if fault := template_date.fault(tokenizer):
        raise UnsuitedError(fault)
    try:
        return tokenizer.apply_chat_template(messages, **template_date.options(tokenizer), **options)
    except Exception as error:
        raise UnsuitedError(f"the chat template says: {one_line(error, 120) or 'no reason'}: {ALTERNATING}") from None


@dataclass(frozen=True)
class Rendered:
    """The token ids of a conversation, and whether each is a target."""

    ids: list[int]
    targets: list[bool]


@dataclass(frozen=True)
class ChatRenderer:
    """A tokenizer of transformers that has a chat template."""

    tokenizer: Any

    @staticmethod
    def of(tokenizer: Any) -> ChatRenderer:
        """Raises InputError for a tokenizer without a template, and for a template whose targets cannot be told."""
        if not tokenizer.chat_template:
            raise InputError(
                f"{FIELD}: the base model's tokenizer has no chat template: write chatml, or the path of a .jinja file"
            )
        found = ChatRenderer(tokenizer)
        try:
            found.render(PROBE)
        except UnsuitedError as error:
            raise InputError(f"{FIELD}: {error}") from None
        return found

    @property
    def dated(self) -> bool:
        """Whether the template writes a date, which is then always the same."""
        return template_date.is_dated(self.tokenizer)

    @property
    def key(self) -> str:
        """Identifies the template, as a part of the key of what was rendered."""
        dated = [str(template_date.DATE)] if self.dated else []
        return fingerprint_of([VERSION, self.tokenizer.chat_template, *dated])

    @property
    def stop(self) -> int:
        """The token that ends an assistant's turn, and a generation."""
        probe = self.render(PROBE)
        return max(zip(range(len(probe.ids)), probe.targets, probe.ids, strict=True), key=lambda at: (at[1], at[0]))[2]

    def render(self, messages: list[Message]) -> Rendered:
        """The whole conversation. Raises UnsuitedError where the template refuses it or does not tell its targets."""
        spans = self._marked(messages) if self._has_markers else self._by_prefix(messages)
        ids, turns = spans
        targets = [False] * len(ids)
        for first, end in turns:
            targets[first:end] = [True] * (end - first)
        return Rendered(ids, targets)

    @cached_property
    def special(self) -> frozenset[int]:
        """The tokens that can end a turn."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset({*self.tokenizer.all_special_ids, *(number for number, token in added if token.special)})

    def imitates(self, messages: list[Message]) -> bool:
        """Whether a message holds the string of a special token. It would be read as the token: what was said could end
        a turn, or begin one of another role, and the targets would not be what the assistant says.
        """
        return any(self._special_strings.search(message["content"]) for message in messages)

    @cached_property
    def _special_strings(self) -> re.Pattern[str]:
        return TextTokenizer(self.tokenizer, Borders()).special

    @cached_property
    def _has_markers(self) -> bool:
        template = self.tokenizer.chat_template
        text = template if isinstance(template, str) else json.dumps(template)
        return bool(MARKER.search(text)) and bool(self.tokenizer.is_fast)

    def _ids(self, messages: list[Message], **options: Any) -> Any:
        return applied(self.tokenizer, messages, tokenize=True, return_dict=True, **options)

    def _marked(self, messages: list[Message]) -> tuple[list[int], list[tuple[int, int]]]:
        found = self._ids(messages, return_assistant_tokens_mask=True)
        ids, mask = list(found["input_ids"]), [0, *found["assistant_masks"], 0]
        edges = [i for i in range(len(ids) + 1) if mask[i] != mask[i + 1]]
        turns = [(first, self._end(ids, first, end)) for first, end in zip(edges[::2], edges[1::2], strict=True)]
        self._refuse_other_count(messages, len(turns))
        return ids, turns

    def _refuse_other_count(self, messages: list[Message], turns: int) -> None:
        wanted = sum(message["role"] == "assistant" for message in messages)
        if turns != wanted:
            raise UnsuitedError(
                f"the chat template marks {turns} of {wanted} assistant turns by generation: put its markers around "
                f"each of them"
            )

    def _by_prefix(self, messages: list[Message]) -> tuple[list[int], list[tuple[int, int]]]:
        ids, turns = list(self._ids(messages)["input_ids"]), []
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            opened = list(self._ids(messages[:i], add_generation_prompt=True)["input_ids"])
            closed = ids if i == len(messages) - 1 else list(self._ids(messages[: i + 1])["input_ids"])
            end = self._end(closed, len(opened), len(closed))
            if closed[: len(opened)] != opened or ids[:end] != closed[:end]:
                raise UnsuitedError(f"the chat template {self._departure(messages, i)}")
            turns.append((len(opened), end))
        return ids, turns

    def _departure(self, messages: list[Message], turn: int) -> str:
        """Why the ids before a turn are not those that the ids with it begin with."""
        before = applied(self.tokenizer, messages[:turn], tokenize=False, add_generation_prompt=True)
        whole = applied(self.tokenizer, messages, tokenize=False)
        return JOINED if whole.startswith(before) else REWRITTEN

    def _end(self, ids: list[int], first: int, end: int) -> int:
        """Where a turn ends: after its last special token, which may stand just behind what is marked."""
        ends = [at for at in range(first, end) if ids[at] in self.special]
        if ends:
            return ends[-1] + 1
        if end < len(ids) and ids[end] in self.special:
            return end + 1
        raise UnsuitedError(
            "the chat template ends the assistant's turn without a special token, so a generation would not stop: end "
            "the turn with eos_token"
        )
