"""The answers of a checkpoint to one task at a time."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from sweep.study import LANGUAGES
from trainers.benchmarks import harness, outcome, scoring
from trainers.benchmarks.catalogue import CLOZE
from trainers.benchmarks.models.asked import Asked, HeldOutSource
from trainers.benchmarks.models.checkpoint import OpenModel
from trainers.benchmarks.outcome import ScoringOutcome
from trainers.data.corpus import open_corpora
from trainers.data.tokens.borders import Borders
from trainers.model.loading import load_tokenizer, parameters

SEED = 0  # of sampled answers
SMALL = 50_000_000  # parameters: below, several threads wait for each other longer than they compute
NO_TEMPLATE = "its tokenizer has no chat template: leave --chat out, or give the model a chat_template.jinja"
NO_TEXT = "asks about held-out text: name the study whose text it is: --study STUDY"
OTHER_TOKENS = "its questions are tokens of the study's tokenizer, and this model has another one"


def answered(task: str, asked: Asked, opened: OpenModel, heartbeat: Callable[[], None]) -> ScoringOutcome:
    """The outcome of one task. What cannot be scored is a failure in it, in one line."""
    with _threads(opened.model):
        return _answered(task, asked, opened, heartbeat)


@contextlib.contextmanager
def _threads(model: Any) -> Iterator[None]:
    """One thread of torch for a small model on a CPU: two took 8 to 24 times the processor of one where other programs
    used the cores too (2026-11-29, the demo's model on 2 cores).
    """
    before = torch.get_num_threads()
    if model.device.type == "cpu" and parameters(model) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _answered(task: str, asked: Asked, opened: OpenModel, heartbeat: Callable[[], None]) -> ScoringOutcome:
    language = next((language for language in LANGUAGES if CLOZE[language] == task), None)
    if language:
        return _cloze(language, asked, opened, heartbeat)
    if asked.prompting.chat and template(opened.tokenizer) is None:
        return outcome.failed([task], NO_TEMPLATE)
    torch.manual_seed(SEED)
    parts = (opened.model, opened.tokenizer, asked.precision, heartbeat)
    return harness.run([task], asked.benchmarks, *parts, asked.prompting)


def template(tokenizer: Any) -> str | None:
    """The sha256 of the tokenizer's chat template; None where it has none. Of several, all count."""
    own = getattr(tokenizer, "chat_template", None)
    return hashlib.sha256(repr(own).encode()).hexdigest() if own else None


def _cloze(language: str, asked: Asked, opened: OpenModel, heartbeat: Callable[[], None]) -> ScoringOutcome:
    """Chat templates do not touch the embedded suite, whose questions are tokens."""
    if asked.text is None:
        return outcome.failed([CLOZE[language]], NO_TEXT)
    heartbeat()
    try:
        return _asked_in_tokens(language, asked.text, opened)
    except Exception as error:  # whatever a model of any origin raises, as where its memory is too small
        return outcome.failed([CLOZE[language]], error)


def _asked_in_tokens(language: str, text: HeldOutSource, opened: OpenModel) -> ScoringOutcome:
    own = load_tokenizer(text.study.base_model, text.ingredients.base_model)
    sources = scoring.sources(text.study, open_corpora(text.ingredients), language)
    borders = Borders.of(own, text.study.documents).ids
    tokens = np.unique(scoring.cloze_questions(sources, borders).rows).tolist()
    if own.convert_ids_to_tokens(tokens) != opened.tokenizer.convert_ids_to_tokens(tokens):
        return outcome.failed([CLOZE[language]], OTHER_TOKENS)
    return scoring.score_cloze(language, sources, opened.model, borders)
