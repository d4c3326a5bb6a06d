"""Cells beyond the grid, where the optimum leans on one of its ends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.decision.objectives import Goal
from analysis.search import gain
from analysis.search.propose import ENOUGH, fit
from analysis.search.space import Point, Space
from analysis.table import table as tables

RANGE_STEPS = 8  # a free range grows by so large a part of itself
KEPT = 0.5  # the least probability of a guard at a cell that may be the best


def grown(space: Space, table: pd.DataFrame, goal: Goal, reach: Mapping[str, Point], free: bool, seed: int) -> Space:
    """The space, with one step more beyond each end that the best cell of the surface lies on and that was tried.

    `reach` bounds each dial, `free` says that the space stands for a range. A step is that of the grid at that end.
    """
    tried = table[table["status"] != "failed"]
    if len(tables.usable(table)) < ENOUGH:
        return space
    best = dict(zip(("almr", "lr"), best_cell(table, goal, space, seed), strict=True))
    values = {"almr": sorted(set(space.almr)), "lr": sorted(set(space.lr))}
    for dial, along in list(values.items()):
        for upper in (False, True):
            end = along[-1 if upper else 0]
            if best[dial] == end and (tried[dial] == end).any():
                values[dial] = sorted({*values[dial], _beyond(dial, along, upper, reach[dial], free)})
    if free:
        return Space.range(*((v[0], v[-1]) for v in values.values()))
    return Space.grid(*values.values())


def best_cell(table: pd.DataFrame, goal: Goal, space: Space, seed: int) -> Point:
    """Where the surface is lowest, of the cells that keep a guard if any does."""
    outlook = gain.Outlook.of(fit(table, goal, space, seed), goal, space.almr, space.lr)
    allowed = outlook.allowed >= KEPT
    return space.cells[int(np.where(allowed | ~allowed.any(), outlook.mean, np.inf).argmin())]


def _beyond(dial: str, along: list[float], upper: bool, reach: Point, free: bool) -> float:
    """The next value after an end, at most as far as `reach`; the end itself where a dial has one value."""
    end, inner = (along[-1], along[-2:][0]) if upper else (along[0], along[:2][-1])
    if dial == "almr":
        step = (along[-1] - along[0]) / RANGE_STEPS * (1 if upper else -1) if free else end - inner
        return float(np.clip(round(end + step, 4), *reach))
    ratio = (along[-1] / along[0]) ** ((1 if upper else -1) / RANGE_STEPS) if free else end / inner
    return float(np.clip(float(f"{end * ratio:.3e}"), *reach))
