"""Extension of a search's space beyond its edges, where the optimum is at one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.search.propose import ENOUGH, SearchContext, fit
from analysis.search.space import Point, Space
from analysis.table import table as tables
from analysis.table.table import HYPERPARAMETERS

RANGE_STEPS = 8  # a free range grows by an eighth of itself
LEAST_ALLOWED = 0.5  # probability that a guard is kept at a cell that may be the best


def grown(context: SearchContext, reach: Mapping[str, Point], free: bool) -> Space:
    """The space, one step larger beyond each tried edge at which the best cell of the surface is.

    `reach`: the bounds of each hyper-parameter. `free`: the space is a range, not a grid.
    """
    table, space = context.table, context.space
    tried = table[table["status"] != "failed"]
    if len(tables.usable(table)) < ENOUGH:
        return space
    best = dict(zip(HYPERPARAMETERS, best_cell(context), strict=True))
    values = {"almr": sorted(set(space.almr)), "lr": sorted(set(space.lr))}
    for name, along in list(values.items()):
        for upper in (False, True):
            edge = along[-1 if upper else 0]
            if best[name] == edge and (tried[name] == edge).any():
                values[name] = sorted({*values[name], _beyond(name, along, upper, reach[name], free)})
    if free:
        return Space.range(*((v[0], v[-1]) for v in values.values()))
    return Space.grid(*values.values())


def best_cell(context: SearchContext) -> Point:
    """The cell with the lowest mean of the surface, among those that probably keep the guard, if any does."""
    predicted = fit(context).predict(context.space.almr, context.space.lr)
    allowed = predicted.allowed >= LEAST_ALLOWED
    return context.space.cells[int(np.where(allowed | ~allowed.any(), predicted.mean, np.inf).argmin())]


def _beyond(name: str, along: list[float], upper: bool, reach: Point, free: bool) -> float:
    """One step beyond an edge of the ascending values, clipped to `reach`; the edge itself, if it is the only value."""
    edge, inner = (along[-1], along[-2:][0]) if upper else (along[0], along[:2][-1])
    if name == "almr":
        step = (along[-1] - along[0]) / RANGE_STEPS * (1 if upper else -1) if free else edge - inner
        return float(np.clip(round(edge + step, 4), *reach))
    ratio = (along[-1] / along[0]) ** ((1 if upper else -1) / RANGE_STEPS) if free else edge / inner
    return float(np.clip(float(f"{edge * ratio:.3e}"), *reach))
