"""Small searches on known bowls: one combined loss, which is quicker to fit than two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from known_surfaces import Known

from analysis.decision.objectives import WeightedGoal
from analysis.search.ask import ask
from analysis.search.propose import Proposal, SearchContext
from analysis.search.space import Point, Space

TOTAL = WeightedGoal({"total": 1.0})


def measured(known: Known, points: list[Point], noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Complete trials at these points, with one loss; an empty table has its columns."""
    almr, lr = np.array(points, float).reshape(-1, 2).T
    loss = known.mean(almr, lr) + noise * np.random.default_rng(seed).standard_normal(len(almr))
    table = pd.DataFrame({"almr": almr, "lr": lr, "loss_total": loss, "status": "complete"})
    return table.assign(excluded=pd.Series([None] * len(table), dtype=object))


def lost(table: pd.DataFrame, rows: object) -> pd.DataFrame:
    """The same table, those rows diverged."""
    table = table.copy()
    table.loc[rows, "loss_total"] = np.nan
    table.loc[rows, "status"] = "diverged"
    table.loc[rows, "excluded"] = "diverged: as the test has it"
    return table


def search(
    outcome: Callable[[list[Point]], pd.DataFrame], space: Space, trials: int, strategy: str = "surface", seed: int = 0
) -> list[Proposal]:
    """Asked for one trial after another; `outcome` measures all points so far."""
    found: list[Proposal] = []
    for index in range(trials):
        table = outcome([(one.almr, one.lr) for one in found])
        found.append(ask(strategy, SearchContext(table, TOTAL, space, index=index, seed=seed)))
    return found
