"""On a few surfaces of the zoo, intervals hold the optimum and are as narrow as a surface allows.

All families, designs and numbers of trials: tests/benchmarks/intervals.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits
from zoo import EVERY
from zoo_oracle import widths
from zoo_trials import Trials

from analysis.decision.winner import choose
from analysis.surfaces.optima import Lattice, LatticeSize
from analysis.surfaces.surface import fit_languages

FAMILIES = ("bowl", "flat", "cliff", "logs", "asymmetric")
DRAWS = 4
SIZE = LatticeSize(almr=13, lr=21, draws=200)


def judge(family: str, number: int) -> dict[str, float | str]:
    """Of 30 random trials: whether both intervals hold the optimum (1.0 or 0.0), and their widths over the oracle's."""
    drawn = EVERY[family].draw(family, number)
    trials = Trials(drawn, combined=number % 2 == 1, seed=number)
    table = trials.tables("random", (30,))[30]
    used = table[table["status"] == "complete"]
    almr, lr = used["almr"].to_numpy(float), used["lr"].to_numpy(float)
    with threadpool_limits(1):
        lattice = Lattice.of(fit_languages(table, tuple(trials.goal.losses)), almr, lr, size=SIZE)
    winner, known = choose(trials.goal.optima(lattice), lattice, 0.9), widths(drawn, almr, lr, trials.combined)
    a, r = winner.almr_interval, winner.lr_interval
    return {
        "family": family,
        "almr": float(a.low <= drawn.almr <= a.high),
        "lr": float(r.low <= drawn.lr <= r.high),
        "almr_width": (a.high - a.low) / known.almr,
        "lr_width": float(np.log(r.high / r.low)) / known.lr,
    }


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    return pd.DataFrame([judge(family, number) for family in FAMILIES for number in range(DRAWS)])


@pytest.mark.parametrize("what", ["almr", "lr"])
def test_intervals_hold_the_optimum(judged: pd.DataFrame, what: str) -> None:
    """Of 20: fewer than 15 would be a chance of 1 in 90. Of intervals half as wide it is the rule: they hold 12."""
    assert judged[what].sum() >= 15


def test_intervals_of_a_bowl_are_as_narrow_as_of_someone_who_knows_that_it_is_one(judged: pd.DataFrame) -> None:
    bowls = judged[judged["family"].isin(["bowl", "flat"])]
    assert bowls["almr_width"].median() < 2.2
    assert bowls["lr_width"].median() < 2.2


def test_intervals_between_steep_ends_follow_the_ends(judged: pd.DataFrame) -> None:
    """Without a form of ALMR that is steep at both ends they are seven times the oracle's."""
    assert judged[judged["family"] == "logs"]["almr_width"].median() < 5
