"""The cells that most searches here go through."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.search.space import Point, Space


@pytest.fixture
def cells() -> Space:
    return Space.grid(
        np.linspace(0.1, 0.9, 9).round(3).tolist(), [float(f"{r:.3g}") for r in np.geomspace(1e-5, 1e-3, 9)]
    )


@pytest.fixture
def spread(cells: Space) -> list[Point]:
    """Nine of the cells, on a coarser grid."""
    almrs, lrs = np.unique(cells.almr)[[1, 4, 7]], np.unique(cells.lr)[[1, 4, 7]]
    return [(float(a), float(r)) for a, r in itertools.product(almrs, lrs)]
