"""The first trials of a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from analysis.search.design import MARGIN, STAR, design, spread
from analysis.search.space import Space


@given(st.integers(1, 40))
@settings(max_examples=25)
def test_a_design_has_a_point_for_each_slot_inside_the_range(at_once: int) -> None:
    points = np.array(design(at_once))
    assert len(points) == max(at_once, len(STAR))
    assert ((points >= MARGIN - 1e-9) & (points <= 1 - MARGIN + 1e-9)).all()
    assert design(at_once) == design(at_once)


@pytest.mark.parametrize("at_once", [8, 16, 32])
def test_every_point_of_a_large_batch_has_an_almr_and_a_lr_of_its_own_and_none_is_near_another(at_once: int) -> None:
    points = np.array(design(at_once))
    steps = (1 - 2 * MARGIN) / (at_once - 1)
    assert np.diff(np.sort(points, axis=0), axis=0) == pytest.approx(np.full((at_once - 1, 2), steps))
    assert pdist(points).min() > 0.4 * (1 - 2 * MARGIN) / np.sqrt(at_once)


def test_points_near_the_middle_come_first_and_high_lrs_last() -> None:
    points = np.array(design(16))
    assert np.abs(points[:4] - 0.5).max() < 0.3
    assert points[:8, 1].mean() < points[8:, 1].mean()
    assert points[:8, 1].max() < points[:, 1].max()


def test_what_is_added_is_far_from_what_was_used_and_of_low_lr() -> None:
    space = Space.grid(np.linspace(0.1, 0.9, 9).tolist(), np.geomspace(1e-5, 1e-3, 9).tolist())
    used = [(0.5, 1e-4)]
    [[u, v]] = space.unit(*spread(space, used, space.without(used)))
    assert (v, min(u, 1 - u)) == pytest.approx((MARGIN, MARGIN))
    one = Space.grid([0.5], np.geomspace(1e-5, 1e-3, 9).tolist())
    assert spread(one, [(0.5, 1e-4)], one.without([(0.5, 1e-4)])) == (0.5, pytest.approx(10**-4.75))
