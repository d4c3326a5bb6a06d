"""The cells that a grid with a budget of N trials would have run, out of a larger measured table."""

from __future__ import annotations

import itertools

import numpy as np

from analysis.search.space import Point, Space

LONGEST = 2  # ratio of the numbers of ALMRs and LRs, where the table has enough of both


def subgrid(space: Space, trials: int, seed: int) -> list[Point]:
    """An even grid of at most `trials` cells, shifted by the seed within its room; all cells if they fit.

    Its values are those of the table at even steps of their rank. A cell that the table lacks is replaced by the
    nearest one that is not taken.
    """
    if trials >= len(space.cells):
        return list(space.cells)
    almrs, lrs = np.unique(space.almr), np.unique(space.lr)
    k, m = _shape(len(almrs), len(lrs), trials)
    shifts = np.random.default_rng(seed).uniform(size=2)
    taken: list[Point] = []
    for almr, lr in itertools.product(_evenly(almrs, k, shifts[0]), _evenly(lrs, m, shifts[1])):
        taken.append(space.nearest(almr, lr, space.without(taken).cells))
    return taken


def _shape(almrs: int, lrs: int, trials: int) -> tuple[int, int]:
    """(ALMRs, LRs) with the most cells; among these the squarest, then the one with more LRs."""

    def square_enough(k: int, m: int) -> bool:
        return (m <= LONGEST * k or k == almrs) and (k <= LONGEST * m or m == lrs)

    shapes = itertools.product(range(1, min(almrs, trials) + 1), range(1, min(lrs, trials) + 1))
    fitting = [(k, m) for k, m in shapes if k * m <= trials and square_enough(k, m)]
    return max(fitting, key=lambda shape: (shape[0] * shape[1], -abs(shape[0] - shape[1]), shape[1]))


def _evenly(values: np.ndarray, count: int, shift: float) -> list[float]:
    """One value from each of `count` equal parts, at the position `shift` in [0, 1) within its part."""
    return [float(values[int((i + shift) * len(values) / count)]) for i in range(count)]
