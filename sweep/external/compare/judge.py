"""Two tables of the same trials by two trainers -> whether their losses agree, and what the difference does.

Where both trainers sample one surface, a difference has two parts: the noise of two trials, and what the order of the
text does to all trials of one trainer alike, as most trainers shuffle by themselves. A fit to one seed does not see the
second part: on the demo the sd over seeds is 0.0165 nats where its fit's noise is 0.0039, so that the order is taken to
have ORDER times the sd of the noise. The mean of the differences shows a shift, the largest of them a part of the range
that is trained otherwise. Both are tested at one level over all languages (Bonferroni): trainers that agree pass in
CONFIDENCE of all comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from analysis.fit.fit import Fit
from analysis.surfaces.kernels import Array
from analysis.transfer.cost import selection_regret
from sweep.external.compare.result import LossDifference, PairedTrial, WinnerDifference
from sweep.study import LANGUAGES

CONFIDENCE = 0.95
ORDER = 4.0
LEAST = 1e-3  # nats: within it all trainers are that train alike in float32 (sweep.external.parity.judge)
POINT = ["almr", "lr", "seed"]
Noise = Callable[[str, Array, Array], Array]  # (language, ALMRs (n,), LRs (n,)) -> sd of a trial's loss in nats (n,)


@dataclass(frozen=True)
class Bounds:
    """How far trainers that agree may be apart. `stated`: the user's, in nats, of every difference. `order`: the sd of
    what the order of the text does to all trials of a trainer, over that of a trial's noise.
    """

    noise: Noise
    stated: float | None = None
    order: float = ORDER

    def of(self, language: str, almrs: Array, lrs: Array) -> tuple[Array, float]:
        """The bound of each difference (n,), and that of their mean."""
        count = len(almrs)
        if self.stated is not None:
            return np.full(count, self.stated), self.stated
        noise = 2 * self.noise(language, almrs, lrs) ** 2  # variances, of both trainers together
        mean = float(np.mean(noise))
        order = self.order**2 * mean
        tail = (1 - CONFIDENCE) / (2 * 2 * len(LANGUAGES))  # two sides, two tests a language
        of_each, of_mean = (NormalDist().inv_cdf(1 - share) for share in (tail / count, tail))
        each, shift = of_each * np.sqrt(noise + order), of_mean * math.sqrt(mean / count + order)
        return np.maximum(each, LEAST), max(shift, LEAST)


def pairs(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The trials that both tables have, with the columns of both, `_0` and `_1`."""
    kept = ["status", "reason", "excluded", "seconds"]
    kept += [f"{kind}_{language}" for kind in ("loss", "base_loss") for language in LANGUAGES]
    sides = (table[[*POINT, *kept]] for table in (first, second))
    return next(sides).merge(next(sides), on=POINT, suffixes=("_0", "_1")).sort_values(POINT, ignore_index=True)


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
        almrs, lrs = used["almr"].to_numpy(float), used["lr"].to_numpy(float)
        of_each, of_mean = bounds.of(language, almrs, lrs)
        worst = int(np.argmax(np.abs(apart) / of_each))
        base = (used[f"base_loss_{language}_1"] - used[f"base_loss_{language}_0"]).astype(float).median()
        yield LossDifference(
            language=language,
            pairs=len(apart),
            mean=float(apart.mean()),
            mean_bound=of_mean,
            largest=float(apart[worst]),
            largest_bound=float(of_each[worst]),
            almr=float(almrs[worst]),
            lr=float(lrs[worst]),
            base=None if math.isnan(base) else float(base),
            base_bound=LEAST if bounds.stated is None else bounds.stated,
        )


def noise_of(*fits: Fit) -> Noise:
    """The noise of one trial by the surfaces of fits, their mean variance."""

    def noise(language: str, almrs: Array, lrs: Array) -> Array:
        found = [fit.surfaces[language].noise(almrs, lrs) for fit in fits if language in fit.surfaces]
        return np.asarray(np.sqrt(np.mean(np.square(found), axis=0)))

    return noise


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
