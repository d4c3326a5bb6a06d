"""The hold-out is a share of the tokens in whole documents, whatever the sizes of the documents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sweep.study import InputError
from trainers.data.hold_out.split import MOST, Split, split


def test_a_giant_document_is_trained_on_and_the_others_are_held_out_by_their_share() -> None:
    sizes = [*[50] * 20, 600_000]
    found = split(np.array(sizes), 0.05, "corpora.original")
    assert len(found.held_out) == 1
    assert 20 in found.training
    assert "0.0 % of the tokens are held out, not 5.0 %" in found.warning
    assert "the largest has 99.8 %" in found.warning
    assert "\n" not in found.warning


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.5, 0.9])
def test_many_documents_give_the_share(share: float) -> None:
    sizes = np.random.default_rng(1).lognormal(6, 1.2, 3000).astype(int) + 1
    found = split(sizes, share, "x")
    assert abs(sizes[found.held_out].sum() / sizes.sum() - share) < 0.01
    assert found.warning == ""
    assert sorted(found.held_out + found.training) == list(range(3000))


def test_a_smaller_share_holds_out_a_part_of_what_a_larger_one_does() -> None:
    sizes = np.random.default_rng(2).integers(50, 150, 400)
    small, large = (set(split(sizes, share, "x").held_out) for share in (0.1, 0.4))
    assert small < large


@pytest.mark.parametrize(
    ("sizes", "share", "message"),
    [
        (
            [9],
            0.05,
            "after the hold-out (1 document, held_out 0.05); give at least 2 documents",
        ),
        ([100, 100], 0.05, "of 2 documents, which are never cut, the smallest has 50 % of the tokens"),
        ([100, 60], 0.1, "of 2 documents, which are never cut, the smallest has 38 % of the tokens"),
    ],
)
def test_what_cannot_be_met_is_refused(sizes: list[int], share: float, message: str) -> None:
    with pytest.raises(InputError) as raised:
        split(np.array(sizes), share, "corpora.original")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_few_large_documents_are_a_warning() -> None:
    found = split(np.array([100] * 8), 0.05, "x")
    assert len(found.held_out) == 1
    assert "12.5 % of the tokens are held out, not 5.0 %" in found.warning


def test_two_documents_are_enough_where_the_smaller_suits() -> None:
    assert split(np.array([950, 50]), 0.05, "x") == Split([1], [0])


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60), st.floats(1e-4, 0.999))
@example([50] * 20 + [600_000], 0.05)
@example([10**9, 10**9, 1, 1, 1], 0.3)
@example([10**9, 10**7, 1, 1, 1], 0.05)
def test_any_corpus_has_both_parts_and_never_much_above_the_share(sizes: list[int], share: float) -> None:
    try:
        found = split(np.array(sizes), share, "x")
    except InputError:
        assert len(sizes) < 3
        return
    part = sum(sizes[row] for row in found.held_out) / sum(sizes)
    assert found.held_out
    assert found.training
    assert sorted(found.held_out + found.training) == list(range(len(sizes)))
    assert part <= max(MOST, 2 * share)
    if not share / 2 <= part <= 2 * share:
        assert found.warning
