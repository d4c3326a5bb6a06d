"""Two tables of the same trials by two trainers -> whether their losses agree, and what the difference does.

The mean of the differences shows a shift, the largest of them a part of the range that is trained otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.compare.shared import POINT, shared_points
from analysis.fit.fit import Fit
from analysis.transfer.cost import selection_regret
from sweep.external.compare.bounds import SAME, Bounds, PairsOf
from sweep.external.compare.result import LossDifference, PairedTrial, WinnerDifference
from sweep.study import LANGUAGES


def pairs(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The trials that both tables have, with the columns of both, `_0` and `_1`."""
    kept = ["status", "reason", "excluded", "seconds"]
    kept += [f"{kind}_{language}" for kind in ("loss", "base_loss") for language in LANGUAGES]
    return shared_points(first, second, kept)


def trials(paired: pd.DataFrame) -> Iterator[PairedTrial]:
    for row in paired.to_dict("records"):

        def both(name: str, row: dict[Any, Any] = row) -> tuple[Any, Any]:
            first, second = (None if pd.isna(row[f"{name}_{i}"]) else row[f"{name}_{i}"] for i in (0, 1))
            return first, second

        losses = {language: both(f"loss_{language}") for language in LANGUAGES}
        ends: dict[str, Any] = {"statuses": both("status"), "reasons": both("reason"), "seconds": both("seconds")}
        yield PairedTrial(**{name: row[name] for name in POINT}, losses=losses, **ends)


def differences(paired: pd.DataFrame, bounds: Bounds) -> Iterator[LossDifference]:
    """Of each language with losses of both trainers in some trial that completed with both."""
    used = paired[paired["excluded_0"].isna() & paired["excluded_1"].isna()]
    for language in LANGUAGES:
        apart = (used[f"loss_{language}_1"] - used[f"loss_{language}_0"]).to_numpy(float)
        if not len(apart):
            continue
        of_each, of_mean = bounds(language, _measured(used, language))
        worst = int(np.argmax(np.abs(apart) / of_each))
        base = (used[f"base_loss_{language}_1"] - used[f"base_loss_{language}_0"]).astype(float).median()
        yield LossDifference(
            language=language,
            pairs=len(apart),
            mean=float(apart.mean()),
            mean_bound=of_mean,
            largest=float(apart[worst]),
            largest_bound=float(of_each[worst]),
            almr=float(used["almr"].iloc[worst]),
            lr=float(used["lr"].iloc[worst]),
            base=None if math.isnan(base) else float(base),
            base_bound=SAME,
        )


def _measured(used: pd.DataFrame, language: str) -> PairsOf:
    lower = used[[f"loss_{language}_0", f"loss_{language}_1"]].min(axis=1)
    return PairsOf(*(column.to_numpy(float) for column in (used["almr"], used["lr"], lower)))


def winners(first: Fit, second: Fit, tolerance: float) -> WinnerDifference:
    """Both winners, and the cost of each on the other's surface: see `selection_regret`."""
    crossed = ((first.winner, second), (second.winner, first))
    costs = [selection_regret(on.optima, at.almr, at.lr, at.level) for at, on in crossed]
    codes = [tuple(dict.fromkeys(one.code for one in fit.refusals)) for fit in (first, second)]
    return WinnerDifference(
        winners=(first.winner, second.winner),
        refusals=(codes[0], codes[1]),
        costs=(costs[0], costs[1]),
        tolerance=tolerance,
    )
