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
        (3470.2, "3,470 x"),
        (float("nan"), numbers.MISSING),
    ],
)
def test_a_ratio_has_two_or_three_digits_and_no_empty_decimal(ratio: float, text: str) -> None:
    assert numbers.times(ratio) == text
