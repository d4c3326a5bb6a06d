"""The trials that two tables share, and how far their losses are apart there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.compare.result import SharedLoss, SharedTrials
from analysis.compare.shift import LEAST_P
from analysis.fit_file.winner import Interval
from analysis.surfaces.kernels import Array
from analysis.table import table as tables

POINT = ["almr", "lr", "seed"]
FEWEST = 3  # trials: of fewer the scatter is not known


def shared_points(first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The trials that both tables have at one (ALMR, LR, seed), with these columns of both, `_0` and `_1`."""
    sides = (table.reindex(columns=[*POINT, *columns]) for table in (first, second))
    return next(sides).merge(next(sides), on=POINT, suffixes=("_0", "_1")).sort_values(POINT, ignore_index=True)


def shared_trials(first: pd.DataFrame, second: pd.DataFrame, losses: Iterable[str], level: float) -> SharedTrials:
    """`losses`: the names of those that compare. A point that one table has several times is left out."""
    names = list(losses)
    once = [_once(table) for table in (first, second)]
    paired = shared_points(once[0], once[1], ["status", "excluded", *(f"loss_{name}" for name in names)])
    used = paired[paired["excluded_0"].isna() & paired["excluded_1"].isna()]
    return SharedTrials(
        trials=len(paired),
        ended_otherwise=int((paired["status_0"] != paired["status_1"]).sum()),
        losses=tuple(_loss(used, name, level) for name in names if len(_known(used, name))),
    )


def _once(table: pd.DataFrame) -> pd.DataFrame:
    ours = table[~table["excluded"].isin(tables.FOREIGN)]
    return ours[~ours.reindex(columns=POINT).duplicated(keep=False)]


def _known(used: pd.DataFrame, name: str) -> pd.DataFrame:
    return used[used[f"loss_{name}_0"].notna() & used[f"loss_{name}_1"].notna()]


def _loss(used: pd.DataFrame, name: str, level: float) -> SharedLoss:
    rows = _known(used, name)
    apart = (rows[f"loss_{name}_1"] - rows[f"loss_{name}_0"]).to_numpy(float)
    around, p = _of_mean(apart, level)
    worst = int(np.abs(apart).argmax())
    return SharedLoss(
        name=name,
        trials=len(apart),
        mean=float(apart.mean()),
        interval=around,
        p_value=p,
        largest=float(apart[worst]),
        almr=float(rows["almr"].iloc[worst]),
        lr=float(rows["lr"].iloc[worst]),
    )


def _of_mean(apart: Array, level: float) -> tuple[Interval | None, float | None]:
    """Student's interval of the mean difference, and its two-sided test."""
    if len(apart) < FEWEST:
        return None, None
    mean, error, df = float(apart.mean()), float(apart.std(ddof=1) / np.sqrt(len(apart))), len(apart) - 1
    half = float(stdtrit(df, (1 + level) / 2)) * error
    p = float(2 * stdtr(df, -abs(mean) / error)) if error else float(not mean)
    return Interval(low=mean - half, high=mean + half), max(p, LEAST_P)
