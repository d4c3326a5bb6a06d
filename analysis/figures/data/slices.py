"""The loss along the LR, at each tried ALMR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis.figures.data import loss_and_guard
from analysis.figures.data.labelled import labelled
from analysis.fit.fit import Fit
from analysis.fit_file.curve import CurvePoint
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, LatticeSize
from analysis.table import table as tables
from sweep.study import InputError

MOST = 12  # panels: in a table of random points each has its own ALMR
POINT = ["almr", "lr"]
TALLEST = 4  # height of the frame, in distances of the median trial from the lowest loss


class Slice(NamedTuple):
    """The loss along `lr` (L,) at one ALMR: its mean and band (L,), and the trials (lr, loss, allowed).

    `allowed` (L,): whether the guards of losses hold. `best`: the best LR, None where they hold nowhere.
    """

    almr: float
    lr: Array
    mean: Array
    low: Array
    high: Array
    allowed: Array
    trials: pd.DataFrame
    diverged: list[float]
    best: CurvePoint | None


class SlicesInfo(NamedTuple):
    """`quantity` names the loss; `slices` are at most MOST, evenly chosen of the `tried` ALMRs.

    `frame`: the range of losses that is drawn, so that the minima can be seen; trials near divergence may lie above it.
    """

    quantity: str
    unit: str
    level: float
    slices: list[Slice]
    frame: tuple[float, float]
    tried: int = 1

    def table(self) -> pd.DataFrame:
        """Columns what, almr, lr, loss, low, high, allowed."""
        return labelled(
            {
                "fitted mean": pd.concat([_line(one) for one in self.slices]),
                "trial": pd.concat([one.trials.assign(almr=one.almr) for one in self.slices]),
                "diverged": pd.DataFrame([(one.almr, lr) for one in self.slices for lr in one.diverged], columns=POINT),
                "best LR and its interval": pd.DataFrame(
                    [(one.almr, one.best.lr, one.best.lr_low, one.best.lr_high) for one in self.slices if one.best],
                    columns=[*POINT, "low", "high"],
                ),
            }
        )


def _line(one: Slice) -> pd.DataFrame:
    line = {"lr": one.lr, "loss": one.mean, "low": one.low, "high": one.high, "allowed": one.allowed}
    return pd.DataFrame({"almr": one.almr} | line)


def slices_info(fit: Fit) -> SlicesInfo:
    almrs = np.unique(tables.usable(fit.table)["almr"])
    chosen = almrs[np.linspace(0, len(almrs) - 1, min(MOST, len(almrs))).round().astype(int)]
    return _at(fit, chosen)._replace(tried=len(almrs))


def slice_info(fit: Fit, almr: float) -> SlicesInfo:
    """At one ALMR alone, tried or not. Raises InputError for one outside of the tried range."""
    low, high = fit.lattice.almr[[0, -1]]
    if not low <= almr <= high:
        raise InputError(f"ALMR {almr:g} is outside of what was tried: give one from {low:g} to {high:g}")
    found = _at(fit, np.array([almr]))
    [one] = found.slices
    return found._replace(frame=_frame([one], one.trials["loss"] if len(one.trials) else pd.Series(one.mean)))


def _at(fit: Fit, almrs: Array) -> SlicesInfo:
    trials = loss_and_guard.usable_trials(fit)
    slices = [_slice(fit, trials, float(almr)) for almr in almrs]
    return SlicesInfo(
        quantity=loss_and_guard.quantity(fit),
        unit=fit.loss_unit,
        level=fit.file.winner.level,
        slices=slices,
        frame=_frame(slices, trials["loss"]),
    )


def _frame(slices: Sequence[Slice], losses: pd.Series) -> tuple[float, float]:
    bands = [one.low.min() for one in slices], [one.high.max() for one in slices]
    lowest, highest = min(losses.min(), *bands[0]), max(losses.max(), *bands[1])
    highest = min(highest, lowest + TALLEST * (losses.median() - lowest))
    room = 0.06 * (highest - lowest)
    return float(lowest - room), float(highest + room)


def _slice(fit: Fit, trials: pd.DataFrame, almr: float) -> Slice:
    lattice = Lattice.of(fit.surfaces, np.array([almr]), trials["lr"].to_numpy(float), size=LatticeSize(draws=1))
    optima, margin = loss_and_guard.unguarded(fit).optima(lattice), loss_and_guard.margin(fit, lattice)
    half = norm.ppf((1 + fit.file.winner.level) / 2) * optima.sd[0]
    lost = tables.diverged(fit.table)
    return Slice(
        almr=almr,
        lr=lattice.lr,
        mean=optima.mean[0],
        low=optima.mean[0] - half,
        high=optima.mean[0] + half,
        allowed=np.ones(len(lattice.lr), bool) if margin is None else margin[0] >= 0,
        trials=trials.loc[trials["almr"] == almr, ["lr", "loss", "allowed"]],
        diverged=lost.loc[lost["almr"] == almr, "lr"].tolist(),
        best=_best(fit.file.curve, fit.lattice.almr, almr),
    )


def _best(curve: Sequence[CurvePoint], almrs: Array, almr: float) -> CurvePoint | None:
    """The curve at an ALMR, between its two neighbours of the lattice; None where the guard allows no LR at one."""
    known = {point.almr: point for point in curve}
    low, high = (known.get(float(end)) for end in (almrs[almrs <= almr].max(), almrs[almrs >= almr].min()))
    if low is None or high is None:
        return None
    share = (almr - low.almr) / (high.almr - low.almr or 1.0)
    lrs = {name: _between(getattr(low, name), getattr(high, name), share) for name in ("lr", "lr_low", "lr_high")}
    return CurvePoint(almr=almr, at_edge=low.at_edge or high.at_edge, **lrs)


def _between(low: float, high: float, share: float) -> float:
    return float(low ** (1 - share) * high**share)
