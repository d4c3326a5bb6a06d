"""The formats of numbers in messages and reports."""

from __future__ import annotations

import pytest

from sweep.study import numbers


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (4.0, "4 x"),
        (3.0000000000000004, "3 x"),
        (1.25, "1.2 x"),
        (5.83, "5.8 x"),
        (0.5, "0.50 x"),
        (20.0, "20 x"),
        (0.0999, "0.10 x"),
        (99.96, "100 x"),
        (3470.2, "3,470 x"),
        (5e-5, "5e-5 x"),
        (1e15, "1e15 x"),
        (0.0, "0 x"),
        (float("nan"), numbers.MISSING),
    ],
)
def test_a_ratio_has_two_or_three_digits_and_no_empty_decimal(ratio: float, text: str) -> None:
    assert numbers.times(ratio) == text


@pytest.mark.parametrize(
    ("level", "text"),
    [(0.9, "90 %"), (0.975, "97.5 %"), (0.999, "99.9 %"), (0.57, "57 %"), (1 - 0.9, "10 %"), (None, numbers.MISSING)],
)
def test_a_level_is_told_whole(level: float | None, text: str) -> None:
    assert numbers.level(level) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1049.62, "1,049.6"),
        (57.9, "57.9"),
        (5.0, "5.0"),
        (0.999, "1.0"),
        (0.64, "0.64"),
        (0.0012, "0.0012"),
        (2.14e-5, "2.1e-5"),
        (0.0, "0"),
        (None, numbers.MISSING),
    ],
)
def test_a_small_quantity_is_never_shown_as_nothing(value: float | None, text: str) -> None:
    assert numbers.quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.85, "0.85"),
        (0.904, "0.90"),
        (0.087, "0.09"),
        (0.004, "0.004"),
        (0.996, "0.996"),
        (1.4e-17, "0.00"),
        (1 - 1e-12, "1.00"),
        (0.0, "0.00"),
    ],
)
def test_an_almr_has_two_decimals_but_very_near_0_and_1(value: float, text: str) -> None:
    assert numbers.almr(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999"), (999.6, "1k"), (50_000, "50k"), (999_600, "1M"), (999.7e6, "1B"), (1.5e9, "1.5B"), (2e15, "2,000T")],
)
def test_the_unit_of_a_count_is_that_of_the_rounded_count(count: float, text: str) -> None:
    assert numbers.tokens(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (100, "0 kB"),
        (250e3, "250 kB"),
        (999_960_000, "1.0 GB"),
        (999_600, "1.0 MB"),
        (47.5e9, "47.5 GB"),
        (2e15, "2,000.0 TB"),
    ],
)
def test_the_unit_of_a_size_is_that_of_the_rounded_size(count: float, text: str) -> None:
    assert numbers.size(count) == text


def test_an_lr_has_no_trailing_zeros() -> None:
    assert [numbers.lr(lr) for lr in (1e-4, 3.5e-3, 3.19e-3, 9.999e-4)] == ["1e-4", "3.5e-3", "3.19e-3", "1e-3"]


def test_passes_over_a_text_are_a_share_up_to_one() -> None:
    assert [numbers.passes(n, "it") for n in (0.001, 0.03, 1.0, 1.25)] == [
        "under 1 % of it",
        "3 % of it",
        "100 % of it",
        "it 1.2 x",
    ]
