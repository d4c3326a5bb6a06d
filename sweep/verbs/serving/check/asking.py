"""What the official openai client is answered, greedily, whole or streamed, with the times of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

REQUEST_SECONDS = 600.0
UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # of a character whose last bytes were cut off


@dataclass(frozen=True)
class AskedQuestion:
    """A question of a conversation, or, of a model without a chat template, a text to go on with."""

    language: str
    text: str
    chat: bool = True

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [{"role": "user", "content": self.text}]


@dataclass(frozen=True)
class ServedAnswer:
    """`finish`: stop or length. `first_seconds`: to the first text of a streamed answer."""

    text: str
    finish: str | None
    prompt_tokens: int
    tokens: int
    seconds: float
    first_seconds: float | None = None

    def like(self, other: ServedAnswer) -> bool:
        """Whether the texts are equal; a character that the end cut off may be missing from one of them."""
        return self.text.rstrip(UNFINISHED) == other.text.rstrip(UNFINISHED)


@dataclass(frozen=True)
class Client:
    """`openai`: the client; `model`: the name that is served."""

    openai: Any
    model: str

    def whole(self, question: AskedQuestion, most: int) -> ServedAnswer:
        began = time.perf_counter()
        made = self._create(question, most, stream=False)
        seconds = time.perf_counter() - began
        choice, used = made.choices[0], made.usage
        text = (choice.message.content if question.chat else choice.text) or ""
        return ServedAnswer(text, choice.finish_reason, used.prompt_tokens, used.completion_tokens, seconds)

    def streamed(self, question: AskedQuestion, most: int) -> ServedAnswer:
        began = time.perf_counter()
        parts, finish, used, first = [], None, None, None
        for event in self._create(question, most, stream=True, stream_options={"include_usage": True}):
            used = event.usage or used
            for choice in event.choices:
                part = choice.delta.content if question.chat else choice.text
                finish = choice.finish_reason or finish
                if part:
                    first = first or time.perf_counter() - began
                    parts.append(part)
        seconds = time.perf_counter() - began
        asked, answered = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        return ServedAnswer("".join(parts), finish, asked, answered, seconds, first)

    def _create(self, question: AskedQuestion, most: int, **more: Any) -> Any:
        settings: dict[str, Any] = {"model": self.model, "max_tokens": most, "temperature": 0, **more}
        if question.chat:
            return self.openai.chat.completions.create(messages=question.messages, **settings)
        return self.openai.completions.create(prompt=question.text, **settings)

    def prompt_ids(self, question: AskedQuestion) -> list[int] | None:
        """As the server reads it (/tokenize, of vLLM and ours); None where it has no such path."""
        from openai import APIStatusError

        asked = {"messages": question.messages} if question.chat else {"prompt": question.text}
        root = str(self.openai.base_url).rstrip("/").removesuffix("/v1")
        try:
            answer = self.openai.post(
                f"{root}/tokenize", body={"model": self.model, "add_generation_prompt": True, **asked}, cast_to=object
            )
        except APIStatusError:
            return None
        return list(answer["tokens"])
