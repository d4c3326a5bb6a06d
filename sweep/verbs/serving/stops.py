"""Texts at which an answer ends (`stop` of a request): they end it, and are no part of it, as in OpenAI's interface.

The handlers of `transformers serve` end an answer at such a text too, but leave it in the answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import torch
from fastapi import HTTPException, Request
from tokenizers.decoders import DecodeStream
from transformers import StoppingCriteria
from transformers.cli.serving.utils import GenerateManager

LOOK_SECONDS = 0.2  # between looks whether a client is still there
CRITERIA = "stopping_criteria"  # the argument of generate() that they are handed on as


def texts_of(body: dict[str, Any]) -> list[str]:
    """Raises HTTPException for what is neither a text nor a list of texts."""
    given = body.get("stop")
    found = [given] if isinstance(given, str) else given or []
    if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        raise HTTPException(400, "stop: give a text, or a list of texts, none of them empty")
    return found


def first(text: str, stops: list[str]) -> int:
    """Where the first of the stops begins; -1 where there is none."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=-1)


def open_end(text: str, stops: list[str]) -> int:
    """How many characters at the end of a text may be the beginning of a stop."""
    longest = min(len(text), max(map(len, stops), default=1) - 1)
    return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in stops)), 0)


class StopTexts(StoppingCriteria):
    """Ends the answer to a prompt of `prompt` tokens once its text holds one of the stops."""

    def __init__(self, stops: list[str], tokenizer: Any, prompt: int) -> None:
        self.stops, self.words, self.read = stops, tokenizer._tokenizer, prompt
        self.stream, self.tail = DecodeStream([], skip_special_tokens=True), ""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **more: Any) -> Any:
        for number in input_ids[0, self.read :].tolist():
            self.tail += self.stream.step(self.words, number) or ""
        self.read = input_ids.shape[-1]
        ends = first(self.tail, self.stops) >= 0
        self.tail = self.tail[-max(map(len, self.stops)) :]
        return torch.tensor([ends], device=input_ids.device)


class ClientLeft(StoppingCriteria):
    """Ends an answer that nobody waits for any more: others do. A streamed one the handlers end themselves."""

    stops: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.gone = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **more: Any) -> Any:
        return torch.tensor([self.gone], device=input_ids.device)

    async def watch(self, request: Request) -> None:
        """Until the client has left."""
        while not await request.is_disconnected():
            await asyncio.sleep(LOOK_SECONDS)
        self.gone = True


class StoppedQueue:
    """The parts of a streamed answer up to the first stop; an end that may begin one waits for the next part."""

    def __init__(self, queue: asyncio.Queue[Any], stops: list[str]) -> None:
        self.queue, self.stops, self.held, self.stopped = queue, stops, "", False
        self.ready: deque[Any] = deque()

    async def get(self) -> Any:
        while not self.ready:
            self._take(await self.queue.get())
        return self.ready.popleft()

    def get_nowait(self) -> Any:
        while not self.ready:
            self._take(self.queue.get_nowait())
        return self.ready.popleft()

    def _take(self, item: Any) -> None:
        if type(item) is not str:  # the end, a fault, or a part that is no text of the answer
            self._give(self.held)
            self.held = ""
            self.ready.append(item)
        elif not self.stopped:
            text = self.held + item
            at = first(text, self.stops)
            self.stopped = at >= 0
            waiting = 0 if self.stopped else open_end(text, self.stops)
            until = at if self.stopped else len(text) - waiting
            self.held = "" if self.stopped else text[until:]
            self._give(text[:until])

    def _give(self, text: str) -> None:
        if text:
            self.ready.append(text)


class StoppingManager(GenerateManager):
    """Heeds StopTexts among the inputs of a generation."""

    def generate_streaming(self, model: Any, processor: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        queue, streamer = super().generate_streaming(model, processor, inputs, *given, **named)
        return (StoppedQueue(queue, _stops(inputs)) if _stops(inputs) else queue), streamer

    async def generate_non_streaming(
        self, model: Any, processor: Any, inputs: dict[str, Any], *given: Any, **named: Any
    ) -> Any:
        text, prompt, ids = await super().generate_non_streaming(model, processor, inputs, *given, **named)
        at = first(text, _stops(inputs))
        return (text if at < 0 else text[:at]), prompt, ids


def _stops(inputs: dict[str, Any]) -> list[str]:
    return [text for one in inputs.get(CRITERIA) or () for text in one.stops]
