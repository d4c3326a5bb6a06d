"""Answers on this machine by the handlers of `transformers serve`, for one model that is loaded already.

What they lack is added: the length of the model, sampling where a temperature is given, the end of a turn, one fixed
model, and a refusal of what they would ignore or fail at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from fastapi import HTTPException
from jinja2 import TemplateError
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.utils import BaseHandler, GenerateManager, GenerationState, Modality

from sweep.study.errors import one_line
from sweep.verbs.serving import template

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
NO_MANAGER: Any = None  # of models that come and go
AS_USUAL: dict[str, Any] = {"n": 1}  # fields whose usual value changes nothing


@dataclass
class LoadedModel:
    """`length`: tokens of prompt and answer together, at most. `ends`: the ids at which an answer ends."""

    name: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    length: int
    ends: list[int]
    manager: Any = field(default_factory=GenerateManager, repr=False)

    def prompt(self, body: dict[str, Any]) -> list[int]:
        """The ids of a request's prompt. Raises HTTPException for what cannot be read."""
        self._refuse(body)
        try:
            ids = self._chat(body) if "messages" in body else self._text(body)
        except (KeyError, TypeError, ValueError, AttributeError, TemplateError) as error:
            raise HTTPException(400, f"the prompt could not be read ({one_line(error)})") from None
        if not 0 < len(ids) < self.length:
            raise HTTPException(400, f"the prompt has {len(ids)} tokens: 1 to {self.length - 1} leave room to answer")
        return ids

    def _refuse(self, body: dict[str, Any]) -> None:
        if body.get("model") not in (None, self.name):
            raise HTTPException(404, f"the model {body['model']!r} is not served here: ask for {self.name!r}")
        unknown = {name for name, value in body.items() if name not in FIELDS and value and value != AS_USUAL.get(name)}
        if unknown:
            raise HTTPException(400, f"{', '.join(sorted(unknown))}: not supported here: leave it out")

    def _chat(self, body: dict[str, Any]) -> list[int]:
        if not self.tokenizer.chat_template:
            raise HTTPException(400, f"{self.name} has no chat template: ask /v1/completions")
        messages = BaseHandler.get_processor_inputs_from_messages(body["messages"], Modality.LLM)
        return template.prompt_ids(self.tokenizer, messages, body.get("tools"))

    def _text(self, body: dict[str, Any]) -> list[int]:
        if not isinstance(body["prompt"], str):
            raise TypeError("prompt has to be a text")
        return list(self.tokenizer(body["prompt"])["input_ids"])

    async def answer(self, handler: Any, body: dict[str, Any], request_id: str) -> Any:
        ids = self.prompt(body)
        rows = torch.tensor([ids], device=self.model.device)
        inputs = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
        settings = self._settings(handler, body, len(ids))
        given = (request_id, self.model, self.tokenizer, self.name, inputs, settings)
        if body.get("stream"):
            return handler._streaming(*given, gen_manager=self.manager)
        return await handler._non_streaming(*given, gen_manager=self.manager)

    def _settings(self, handler: Any, body: dict[str, Any], prompt: int) -> Any:
        try:
            settings = handler._build_generation_config(body, self.model.generation_config)
            most = min(int(settings.max_new_tokens), self.length - prompt)
        except (TypeError, ValueError, AttributeError) as error:
            raise HTTPException(400, f"a setting could not be read ({one_line(error)})") from None
        if most < 1:
            raise HTTPException(400, "max_tokens: give at least 1")
        settings.max_new_tokens, settings.max_length = most, None
        settings.eos_token_id, settings.pad_token_id = self.ends or None, (self.ends or [0])[0]
        if body.get("temperature"):
            settings.do_sample = True  # which they leave as the model's own settings have it
        return settings


class ChatAnswers(ChatCompletionHandler):
    """/v1/chat/completions"""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(model_manager=NO_MANAGER, generation_state=GenerationState())
        self.loaded = loaded

    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        return await self.loaded.answer(self, body, request_id)


class TextAnswers(CompletionHandler):
    """/v1/completions"""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(model_manager=NO_MANAGER, generation_state=GenerationState())
        self.loaded = loaded

    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        return await self.loaded.answer(self, body, request_id)
