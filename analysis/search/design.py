"""The first trials of a search, before there are outcomes to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import qmc

from analysis.search.space import Point, Space

# In shares of the range: the middle, then halfway to each edge; the low LR first, where nothing diverges.
STAR = ((0.5, 0.5), (0.5, 0.25), (0.25, 0.5), (0.75, 0.5), (0.5, 0.75))
MARGIN = 1 / 8  # of each range, at its edges, which first trials leave alone
LAYOUTS = 40  # of which the most even one is taken
HIGH_LR = 2.0  # how much farther from the middle a higher LR counts
NEARLY = 0.9  # of the largest distance
ROUNDING = 1e-9


def design(at_once: int) -> list[Point]:
    """The first points, in shares of the range: a star, or as many as can run at once, if these are more.

    The latter are a Latin hypercube (McKay, Beckman & Conover 1979), so that each has an ALMR and a LR of its own:
    of LAYOUTS ones that with the largest least distance. Points near the middle and of low LRs come first.
    """
    if at_once <= len(STAR):
        return list(STAR)
    layouts = [qmc.LatinHypercube(2, scramble=False, rng=seed).random(at_once) for seed in range(LAYOUTS)]
    points = max(layouts, key=lambda layout: float(pdist(layout).min()))
    lowest, highest = points.min(), points.max()
    points = MARGIN + (points - lowest) / (highest - lowest) * (1 - 2 * MARGIN)
    u, v = (points - 0.5).T
    order = np.hypot(u, np.where(v > 0, HIGH_LR * v, v)).argsort(kind="stable")
    return [(float(u), float(v)) for u, v in points[order]]


def spread(space: Space, used: Sequence[Point], free: Space) -> Point:
    """The free cell farthest from all used ones, a margin away from the edges; of nearly equal ones the lowest LR."""
    units, taken = space.unit(free.almr, free.lr), space.unit(*np.array(used, float).T)
    varies = np.ptp(space.unit(space.almr, space.lr), axis=0) > 0
    inner = (np.abs(units - 0.5) <= 0.5 - MARGIN + ROUNDING)[:, varies].all(axis=1)
    distance = np.where(inner | ~inner.any(), cdist(units, taken).min(axis=1), -1.0)
    far = np.flatnonzero(distance >= NEARLY * distance.max())
    return free.cells[int(far[free.lr[far].argmin()])]


def retreat(space: Space, used: Sequence[Point], free: Space, lost: Sequence[Point]) -> Point:
    """The cell to try where hardly any trial completed and the `lost` ones diverged.

    Halfway between the lowest free LR and the lowest that diverged; where no LR is lower, the cell of the lowest free
    LR that is farthest from all used ones.
    """
    almrs, lrs = np.array(lost, float).T
    lower = [cell for cell in free.cells if cell[1] < lrs.min()]
    if lower:
        middle = float(np.exp(np.mean(np.log([min(lr for _, lr in lower), lrs.min()]))))
        return space.nearest(float(np.median(almrs)), middle, lower)
    among = Space(tuple(cell for cell in free.cells if cell[1] == free.lr.min()))
    taken = space.unit(*np.array(used, float).T)
    return among.cells[int(cdist(space.unit(among.almr, among.lr), taken).min(axis=1).argmax())]
