"""Token shares <-> document probabilities, by their definition and by drawing documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.launch.plan.ratio import almr_sd, document_probabilities, token_shares

PARTS = st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(lambda parts: sum(parts) > 1e-3)
LENGTHS = st.lists(st.floats(1, 1e6), min_size=5, max_size=5)


def named(values):
    return {f"corpus {i}": value for i, value in enumerate(values)}


def two(almr):
    return {"original": 1 - almr, "additional": almr}


@given(PARTS, LENGTHS)
def test_shares_come_back_from_their_document_probabilities(parts, lengths):
    shares = named(part / sum(parts) for part in parts)
    probabilities = document_probabilities(shares, named(lengths))
    assert sum(probabilities.values()) == pytest.approx(1)
    assert token_shares(probabilities, named(lengths)) == pytest.approx(shares, rel=1e-9, abs=1e-12)


@given(LENGTHS)
def test_the_ends_stay_exact(lengths):
    sizes = {"original": lengths[0], "additional": lengths[1]}
    assert document_probabilities(two(0), sizes) == {"original": 1, "additional": 0}
    assert document_probabilities(two(1), sizes) == {"original": 0, "additional": 1}


def test_longer_documents_are_drawn_less_often():
    # Half of the tokens from documents four times as long: one in five.
    assert document_probabilities(two(0.5), {"original": 100, "additional": 400}) == pytest.approx(two(0.2))


@pytest.mark.parametrize(
    "shares",
    [
        {"original": 0.7, "additional": 0.3},
        {"web": 0.4, "code": 0.1, "additional": 0.5},
        {"web": 0.2, "code": 0.2, "additional": 0.3, "news": 0.3},
    ],
)
def test_drawing_documents_gives_the_ratio_and_its_spread(shares):
    lengths, draws, additional = (
        dict(zip(shares, (200.0, 1000.0, 500.0, 50.0), strict=False)),
        2000,
        {"additional", "news"},
    )
    probabilities = document_probabilities(shares, lengths)
    drawn = np.random.default_rng(0).multinomial(draws, list(probabilities.values()), size=4000)
    tokens = drawn * list(lengths.values())
    achieved = tokens[:, [name in additional for name in shares]].sum(axis=1) / tokens.sum(axis=1)
    assert achieved.mean() == pytest.approx(sum(s for name, s in shares.items() if name in additional), abs=2e-3)
    assert achieved.std() == pytest.approx(almr_sd(shares, probabilities, additional, draws), rel=0.05)


@pytest.mark.parametrize("shares", [{"original": 1.0}, {"web": 0.5, "code": 0.5}])
def test_a_single_language_has_no_spread(shares):
    assert almr_sd(shares, shares, [], 10) == 0
