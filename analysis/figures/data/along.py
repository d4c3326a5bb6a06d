"""The loss along a hyper-parameter that was fitted alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis.figures.data import loss_and_guard
from analysis.figures.data.labelled import labelled
from analysis.figures.data.slices import TALLEST
from analysis.fit.fit import Fit
from analysis.fit_file.winner import Interval
from analysis.surfaces.kernels import Array
from analysis.table import table as tables


class AlongInfo(NamedTuple):
    """The loss at values `x` (n,) of the hyper-parameter `name`, "lr" or "almr": its mean and band (n,), in nats.

    `trials` has the columns x and loss; `diverged` their values of x; `best` the winner's, with its interval. `frame`
    is the range of losses that is drawn: trials near divergence may lie above it.
    """

    name: str
    quantity: str
    unit: str
    level: float
    x: Array
    mean: Array
    low: Array
    high: Array
    trials: pd.DataFrame
    diverged: list[float]
    best: float
    interval: Interval
    frame: tuple[float, float]

    def table(self) -> pd.DataFrame:
        """Columns what, lr or almr, loss, low, high."""
        band = {self.name: self.x, "loss": self.mean, "low": self.low, "high": self.high}
        best = {self.name: [self.best], "low": [self.interval.low], "high": [self.interval.high]}
        return labelled(
            {
                "fitted mean": pd.DataFrame(band),
                "trial": self.trials.rename(columns={"x": self.name}),
                "diverged": pd.DataFrame({self.name: self.diverged}),
                f"winner, interval of {self.name}": pd.DataFrame(best),
            }
        )


def along_info(fit: Fit) -> AlongInfo | None:
    """None where a surface over both hyper-parameters was fitted."""
    name = fit.file.alone
    if name is None:
        return None
    winner, optima = fit.file.winner, loss_and_guard.unguarded(fit).optima(fit.lattice)
    mean, half = optima.mean.ravel(), norm.ppf((1 + winner.level) / 2) * optima.sd.ravel()
    trials = loss_and_guard.usable_trials(fit).rename(columns={name: "x"})[["x", "loss"]]
    lowest = float(min((mean - half).min(), trials["loss"].min()))
    highest = min(
        float(max((mean + half).max(), trials["loss"].max())),
        lowest + TALLEST * (float(trials["loss"].median()) - lowest),
    )
    room = 0.06 * (highest - lowest)
    return AlongInfo(
        name=name,
        quantity=loss_and_guard.quantity(fit),
        unit=fit.loss_unit,
        level=winner.level,
        x=np.asarray(getattr(fit.lattice, name)),
        mean=mean,
        low=mean - half,
        high=mean + half,
        trials=trials,
        diverged=tables.diverged(fit.table)[name].tolist(),
        best=getattr(winner, name),
        interval=getattr(winner, f"{name}_interval"),
        frame=(lowest - room, highest + room),
    )
