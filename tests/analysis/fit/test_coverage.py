"""Over surfaces drawn at random, 90 % intervals hold the truth about as often as they say.

`make test-intervals` draws three times as many surfaces, on the whole lattice.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import coarse_lattice
import numpy as np
import pandas as pd
import pytest
from known_surfaces import ALMRS, LOWEST, LRS, Known, Points, grid, lost, measure, scattered
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from analysis.decision.curve import coupling
from analysis.decision.objectives import WeightedGoal
from analysis.decision.winner import choose, region
from analysis.fit_file.forms import LINEAR
from analysis.fit_file.winner import Region
from analysis.surfaces.optima import SIZE, Lattice
from analysis.surfaces.surface import fit_languages
from analysis.table import table as tables

# The fits of all surfaces are in the first test.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LEVEL = 0.9
GOAL = WeightedGoal({"original": 0.5, "additional": 0.5})
DRAWS = int(os.environ.get("ALMR_TEST_DRAWS", 7))  # of each setting
LATTICE = SIZE if "ALMR_TEST_DRAWS" in os.environ else coarse_lattice.SIZE


@dataclass(frozen=True)
class Setting:
    points: Points | int  # a number is that of scattered trials
    coupling: tuple[float, float] = (0.0, 0.0)  # the range that each surface's is drawn from, as all below
    curvature: tuple[float, float] = (0.3, 1.0)
    cliff: tuple[float, float] = (0.0, 0.0)
    diverged: float = np.inf  # over so many nats above the lowest loss
    growth: float = 0.0
    failed: float = 0.0


SETTINGS = {
    "bowl": Setting(grid(4, 5)),
    "coupled bowl": Setting(grid(5, 6), coupling=(-2, 2)),
    "long flat valley": Setting(grid(6, 7), coupling=(1, 3), curvature=(0.05, 0.1)),
    "cliff": Setting(grid(5, 6), cliff=(1, 2)),
    "coupled cliff": Setting(grid(6, 7), coupling=(-2, 2), cliff=(1, 2)),
    "diverged over a cliff": Setting(grid(6, 7), coupling=(-2, 2), cliff=(1, 2), diverged=0.5),
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
        cliff=random.uniform(*setting.cliff),
    )
    noise = float(np.exp(random.uniform(*np.log([0.0005, 0.02]))))
    points = scattered(setting.points, seed) if isinstance(setting.points, int) else setting.points
    table = measure(known, points, noise, setting.growth, seed)
    diverged = known.mean(table["almr"], table["lr"]) > LOWEST + setting.diverged
    table = lost(table, diverged, "diverged")
    return known, lost(table, random.random(len(table)) < setting.failed, "failed")


def judge(name: str, seed: int) -> dict[str, float | str]:
    """Of one surface: whether each interval holds the truth (1.0 or 0.0), and the test's p-value."""
    known, table = draw(SETTINGS[name], seed)
    with threadpool_limits(1):
        surfaces = fit_languages(table, ("original", "additional"))
        used = tables.usable(table)
        lattice = Lattice.of(surfaces, used["almr"].to_numpy(), used["lr"].to_numpy(), size=LATTICE)
    optima = GOAL.optima(lattice)
    winner, slope = choose(optima, lattice, LEVEL), coupling(optima, LEVEL)
    return {
        "setting": name,
        "almr": float(winner.almr_interval.low <= known.almr <= winner.almr_interval.high),
        "lr": float(winner.lr_interval.low <= known.lr <= winner.lr_interval.high),
        "joint": float(holds(region(optima, LEVEL), known)),
        "slope": np.nan
        if slope is None or slope.form != LINEAR.name  # of another form the truth has no one slope
        else float(slope.interval.low <= known.coupling <= slope.interval.high),
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


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    """One row per surface, DRAWS of each setting."""
    jobs = [(name, 1000 * i + k) for i, name in enumerate(SETTINGS) for k in range(DRAWS)]
    # Forked, because a test's module cannot be imported by name.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
        return pd.DataFrame(pool.map(judge, *zip(*jobs, strict=True), chunksize=8))


@pytest.mark.parametrize("what", ["almr", "lr", "joint", "slope"])
def test_intervals_hold_the_truth_as_often_as_they_say(judged: pd.DataFrame, what: str) -> None:
    held = judged[what].dropna()
    assert len(held) >= 4 * DRAWS
    # 90 %, give or take five points and two standard errors of a share of so many surfaces.
    slack = 2 * np.sqrt(0.9 * 0.1 / len(held))
    assert 0.85 - slack <= held.mean() <= 0.95 + slack, judged.groupby("setting")[what].mean()


def test_no_setting_is_far_off(judged: pd.DataFrame) -> None:
    """Fewer would be a chance of 1 in 200 for an interval of 90 %: under 15 of 21, or 4 of 7."""
    least = binom.ppf(1 / 200, DRAWS, LEVEL) / DRAWS
    for what in ("almr", "lr", "joint"):
        assert judged.groupby("setting")[what].mean().min() >= least, what


def test_the_test_of_no_coupling_errs_no_more_than_it_says(judged: pd.DataFrame) -> None:
    p_values = judged[judged["uncoupled"]]["p_value"].dropna()
    assert len(p_values) >= 2.8 * DRAWS
    fired = (p_values < 0.1).mean()
    assert fired <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / len(p_values))
    assert p_values.mean() < 0.75  # nor does it never fire: of a test that says what it means the mean is a half


def test_a_coupling_is_found_where_there_is_one(judged: pd.DataFrame) -> None:
    valley = judged[judged["setting"] == "long flat valley"]["p_value"].dropna()
    assert (valley < 0.1).mean() > 0.8
