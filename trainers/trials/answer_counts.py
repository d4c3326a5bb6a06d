"""Counts of answers to held-out conversations."""

from __future__ import annotations

from sweep.study.fields import Schema


class AnswerExample(Schema):
    """One of the answers, as it was given."""

    question: str
    true: str
    given: str


class AnswerCounts(Schema):
    """How many of the held-out questions of a language were answered, and how. `right`: the true answer to the letter,
    but for case and spaces. `in_language`: most letters are of its script. `stopped`: before the answer's longest.
    """

    asked: int
    right: int
    in_language: int
    stopped: int
    examples: tuple[AnswerExample, ...] = ()
