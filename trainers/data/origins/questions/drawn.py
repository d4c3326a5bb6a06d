"""Conversations and preference pairs from the topics of a book: generated, none by a human.

Every passage is in one conversation or pair only, so that held-out ones ask about text of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trainers.data.origins.questions.chosen import number, shuffled
from trainers.data.origins.questions.question import Question, Topic

CONVERSATIONS, PAIRS = 600, 300
FAULTS = ("another answer", "another language", "cut short")
Row = dict[str, Any]


def conversations(topics: Sequence[Topic]) -> list[Row]:
    """Rows of `messages`, each topic in turn. `kind` is for those who look into the file; no trainer reads it."""
    drawn = _drawn(topics, CONVERSATIONS + PAIRS)[:CONVERSATIONS]
    return [{"messages": _messages(questions), "kind": kind, "generated": True} for kind, questions in drawn]


def pairs(topics: Sequence[Topic], of_other_language: Sequence[Topic]) -> list[Row]:
    """Rows of `prompt`, `chosen` and `rejected`, from passages that no conversation of `conversations` has.

    Chosen is the true answer. Rejected is in turn the answer to another such question, one in the other language, and
    the true answer cut short.
    """
    drawn = _drawn(topics, CONVERSATIONS + PAIRS)[CONVERSATIONS:]
    foreign = [questions[-1].answer for _, questions in _drawn(of_other_language, PAIRS)]
    return [_pair(row, drawn, foreign) for row in range(len(drawn))]


def _drawn(topics: Sequence[Topic], most: int) -> list[tuple[str, list[Question]]]:
    """Kind and questions of so many conversations, fewer where the passages do not suffice."""
    waiting = {topic.kind: iter(shuffled(topic.texts, topic.pool)) for topic in topics}
    taken: set[tuple[str, str]] = set()
    found: list[tuple[str, list[Question]]] = []
    left = list(topics)
    while left and len(found) < most:
        for topic in list(left):
            text = _next(topic, waiting[topic.kind], taken)
            if text is None:
                left.remove(topic)
            elif len(found) < most:
                found.append((topic.kind, topic.made(text)))
    return found


def _next(topic: Topic, waiting: Iterator[str], taken: set[tuple[str, str]]) -> str | None:
    text = next((text for text in waiting if (topic.pool, text) not in taken), None)
    if text is not None:
        taken.add((topic.pool, text))
    return text


def _messages(questions: Sequence[Question]) -> list[dict[str, str]]:
    roles = (("user", question.asked, "assistant", question.answer) for question in questions)
    return [
        {"role": role, "content": content}
        for u, asked, a, answer in roles
        for role, content in ((u, asked), (a, answer))
    ]


def _pair(row: int, drawn: Sequence[tuple[str, list[Question]]], foreign: Sequence[str]) -> Row:
    kind, questions = drawn[row]
    *prompt, chosen = _messages(questions)
    answer, fault = chosen["content"], FAULTS[row % len(FAULTS)]
    if fault == "another answer":
        alike = sorted({others[-1].answer for other, others in drawn if other == kind} - {answer})
        rejected = alike[number(answer, prompt[-1]["content"]) % len(alike)]
    else:
        rejected = foreign[row % len(foreign)] if fault == "another language" else _cut(answer)
    return {
        "prompt": prompt,
        "chosen": [chosen],
        "rejected": [{"role": "assistant", "content": rejected}],
        "kind": kind,
        "fault": fault,
        "generated": True,
    }


def _cut(answer: str) -> str:
    """Half of an answer, without its end."""
    return answer[: max(1, len(answer) // 2)].rstrip()
