"""Token ratio <-> document probability, by its definition and by drawing documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.launch.plan.ratio import document_probability, token_share, token_share_sd

SHARES = st.floats(0, 1)
LENGTHS = st.floats(1, 1e6)


@given(SHARES, LENGTHS, LENGTHS)
def test_a_ratio_comes_back_from_its_document_probability(almr, original, additional):
    probability = document_probability(almr, original, additional)
    assert 0 <= probability <= 1
    assert token_share(probability, original, additional) == pytest.approx(almr, rel=1e-9, abs=1e-12)


@given(LENGTHS, LENGTHS)
def test_the_ends_stay_exact(original, additional):
    assert document_probability(0, original, additional) == 0
    assert document_probability(1, original, additional) == 1


@given(SHARES, LENGTHS)
def test_equal_lengths_need_no_conversion(almr, length):
    assert document_probability(almr, length, length) == pytest.approx(almr)


def test_longer_documents_are_drawn_less_often():
    # Half of the tokens from documents four times as long: one in five.
    assert document_probability(0.5, original_length=100, additional_length=400) == pytest.approx(0.2)


def test_drawing_documents_gives_the_ratio_and_its_spread():
    almr, original, additional, draws = 0.3, 200.0, 1000.0, 2000
    probability = document_probability(almr, original, additional)
    drawn = np.random.default_rng(0).binomial(draws, probability, size=4000)
    shares = drawn * additional / (drawn * additional + (draws - drawn) * original)
    assert shares.mean() == pytest.approx(almr, abs=2e-3)
    assert shares.std() == pytest.approx(token_share_sd(almr, probability, draws), rel=0.05)


@pytest.mark.parametrize("almr", [0, 1])
def test_a_single_corpus_has_no_spread(almr):
    assert token_share_sd(almr, almr, 10) == 0
