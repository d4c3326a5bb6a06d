from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.mixture import Mixture, additional_blocks

ratios = st.floats(0, 1)
sizes = st.integers(1, 60)


def mixture(almr: float, seed: int = 0, original: int = 40, additional: int = 30) -> Mixture:
    return Mixture(almr, seed, (("original", original), ("additional", additional)))


@given(ratios, st.integers(0, 400))
def test_every_prefix_has_its_exact_share(almr: float, n: int) -> None:
    counted = Counter(mixture(almr).slot(i).language for i in range(n))
    assert counted["additional"] == round(n * almr)


@given(st.floats(0, 1), st.integers(0, 10**9))
def test_each_position_adds_one_block_at_most(almr: float, n: int) -> None:
    assert additional_blocks(n + 1, almr) - additional_blocks(n, almr) in (0, 1)


@given(ratios, ratios, st.integers(0, 3), sizes, sizes)
def test_trials_of_a_seed_read_each_corpus_in_the_same_order(a: float, b: float, seed: int, m: int, n: int) -> None:
    orders = []
    for almr in (a, b):
        slots = [mixture(almr, seed, m, n).slot(i) for i in range(100)]
        orders.append({name: [s.block for s in slots if s.language == name] for name in ("original", "additional")})
    for one, two in zip(orders[0].values(), orders[1].values(), strict=True):
        shared = min(len(one), len(two))
        assert one[:shared] == two[:shared]


@given(ratios, st.integers(0, 50), st.integers(1, 16))
def test_a_step_needs_nothing_but_its_number(almr: float, step: int, sequences: int) -> None:
    run = mixture(almr)
    expected = [run.slot(i) for i in range((step + 1) * sequences)][-sequences:]
    assert mixture(almr).batch(step, sequences) == expected


@given(sizes, st.integers(0, 3))
def test_a_corpus_is_used_up_before_a_block_comes_again(size: int, seed: int) -> None:
    blocks = [mixture(1.0, seed, additional=size).slot(i).block for i in range(2 * size)]
    assert sorted(blocks[:size]) == sorted(blocks[size:]) == list(range(size))


def test_epochs_have_different_orders_and_so_have_seeds() -> None:
    blocks = [mixture(1.0).slot(i).block for i in range(60)]
    assert blocks[:30] != blocks[30:]
    assert blocks[:30] != [mixture(1.0, seed=1).slot(i).block for i in range(30)]


@pytest.mark.parametrize(("almr", "language"), [(0.0, "original"), (1.0, "additional")])
def test_the_ends_are_one_language(almr: float, language: str) -> None:
    assert {mixture(almr).slot(i).language for i in range(100)} == {language}


def test_epochs_count_what_was_drawn() -> None:
    assert mixture(0.25).epochs(80) == {"original": 60 / 40, "additional": 20 / 30}
