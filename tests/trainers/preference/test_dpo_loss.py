from __future__ import annotations

import math

import numpy as np
import pytest

from sweep.study.sections.text.corpora import Corpora
from trainers.preference.held_out import BASE_LOSS, HeldOutPairs, dpo_losses

POLICY, REFERENCE = np.array([[-10.0, -12.0], [-8.0, -7.5]]), np.array([[-11.0, -11.5], [-8.0, -8.0]])


def test_the_loss_of_two_pairs_is_that_of_a_hand_computation() -> None:
    # the margins: (1.0 - -0.5) = 1.5 and (0.0 - 0.5) = -0.5
    expected = [-math.log(1 / (1 + math.exp(-0.1 * margin))) for margin in (1.5, -0.5)]
    assert dpo_losses(POLICY, REFERENCE, beta=0.1) == pytest.approx(expected, abs=1e-12)


def test_a_model_like_its_reference_has_ln_2_and_half_of_the_pairs() -> None:
    sources = tuple(Corpora.model_validate({"original": {"files": "a"}, "additional": {"files": "b"}}).by_name.values())
    pairs = {name: [{"prompt_ids": [1]}] * 2 for name in ("original", "additional")}
    held_out = HeldOutPairs.of(pairs, sources, 0.1, lambda some: REFERENCE)
    same, moved = held_out.measure(lambda some: REFERENCE), held_out.measure(lambda some: POLICY)
    assert set(same.loss.values()) == {BASE_LOSS} == {math.log(2)} == set(held_out.base_losses.values())
    assert same.accuracy == {"original": 0.5, "additional": 0.5}
    assert moved.accuracy == {"original": 0.5, "additional": 0.5}  # one pair of two
    assert moved.loss["original"] == pytest.approx(dpo_losses(POLICY, REFERENCE, 0.1).mean())


def test_a_margin_beyond_any_exponential_is_a_number() -> None:
    far = dpo_losses(np.array([[0.0, -1e6], [-1e6, 0.0]]), np.zeros((2, 2)), beta=1.0)
    assert far == pytest.approx([0.0, 1e6])
