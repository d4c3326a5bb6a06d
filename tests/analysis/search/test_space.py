"""The cells of a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.search.space import RANGE_ALMRS, RANGE_LRS, Space

SPACE = Space.grid([0.1, 0.5, 0.9], [1e-4, 1e-3, 1e-2])
POINTS = st.tuples(st.floats(0, 1), st.floats(1e-6, 1))


def test_a_grid_has_every_pair_once() -> None:
    twice = Space.grid([0.9, 0.1, 0.5, 0.1], [1e-2, 1e-3, 1e-4, 1e-3])
    assert twice == SPACE
    assert len(set(SPACE.cells)) == 9
    assert SPACE.bounds == ((0.1, 0.9), (1e-4, 1e-2))


def test_a_range_is_a_fine_grid_that_keeps_its_ends() -> None:
    space = Space.range((0.123456, 0.9), (1.23456e-5, 1e-3))
    assert len(space.cells) == RANGE_ALMRS * RANGE_LRS
    (a0, a1), (r0, r1) = space.bounds
    assert 0.123456 <= a0 < 0.124
    assert a1 == 0.9
    assert r0 == pytest.approx(1.23456e-5, rel=0.01)
    assert r0 >= 1.23456e-5
    assert r1 == 1e-3


def test_a_range_of_one_value_has_one() -> None:
    assert {almr for almr, _ in Space.range((0.3, 0.3), (1e-4, 1e-3)).cells} == {0.3}


def test_coordinates_are_shares_of_the_range() -> None:
    assert SPACE.unit(np.array([0.1, 0.5, 0.9]), np.array([1e-2, 1e-3, 1e-4])) == pytest.approx(
        np.array([[0, 1], [0.5, 0.5], [1, 0]])
    )
    assert np.isfinite(Space.grid([0.3], [1e-3]).unit(0.3, 1e-3)).all()


def test_half_of_almrs_coordinate_is_its_rank_among_the_cells() -> None:
    space = Space.grid([0.01, 0.02, 0.05, 0.2, 1.01], [1e-4, 1e-2])
    found = space.unit(np.array([0.01, 0.02, 0.05, 0.2, 1.01]), np.full(5, 1e-3))
    assert found[:, 0] == pytest.approx([0, 0.13, 0.27, 0.47, 1])
    assert found[:, 1] == pytest.approx([0.5] * 5)
    between = space.unit(0.035, 1e-3)[0, 0]
    assert 0.13 < between < 0.27


@given(st.lists(POINTS, min_size=1, max_size=12, unique=True), POINTS, st.data())
@settings(max_examples=60)
def test_the_nearest_is_free_and_none_is_nearer(cells, point, data) -> None:
    space = Space(tuple(cells))
    used = data.draw(st.lists(st.sampled_from(cells), max_size=len(cells) - 1))
    free = space.without(used)
    assert set(free.cells) == set(cells) - set(used)
    found = space.nearest(*point, free.cells)
    assert found in free.cells
    scale = np.array([np.ptp(space.almr) or 1, np.ptp(np.log(space.lr)) or 1])
    places = np.stack([free.almr, np.log(free.lr)], axis=1) / scale
    apart = ((places - np.array([point[0], np.log(point[1])]) / scale) ** 2).sum(axis=1)
    assert apart[free.cells.index(found)] == pytest.approx(apart.min())
    place = space.unit(*point)
    found = space.nearest_to(place, free.cells)
    apart = ((space.unit(free.almr, free.lr) - place) ** 2).sum(axis=1)
    assert apart[free.cells.index(found)] == pytest.approx(apart.min())
