"""Answers on this machine by the handlers of `transformers serve`, for one model that is loaded already.

What they lack is added: the length of the model, sampling where a temperature is given, the end of a turn, one fixed
model, and a refusal of what they would ignore or fail at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import torch
from fastapi import HTTPException
from jinja2 import TemplateError
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteriaList
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.utils import BaseHandler, GenerationState, Modality

from sweep.study.errors import one_line
from sweep.verbs.serving import stops, template
from sweep.verbs.serving.stops import ClientLeft, StoppingManager, StopTexts

FIELDS = {
    "model",
    "messages",
    "prompt",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "frequency_penalty",
    "logit_bias",
    "tools",
    "user",
}
MOST = 200  # letters of a request that an answer repeats
NO_MANAGER: Any = None  # of models that come and go
GREEDY = 1e-5  # a temperature below it chooses the likeliest token, as in vLLM: by dividing, logits would overflow
MOST_BIAS = 100  # of a logit, as OpenAI's interface has it: an infinite one leaves no probabilities
RANGES = {"temperature": (0, 100), "top_p": (0, 1), "frequency_penalty": (-0.99, 2)}  # at -1 transformers fails
SEEDS = (-(2**63), 2**64 - 1)  # that torch takes
AS_USUAL: dict[str, Any] = {"n": 1}  # fields whose usual value changes nothing


@dataclass
class LoadedModel:
    """`length`: tokens of prompt and answer together, at most. `ends`: the ids at which an answer ends."""

    name: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    length: int
    ends: list[int]
    manager: Any = field(default_factory=StoppingManager, repr=False)

    def prompt(self, body: dict[str, Any]) -> list[int]:
        """The ids of a request's prompt. Raises HTTPException for what cannot be read."""
        self._refuse(body)
        try:
            ids = self._chat(body) if "messages" in body else self._text(body)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, TemplateError) as error:
            raise HTTPException(400, f"the prompt could not be read ({one_line(error)})") from None
        if not 0 < len(ids) < self.length:
            raise HTTPException(400, f"the prompt has {len(ids)} tokens: 1 to {self.length - 1} leave room to answer")
        return ids

    def _refuse(self, body: dict[str, Any]) -> None:
        if body.get("model") not in (None, self.name):
            raise HTTPException(
                404, f"the model {str(body['model'])[:MOST]!r} is not served here: ask for {self.name!r}"
            )
        unknown = {name for name, value in body.items() if name not in FIELDS and value and value != AS_USUAL.get(name)}
        if unknown:
            raise HTTPException(400, f"{', '.join(sorted(unknown))[:MOST]}: not supported here: leave it out")

    def _chat(self, body: dict[str, Any]) -> list[int]:
        if not self.tokenizer.chat_template:
            raise HTTPException(400, f"{self.name} has no chat template: ask /v1/completions")
        for message in body["messages"]:
            _refuse_what_is_no_text(message.get("content"))
        messages = BaseHandler.get_processor_inputs_from_messages(body["messages"], Modality.LLM)
        return template.prompt_ids(self.tokenizer, messages, body.get("tools"))

    def _text(self, body: dict[str, Any]) -> list[int]:
        if not isinstance(body["prompt"], str):
            raise TypeError("prompt has to be a text")
        return list(self.tokenizer(body["prompt"])["input_ids"])

    async def answer(self, handler: Any, body: dict[str, Any], request_id: str, left: ClientLeft | None) -> Any:
        ids = await asyncio.to_thread(self.prompt, body)  # a long one takes seconds, and others are to be answered
        rows = torch.tensor([ids], device=self.model.device)
        inputs: dict[str, Any] = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
        ends: list[Any] = [left] if left else []
        if texts := stops.texts_of(body):
            ends.append(StopTexts(texts, self.tokenizer, len(ids)))
        inputs |= {stops.CRITERIA: StoppingCriteriaList(ends)} if ends else {}
        if (seed := _seed(body)) is not None:
            inputs["logits_processor"] = LogitsProcessorList([SeededSampling(seed)])
        settings = self._settings(handler, body, len(ids))
        given = (request_id, self.model, self.tokenizer, self.name, inputs, settings)
        if body.get("stream"):
            found = handler._streaming(*given, gen_manager=self.manager)
            found.body_iterator = _with_end(found.body_iterator)
            return found
        return await handler._non_streaming(*given, gen_manager=self.manager)

    def _given(self, body: dict[str, Any]) -> dict[str, Any]:
        """The fields that the handlers heed. Raises HTTPException for a value at which generation would fail."""
        for name, (least, most) in RANGES.items():
            if body.get(name) is not None and not least <= float(body[name]) <= most:
                raise HTTPException(400, f"{name}: give a number from {least:g} to {most:g}")
        # Heeded by stops.py, and by SeededSampling: the handlers seed torch at once, in the middle of another's answer.
        given = {name: value for name, value in body.items() if name not in ("stop", "seed")}
        if bias := given.pop("logit_bias", None):
            given["logit_bias"] = self._bias(bias)
        if given.get("temperature") and float(given["temperature"]) < GREEDY:
            given["temperature"] = 0.0
        return given

    def _bias(self, given: dict[str, Any]) -> dict[int, float]:
        bias = {int(token): float(value) for token, value in given.items()}
        if not all(0 <= token < self.model.config.vocab_size for token in bias):
            raise HTTPException(400, f"logit_bias: give ids from 0 to {self.model.config.vocab_size - 1}")
        if not all(abs(value) <= MOST_BIAS for value in bias.values()):
            raise HTTPException(400, f"logit_bias: give numbers from -{MOST_BIAS} to {MOST_BIAS}")
        return bias

    def _settings(self, handler: Any, body: dict[str, Any], prompt: int) -> Any:
        try:
            given = self._given(body)
            settings = handler._build_generation_config(given, self.model.generation_config)
            most = min(int(settings.max_new_tokens), self.length - prompt)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise HTTPException(400, f"a setting could not be read ({one_line(error)})") from None
        if most < 1:
            raise HTTPException(400, "max_tokens: give at least 1")
        settings.max_new_tokens, settings.max_length = most, None
        settings.eos_token_id, settings.pad_token_id = self.ends or None, (self.ends or [0])[0]
        if given.get("temperature"):
            settings.do_sample = True  # which they leave as the model's own settings have it
        return settings


class SeededSampling(LogitsProcessor):
    """Seeds torch before the first token of an answer, in the thread that answers one request after another."""

    def __init__(self, seed: int) -> None:
        self.seed: int | None = seed

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self.seed is not None:
            torch.manual_seed(self.seed)
            self.seed = None
        return scores


def _seed(body: dict[str, Any]) -> int | None:
    seed = body.get("seed")
    if seed is not None and not (isinstance(seed, int) and SEEDS[0] <= seed <= SEEDS[1]):
        raise HTTPException(400, "seed: give a whole number of at most 64 bits")
    return seed


def _refuse_what_is_no_text(content: Any) -> None:
    """Parts such as pictures, which the handlers leave out without a word."""
    for part in content if isinstance(content, list) else ():
        if part["type"] != "text":
            raise HTTPException(400, f"a message has a part of type {str(part['type'])[:MOST]}: only text is read here")


async def _with_end(parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The line that ends a stream, which the handlers leave out, and some clients wait for."""
    async for part in parts:
        yield part
    yield "data: [DONE]\n\n"


class ChatAnswers(ChatCompletionHandler):
    """/v1/chat/completions"""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(model_manager=NO_MANAGER, generation_state=GenerationState())
        self.loaded = loaded

    async def handle_request(self, body: dict[str, Any], request_id: str, left: ClientLeft | None = None) -> Any:
        return await self.loaded.answer(self, body, request_id, left)


class TextAnswers(CompletionHandler):
    """/v1/completions"""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(model_manager=NO_MANAGER, generation_state=GenerationState())
        self.loaded = loaded

    async def handle_request(self, body: dict[str, Any], request_id: str, left: ClientLeft | None = None) -> Any:
        return await self.loaded.answer(self, body, request_id, left)
