"""What is checked of a served model, each as a finding with a line that says what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweep.study.errors import printable
from sweep.verbs.serving import template
from sweep.verbs.serving.check.asking import AskedQuestion, Client, ServedAnswer

SHOWN = 60  # letters of an answer in a line


@dataclass(frozen=True)
class ServingFinding:
    """`passed`: None where it could not be looked at, which is no failure."""

    name: str
    passed: bool | None
    detail: str

    @property
    def line(self) -> str:
        verdict = {True: "ok", False: "FAILED", None: "not checked"}[self.passed]
        return f"{self.name}: {verdict}: {self.detail}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of_prompt(client: Client, tokenizer: Any, question: AskedQuestion, answer: ServedAnswer) -> ServingFinding:
    """Whether the server reads the ids that the tokenizer's template renders."""
    wanted = expected_ids(tokenizer, question)
    read = client.prompt_ids(question)
    name = f"{'chat template' if question.chat else 'prompt'}, {question.language}"
    if answer.prompt_tokens != len(wanted):
        counted = f"the server counts {answer.prompt_tokens} tokens, the tokenizer's template renders {len(wanted)}"
        return ServingFinding(name, False, counted)
    if read is None:
        return ServingFinding(
            name, True, f"{len(wanted)} tokens, as many as the template renders; the server names no ids"
        )
    same = read == wanted
    return ServingFinding(
        name, same, f"{len(wanted)} ids, {'as' if same else 'but not those that'} apply_chat_template renders"
    )


def expected_ids(tokenizer: Any, question: AskedQuestion) -> list[int]:
    if question.chat:
        return template.prompt_ids(tokenizer, question.messages)
    return list(tokenizer(question.text)["input_ids"])


def of_end(tokenizer: Any, question: AskedQuestion, answer: ServedAnswer, most: int) -> ServingFinding:
    """Whether the answer ends by itself, and shows no special token."""
    name = f"end of the answer, {question.language}"
    found = next((token for token in special_tokens(tokenizer) if token in answer.text), None)
    if found:
        return ServingFinding(
            name, False, f"the text holds {found}: the server does not stop at it, or does not hide it"
        )
    if answer.finish != "stop":
        why = f"it goes on after {most} tokens ({answer.finish}): it was not trained to end, or the end is not stated"
        return ServingFinding(name, False if question.chat else None, why)
    return ServingFinding(name, True, f"after {answer.tokens} tokens, and no special token in the text")


def special_tokens(tokenizer: Any) -> list[str]:
    """Those that a text would not hold by itself."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return [token for token in dict.fromkeys([*added, *tokenizer.all_special_tokens]) if len(token) > 1]


def of_streaming(question: AskedQuestion, whole: ServedAnswer, streamed: ServedAnswer) -> ServingFinding:
    same = whole.like(streamed) and whole.finish == streamed.finish
    seen = f"{shown(whole.text)} whole, {shown(streamed.text)} streamed"
    detail = f"equal to the whole answer, {len(whole.text)} letters" if same else f"they differ: {seen}"
    return ServingFinding(f"streaming, {question.language}", same, detail)


def of_parallel(
    alone: Sequence[ServedAnswer], together: Sequence[ServedAnswer | Exception], ours: bool
) -> ServingFinding:
    """`alone`: the answer that each of `together` has to equal. `ours`: computes each answer by itself, so that
    anything else is an error; in a batch, sums of another order can choose another token.
    """
    failed = [one for one in together if isinstance(one, Exception)]
    answered = [(one, other) for one, other in zip(alone, together, strict=True) if isinstance(other, ServedAnswer)]
    equal = sum(one.like(other) for one, other in answered)
    if failed:
        reason = printable(str(failed[0]))[:150]
        return ServingFinding(
            "clients at once", False, f"{len(failed)} of {len(together)} were not answered ({reason})"
        )
    detail = f"{len(together)} answered, {equal} of them equal to the answer to one client"
    if equal < len(together) and not ours:
        return ServingFinding(
            "clients at once", True, f"{detail}; in a batch, sums of another order can choose another token"
        )
    return ServingFinding("clients at once", equal == len(together), detail)


def of_key(client: Client, key: str | None) -> ServingFinding:
    from openai import AuthenticationError

    if not key:
        return ServingFinding("key", None, "none is set (ALMR_API_KEY): anyone who reaches the server is answered")
    for wrong in ("", "wrong"):
        stranger = client.openai.with_options(api_key=f"{wrong}-", max_retries=0)
        try:
            stranger.models.list()
        except AuthenticationError:
            continue
        return ServingFinding("key", False, "a request with another key was answered")
    return ServingFinding("key", True, "asked for, and another one is refused")


def of_other_model(client: Client, question: AskedQuestion) -> ServingFinding:
    from dataclasses import replace

    from openai import APIStatusError

    try:
        replace(client, model=f"not-{client.model}").whole(question, 1)
    except APIStatusError as error:
        return ServingFinding("another model", True, f"refused ({error.status_code})")
    return ServingFinding("another model", False, "a request for a model of another name was answered")


def shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
