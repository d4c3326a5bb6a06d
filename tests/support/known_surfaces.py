"""Loss surfaces whose optimum is known, and tables of trials measured on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Points = list[tuple[float, float]]

ALMRS, LRS = (0.1, 0.9), (1e-5, 1e-3)  # the ranges of every grid here
MIDDLE = 1e-4  # of the LRs
APART = 0.3  # in ALMR, each language's own optimum from that of their mean
LOWEST = 3.5


@dataclass(frozen=True)
class Known:
    """Two languages' losses in nats. Their plain mean is a bowl with its minimum, LOWEST nats, at (`almr`, `lr`).

    `coupling` is the slope of ln LR* per unit of ALMR; `curvature` is in nats per squared ALMR and `steepness` in nats
    per squared ln LR. With a `cliff`, losses rise over LR* as LR to the power of it, and under LR* only as ln LR. The
    original language's best ALMR is lower by APART than the mean's, the additional language's higher.
    """

    almr: float = 0.5
    lr: float = 1e-4
    coupling: float = 0.0
    curvature: float = 0.5
    steepness: float = 0.03
    cliff: float = 0.0

    def best_lr(self, almr: ArrayLike) -> Array:
        """Of the mean and of each language."""
        return np.asarray(self.lr * np.exp(self.coupling * (np.asarray(almr, float) - self.almr)))

    def losses(self, almr: ArrayLike, lr: ArrayLike) -> dict[str, Array]:
        a, r = np.asarray(almr, float), np.asarray(lr, float)
        valley = self.steepness * self._wall(np.log(r / self.best_lr(a)))
        own = {"original": self.almr - APART, "additional": self.almr + APART}
        floor = LOWEST - self.curvature * APART**2
        return {name: floor + self.curvature * (a - best) ** 2 + valley for name, best in own.items()}

    def _wall(self, v: Array) -> Array:
        """v squared near v = 0, whatever the cliff."""
        c = self.cliff
        return np.asarray(2 * (np.exp(c * v) - 1 - c * v) / c**2 if c else v**2)

    def mean(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        return np.asarray(sum(self.losses(almr, lr).values()) / 2)


def grid(almrs: int, lrs: int) -> Points:
    """An even grid over the ranges, corners included."""
    return list(itertools.product(np.linspace(*ALMRS, almrs), np.geomspace(*LRS, lrs)))


def scattered(trials: int, seed: int) -> Points:
    random = np.random.default_rng(seed)
    almrs, lrs = random.uniform(*ALMRS, trials), np.exp(random.uniform(*np.log(LRS), trials))
    return list(zip(almrs, lrs, strict=True))


def measure(
    known: Known, points: Iterable[tuple[float, float]], noise: float = 0.003, growth: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """A table of one complete trial per point. Its noise has sd `noise` at LR MIDDLE and exp(`growth`) times that at
    the highest LR, independently in the two languages."""
    almr, lr = np.array(list(points)).T
    half = np.log(LRS[1] / LRS[0]) / 2
    sd = noise * np.exp(growth * np.log(lr / MIDDLE) / half)
    random = np.random.default_rng(seed)
    losses = {f"loss_{n}": loss + sd * random.standard_normal(len(lr)) for n, loss in known.losses(almr, lr).items()}
    return pd.DataFrame({"almr": almr, "lr": lr, "seed": 0, "status": "complete", "excluded": None} | losses)


def lost(table: pd.DataFrame, rows: Any, status: str) -> pd.DataFrame:
    """The same table with those rows "diverged" or "failed"."""
    table = table.astype({"excluded": object})
    table.loc[rows, ["loss_original", "loss_additional"]] = np.nan
    table.loc[rows, "status"] = status
    table.loc[rows, "excluded"] = f"{status}: as the test has it"
    return table
