"""The embedded suite: its questions, a model that knows the text, one that guesses, one that answers NaN."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sweep.study import Study
from trainers import prepare
from trainers.benchmarks import scoring
from trainers.benchmarks.cloze import CHOICES, CONTEXT, CONTINUATION, Cloze
from trainers.data.corpus import PackedCorpus, blocks, open_packed
from trainers.model.loading import load_model
from trainers.workers.group import ALONE


class Knowing(torch.nn.Module):
    """Expects the token after each to be the next number: right of text that counts up."""

    config = SimpleNamespace(eos_token_id=[1990, 1991, 1992])  # as an instruct model's has several
    device = torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=10.0 * torch.nn.functional.one_hot(input_ids + 1, 2000).float())


class Broken(Knowing):
    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.full((*input_ids.shape, 2000), math.nan))


@pytest.fixture
def corpus(local_study: Study) -> PackedCorpus:
    return open_packed(Path(prepare.prepare(local_study).folders["original"]))


def counting(rows: int = 30, length: int = 36) -> SimpleNamespace:
    """A corpus whose text counts up; its blocks are (rows, length)."""

    class Part:
        def __len__(self) -> int:
            return rows

        def __getitem__(self, at: list[int]) -> dict[str, np.ndarray]:
            return {"input_ids": np.arange(rows * length).reshape(rows, length)[at]}

    facts = SimpleNamespace(held_out_tokens=rows * length, fingerprint=f"counting to {rows} x {length}")
    return SimpleNamespace(held_out=Part(), facts=facts)


def test_a_model_that_knows_the_text_answers_all_and_one_that_guesses_a_quarter() -> None:
    asked = Cloze.of(counting(), borders=[])
    assert set(asked.answers(Knowing())) == {1}
    shuffled = np.random.default_rng(0).permuted(asked.rows, axis=1)
    assert 0.1 < np.mean(Cloze(shuffled).answers(Knowing())) < 0.45


def test_a_context_that_is_read_once_gives_the_answers_of_whole_rows(corpus: PackedCorpus, local_study: Study) -> None:
    path = prepare.prepare(local_study).base_model
    model, asked = load_model(local_study, path, ALONE), Cloze.of(corpus, borders=[])

    class Forgetful(torch.nn.Module):
        config, device = model.config, model.device

        def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(logits=model(input_ids=input_ids).logits)

    assert asked.answers(model) == asked.answers(Forgetful())


def test_questions_are_the_same_every_time_and_of_equal_lengths(corpus: PackedCorpus) -> None:
    one, other = Cloze.of(corpus, borders=[0]), Cloze.of(corpus, borders=[0])
    assert one.rows.tolist() == other.rows.tolist()
    assert one.rows.shape[1:] == (CHOICES, CONTEXT + CONTINUATION)
    assert (one.rows[:, :1, :CONTEXT] == one.rows[:, :, :CONTEXT]).all()
    assert (one.rows[:, 1:, CONTEXT:] != one.rows[:, :1, CONTEXT:]).any(-1).all()  # a distractor is not the answer


def test_questions_are_of_held_out_text_and_never_span_two_documents(corpus: PackedCorpus) -> None:
    text = blocks(corpus.held_out, range(len(corpus.held_out)))
    end = int(text[0, 3])
    asked = Cloze.of(corpus, [end])
    assert end not in asked.rows
    whole = text[:, : text.shape[1] // 12 * 12].reshape(-1, 12).tolist()
    assert all(row in whole for row in asked.rows[:, 0].tolist())


def test_a_model_that_answers_nan_is_one_line() -> None:
    found = scoring.score_cloze("original", [(counting(), 400)], Broken(), [1990])
    assert found.failures == {"cloze_original": "the model answers NaN"}
    assert not found.scores


def test_too_little_text_is_one_line() -> None:
    found = scoring.score_cloze("original", [(counting(rows=2), 400)], Knowing(), [1990])
    assert "raise held_out" in found.failures["cloze_original"]


def test_each_source_has_its_share_of_the_questions() -> None:
    asked = Cloze.of_sources([(counting(), 30), (counting(rows=20), 10), (counting(rows=2), 0)], borders=[])
    one, other = Cloze.of(counting(), [], 30), Cloze.of(counting(20), [], 10)
    assert asked.rows.tolist() == [*one.rows.tolist(), *other.rows.tolist()]
