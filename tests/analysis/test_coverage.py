"""Over surfaces drawn at random, 90 % intervals hold the truth about as often as they say."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from known_surfaces import ALMRS, LRS, Known, Points, grid, lost, measure, scattered
from threadpoolctl import threadpool_limits

from analysis.curve import coupling
from analysis.objectives import Weighted
from analysis.optima import Lattice
from analysis.surface import fit_languages
from analysis.winner import Region, choose, region

LEVEL = 0.9
GOAL = Weighted({"original": 0.5, "additional": 0.5})
DRAWS = 36  # of each setting


@dataclass(frozen=True)
class Setting:
    points: Points | int  # a number is that of scattered trials
    coupling: tuple[float, float] = (0.0, 0.0)  # the range that each surface's is drawn from, as all below
    curvature: tuple[float, float] = (0.3, 1.0)
    cliff: tuple[float, float] | None = None  # ln of its LR over LR*
    growth: float = 0.0
    failed: float = 0.0


SETTINGS = {
    "bowl": Setting(grid(4, 5)),
    "coupled bowl": Setting(grid(5, 6), coupling=(-2, 2)),
    "long flat valley": Setting(grid(6, 7), coupling=(1, 3), curvature=(0.05, 0.1)),
    "cliff": Setting(grid(5, 6), cliff=(0.5, 1.5)),
    "coupled cliff": Setting(grid(6, 7), coupling=(-2, 2), cliff=(0.5, 1.5)),
    "growing noise": Setting(grid(5, 6), growth=1.0),
    "missing corner": Setting([p for p in grid(5, 5) if p != (ALMRS[1], LRS[1])], coupling=(-2, 2)),
    "40 % failed": Setting(grid(6, 7), failed=0.4),
    "scattered": Setting(24),
}


def draw(setting: Setting, seed: int) -> tuple[Known, pd.DataFrame]:
    """A surface whose optimum is inside, and trials of it with noise of 0.0005 to 0.02 nats."""
    random = np.random.default_rng(seed)
    lr = float(np.exp(np.log(1e-4) + random.uniform(-1, 1)))
    known = Known(
        almr=random.uniform(0.3, 0.7),
        lr=lr,
        coupling=random.uniform(*setting.coupling),
        curvature=random.uniform(*setting.curvature),
        steepness=float(np.exp(random.uniform(*np.log([0.01, 0.1])))),
        cliff=lr * np.exp(random.uniform(*setting.cliff)) if setting.cliff else np.inf,
    )
    noise = float(np.exp(random.uniform(*np.log([0.0005, 0.02]))))
    points = scattered(setting.points, seed) if isinstance(setting.points, int) else setting.points
    table = measure(known, points, noise, setting.growth, seed)
    return known, lost(table, random.random(len(table)) < setting.failed, "failed")


def judge(name: str, seed: int) -> dict[str, float | str]:
    """Of one surface: whether each interval holds the truth (1.0 or 0.0), and the test's p-value."""
    known, table = draw(SETTINGS[name], seed)
    with threadpool_limits(1):
        surfaces = fit_languages(table, ("original", "additional"))
        lattice = Lattice.of(surfaces, table["almr"].to_numpy(), table["lr"].to_numpy())
    optima = GOAL.optima(lattice)
    winner, slope = choose(optima, lattice, LEVEL), coupling(optima, LEVEL)
    return {
        "setting": name,
        "almr": float(winner.almr_interval.low <= known.almr <= winner.almr_interval.high),
        "lr": float(winner.lr_interval.low <= known.lr <= winner.lr_interval.high),
        "joint": float(holds(region(optima, LEVEL), known)),
        "slope": np.nan
        if slope is None
        else float(slope.interval.low <= true_slope(known, slope.form) <= slope.interval.high),
        "uncoupled": SETTINGS[name].coupling == (0.0, 0.0),
        "p_value": np.nan if slope is None else slope.p_value,
    }


def holds(found: Region | None, known: Known) -> bool:
    """Whether the optimum is between the region's LRs at its ALMR."""
    assert found is not None
    almrs = [row.almr for row in found.rows]
    low, high = (
        np.interp(known.almr, almrs, np.log([getattr(row, end) for row in found.rows])) for end in ("lr_low", "lr_high")
    )
    return bool(almrs[0] <= known.almr <= almrs[-1] and low <= np.log(known.lr) <= high)
