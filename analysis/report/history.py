"""What fewer trials of the same search would have told: is a larger budget worth it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.decision.objectives import goal
from analysis.decision.winner import choose
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import Winner
from analysis.surfaces.optima import Lattice, LatticeSize
from analysis.surfaces.surface import fit_languages
from analysis.table import table as tables
from sweep.study import InputError, Objective

LEAST, MOST = 12, 400  # usable trials: of fewer there is no history, of more each refit takes long
REFITS = 3
SIZE = LatticeSize(17, 25, 200)


class WinnerAtBudget(TypedDict):
    """The winner after the search's first `trials` trials: [low, high] of ALMR, LR and objective (nats per token)."""

    trials: int
    almr: list[float]
    lr: list[float]
    objective: list[float]


def budgets(fit: FitResult, order: Sequence[float | None], ids: Sequence[str]) -> list[WinnerAtBudget]:
    """Refits of the first trials of a search, and the fit itself; empty where the order is not known or the trials are
    too few or too many. `order` and `ids`: of each trial, in one order.
    """
    place = {one: index for one, index in zip(ids, order, strict=True) if index is not None}
    used = tables.usable(fit.table)
    if fit.study is None or fit.file.alone or not LEAST <= len(used) <= MOST or not set(used["trial_id"]) <= set(place):
        return []
    own = fit.table[~fit.table["excluded"].isin(tables.FOREIGN)]  # others have the numbers of another search
    table = own.assign(place=own["trial_id"].map(place)).sort_values("place")
    counts = np.linspace(LEAST, len(table), REFITS + 1).round().astype(int)[:-1]
    return [*_refitted(table, sorted(set(counts.tolist())), fit.study.objective), _budget(len(table), fit.file.winner)]


def _refitted(table: pd.DataFrame, counts: list[int], objective: Objective) -> Iterator[WinnerAtBudget]:
    with threadpool_limits(1):
        for count in counts:
            try:
                yield _budget(count, _winner(table.head(count), objective))
            except InputError:  # too few of these were usable, or they lack a loss
                continue


def _winner(table: pd.DataFrame, objective: Objective) -> Winner:
    used = tables.usable(table)
    if len(used) < tables.fewest(used["almr"], used["lr"]):
        raise InputError("too few of the first trials are usable")
    aim = goal(objective, table)
    surfaces = fit_languages(table, tuple(dict.fromkeys([*tables.languages(table), *aim.losses])))
    lattice = Lattice.of(surfaces, used["almr"].to_numpy(float), used["lr"].to_numpy(float), size=SIZE)
    return choose(aim.optima(lattice), lattice, objective.level)


def _budget(trials: int, winner: Winner) -> WinnerAtBudget:
    almr, lr, objective = winner.almr_interval, winner.lr_interval, winner.objective_interval
    return WinnerAtBudget(
        trials=trials, almr=[almr.low, almr.high], lr=[lr.low, lr.high], objective=[objective.low, objective.high]
    )
