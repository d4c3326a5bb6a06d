"""A question about a book with its true answer, and the topics that questions are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainers.data.origins.questions.chosen import one


@dataclass(frozen=True)
class Wording:
    """How a kind of question is asked. `follow_ups`: in a conversation that has named the text already.

    Words in braces are facts of the text.
    """

    questions: tuple[str, ...]
    answer: str
    follow_ups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    kind: str
    asked: str
    answer: str


def ask(kind: str, wording: Wording, facts: Mapping[str, str], follow_up: bool = False) -> Question:
    """The question in one of its wordings, which the facts decide."""
    asked = one(wording.follow_ups if follow_up else wording.questions, kind, *facts.values())
    return Question(kind, asked.format(**facts), wording.answer.format(**facts))


@dataclass(frozen=True)
class Topic:
    """A kind of conversation. `texts`: the passages that it may be about, each in one conversation only, by a text that
    identifies them. `pool`: topics of the same pool share those. `made`: the questions about a passage, in order.
    """

    kind: str
    pool: str
    texts: tuple[str, ...]
    made: Callable[[str], list[Question]]
