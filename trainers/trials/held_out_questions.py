"""Held-out conversations put to a model: does it answer right, in the language of the true answer, and does it stop?

Each turn of the assistant is a question of its own, after the true turns before it. Answers are greedy.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainers.data.conversations.messages import MESSAGES, Message
from trainers.data.conversations.rendering import ChatRenderer, applied
from trainers.data.hold_out import held_out_texts
from trainers.trials.answer_counts import AnswerCounts, AnswerExample

NEW_TOKENS = 64  # of an answer, at most
AT_ONCE = 16
EXAMPLES = 3  # answers that are kept to be read


def ask(model: Path, corpora: Mapping[str, Path], most: int | None = None) -> dict[str, AnswerCounts]:
    """Ask the model about the held-out conversations of packed corpora, by their names; of each at most `most`.

    `model` is a Hugging Face directory whose tokenizer has a chat template.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(model, local_files_only=True)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, local_files_only=True, dtype=torch.float32)
    asking = _Asking(loaded.eval(), tokenizer, ChatRenderer.of(tokenizer).stop)
    return {name: _counted(asking, list(_questions(folder))[:most]) for name, folder in corpora.items()}


def _questions(folder: Path) -> Iterator[tuple[list[Message], str]]:
    """What comes before each turn of the assistant, and the turn."""
    with (folder / held_out_texts.FILE).open(encoding="utf-8") as lines:  # `splitlines` would cut texts at U+2028 too
        for messages in (json.loads(line)[MESSAGES] for line in lines):
            for at, message in enumerate(messages):
                if message["role"] == "assistant":
                    yield messages[:at], message["content"]


def _counted(asking: _Asking, questions: Sequence[tuple[list[Message], str]]) -> AnswerCounts:
    given = [
        answer for first in range(0, len(questions), AT_ONCE) for answer in asking(questions[first : first + AT_ONCE])
    ]
    pairs = [(true, text) for (_, true), (text, _) in zip(questions, given, strict=True)]
    examples = [
        AnswerExample(question=before[-1]["content"], true=true, given=text)
        for (before, true), (text, _) in list(zip(questions, given, strict=True))[:EXAMPLES]
    ]
    return AnswerCounts(
        asked=len(questions),
        right=sum(_plain(true) == _plain(text) for true, text in pairs),
        in_language=sum(script(true) == script(text) for true, text in pairs),
        stopped=sum(stopped for _, stopped in given),
        examples=tuple(examples),
    )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def script(text: str) -> str:
    """The script of most letters, as Unicode names it: LATIN, CJK, CYRILLIC. Empty where there is no letter."""
    names = (unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    return next((name for name, _ in Counter(names).most_common(1)), "")


class _Asking:
    """A model that answers several questions at once."""

    def __init__(self, model: Any, tokenizer: Any, stop: int) -> None:
        self.model, self.tokenizer, self.stop = model, tokenizer, stop
        self.longest = getattr(model.config, "max_position_embeddings", None) or 10**6

    @torch.inference_mode()
    def __call__(self, questions: Sequence[tuple[list[Message], str]]) -> list[tuple[str, bool]]:
        """The text of each answer, and whether it stopped by itself. One with less room than others is asked alone: all
        that are asked at once get as many tokens.
        """
        prompts = [self._ids(before) for before, _ in questions]
        short = [at for at, prompt in enumerate(prompts) if len(prompt) + NEW_TOKENS <= self.longest]
        groups = [group for group in (short, *([at] for at in range(len(prompts)) if at not in short)) if group]
        given = [zip(group, self._answered([prompts[at] for at in group]), strict=True) for group in groups]
        return [answer for _, answer in sorted(itertools.chain.from_iterable(given))]

    def _answered(self, prompts: Sequence[list[int]]) -> list[tuple[str, bool]]:
        width = max(map(len, prompts))
        ids = torch.tensor([[self.stop] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        new = max(1, min(NEW_TOKENS, self.longest - width))
        answers = self.model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=new,
            do_sample=False,
            eos_token_id=self.stop,
            pad_token_id=self.stop,
        )
        return [self._read(answer[width:].tolist()) for answer in answers]

    def _ids(self, messages: list[Message]) -> list[int]:
        found = applied(self.tokenizer, messages, tokenize=True, return_dict=True, add_generation_prompt=True)
        return list(found["input_ids"])[-self.longest + 1 :]

    def _read(self, ids: list[int]) -> tuple[str, bool]:
        stopped = self.stop in ids
        return self.tokenizer.decode(ids[: ids.index(self.stop)] if stopped else ids, skip_special_tokens=True), stopped
