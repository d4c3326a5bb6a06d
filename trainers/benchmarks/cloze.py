"""The embedded suite, a cloze test made from held-out text: which of four continuations is the real one?

A question is `CONTEXT` tokens of held-out text and four continuations of equal length: the one that follows, and three
from other blocks of the same corpus. The model's answer is the continuation with the highest summed log-likelihood;
chance is 1/4. At these lengths the embedded base model is well above chance and well below 1 in both languages. A trial
takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.benchmarks.catalogue import CLOZE_QUESTIONS
from trainers.data.corpus import PackedCorpus, blocks

VERSION = "1"
CONTEXT, CONTINUATION, CHOICES = 8, 4, 4  # tokens, tokens, continuations
WINDOWS = 20_000  # candidates at most: a large corpus has more than are needed
QUESTIONS = 64  # of one forward pass
SEED = 0

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Cloze:
    """`rows` (questions, CHOICES, CONTEXT + CONTINUATION) of token ids; the first choice is the real one."""

    rows: Tokens

    @staticmethod
    def of_sources(parts: Sequence[tuple[PackedCorpus, int]], borders: Sequence[int]) -> Cloze:
        """The questions of a language, with so many of each source, at most."""
        of_each = [Cloze.of(corpus, borders, questions) for corpus, questions in parts if questions]
        return Cloze(np.concatenate([questions.rows for questions in of_each]))

    @staticmethod
    def of(corpus: PackedCorpus, borders: Sequence[int], questions: int = CLOZE_QUESTIONS) -> Cloze:
        """The questions of a corpus, the same for the same held-out text. No window has one of `borders`, the
        special tokens between documents.

        Raises ValueError where fewer than `CHOICES` blocks can be used.
        """
        windows, places = _windows(corpus, borders)
        if len(np.unique(places)) < CHOICES:
            raise ValueError(f"its held-out text gives only {len(windows)} windows for questions: raise held_out")
        chosen = np.linspace(0, len(windows) - 1, min(questions, len(windows))).round().astype(int)
        random = np.random.default_rng(SEED)
        others = np.stack([_elsewhere(random, windows, places, question) for question in chosen])
        choices = np.concatenate([windows[chosen, None, CONTEXT:], others], axis=1)
        contexts = np.repeat(windows[chosen, None, :CONTEXT], CHOICES, axis=1)
        return Cloze(np.concatenate([contexts, choices], axis=2))

    @torch.no_grad()
    def answers(self, model: Any) -> list[int]:
        """1 for each question that is answered correctly, else 0. Raises ValueError for likelihoods that are NaN."""
        training, parts = model.training, torch.split(torch.from_numpy(self.rows), QUESTIONS)
        model.eval()
        likelihoods = torch.cat([_log_likelihoods(model, part.to(model.device)).cpu() for part in parts])
        model.train(training)
        if not likelihoods.isfinite().all():
            raise ValueError("the model answers NaN")
        right: list[int] = (likelihoods.view(-1, CHOICES).argmax(1) == 0).int().tolist()
        return right


def _windows(corpus: PackedCorpus, borders: Sequence[int]) -> tuple[Tokens, NDArray[np.int64]]:
    """Windows of held-out text within one document (windows, tokens), and the block of each."""
    length = CONTEXT + CONTINUATION
    total = len(corpus.held_out)
    each = max(1, corpus.facts.held_out_tokens // total // length)
    looked_at = np.linspace(0, total - 1, min(total, max(CHOICES, WINDOWS // each))).round().astype(int)
    packed = blocks(corpus.held_out, looked_at.tolist())
    whole = packed[:, : packed.shape[1] // length * length].reshape(-1, length)
    places = np.repeat(looked_at, packed.shape[1] // length)
    inside = ~np.isin(whole, borders).any(1)
    return whole[inside], places[inside]


def _elsewhere(random: np.random.Generator, windows: Tokens, places: NDArray[np.int64], question: int) -> Tokens:
    """Wrong continuations, from other blocks than the question's."""
    far = (places != places[question]) & (windows[:, CONTEXT:] != windows[question, CONTEXT:]).any(1)
    drawn: Tokens = windows[random.choice(np.flatnonzero(far), CHOICES - 1, replace=False), CONTEXT:]
    return drawn


def _log_likelihoods(model: Any, rows: torch.Tensor) -> torch.Tensor:
    """Summed log-likelihood of each continuation, in nats; rows (questions, CHOICES, tokens) -> (questions * CHOICES,).

    A question's context is read once, and its continuations go on from there: less than half of the tokens. A model
    that keeps no context in a way that can be repeated reads every row whole.
    """
    every = rows.flatten(0, 1)
    context = model(input_ids=rows[:, 0, :CONTEXT], use_cache=True)
    kept: Any = getattr(context, "past_key_values", None)
    if hasattr(kept, "batch_repeat_interleave"):
        kept.batch_repeat_interleave(CHOICES)
        first = context.logits[:, -1:].repeat_interleave(CHOICES, dim=0)
        later = model(input_ids=every[:, CONTEXT:-1], past_key_values=kept, use_cache=True).logits
        logits = torch.cat([first, later], dim=1)
    else:
        logits = model(input_ids=every).logits[:, CONTEXT - 1 : -1]
    likelihoods: torch.Tensor = logits.float().log_softmax(-1).gather(-1, every[:, CONTEXT:, None])
    return likelihoods.squeeze(-1).sum(1)
