"""What one language costs the other, and how the weight between them moves the winner. Both need both languages."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from analysis.fit.fit import Fit
from analysis.fit_file.curve import FrontPoint
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import LossAtWinner
from analysis.surfaces.kernels import Array
from analysis.table import table as tables
from sweep.study.fields import LANGUAGES


class LanguagesInfo(NamedTuple):
    """`trials`: columns almr, lr, original, additional, optimal (no other trial is better in both languages).

    `base` is the base model's loss per language, None where unknown; `winner` the predicted losses; `front` the winner
    at each weight; `bound` the forgetting guard's largest loss of the original language, None without one; `labels`
    names the languages. `frame` bounds the losses of each that matter for the trade-off; `beyond` trials are over it.
    """

    trials: pd.DataFrame
    base: dict[str, float] | None
    winner: dict[str, LossAtWinner]
    front: list[FrontPoint]
    bound: float | None
    level: float
    labels: dict[str, str]
    frame: dict[str, tuple[float, float]]
    beyond: int


class FrontInfo(NamedTuple):
    """The winner at each weight of the additional language, from 0 to 1.

    `weight` is the study's own, None under a forgetting guard; `almr` and `lr` are the measured ranges.
    """

    points: list[FrontPoint]
    weight: float | None
    almr: tuple[float, float]
    lr: tuple[float, float]
    level: float
    label: str


def languages_info(fit: Fit) -> LanguagesInfo:
    trials, known = _trials(fit), base_losses(fit)
    base = known if set(known) == set(LANGUAGES) else None
    bound = fit.file.guard.bound if fit.file.guard else None
    frame = _frame(fit, [trials[trials["optimal"]], pd.DataFrame([base or {}, {"original": bound}])])
    inside = [trials[name].between(*frame[name]) for name in LANGUAGES]
    return LanguagesInfo(
        trials,
        base,
        fit.file.winner.losses,
        fit.file.front,
        bound,
        fit.file.winner.level,
        {name: fit.label(name) for name in LANGUAGES},
        frame,
        int((~pd.concat(inside, axis=1).all(axis=1)).sum()),
    )


def _trials(fit: Fit) -> pd.DataFrame:
    used = tables.usable(fit.table)
    trials = used[["almr", "lr"]].assign(**{name: used[f"loss_{name}"].astype(float) for name in LANGUAGES})
    return trials.assign(optimal=_optimal(trials[list(LANGUAGES)].to_numpy(float)))


def _frame(fit: Fit, shown: list[pd.DataFrame]) -> dict[str, tuple[float, float]]:
    """Around the losses of what is shown in any case, the front and the winner's intervals."""
    frame = {}
    for name in LANGUAGES:
        reach = fit.file.winner.losses[name].interval
        losses = [loss for rows in shown for loss in rows.get(name, pd.Series(dtype=float)).dropna()]
        losses += [reach.low, reach.high, *(point.losses[name] for point in fit.file.front)]
        room = 0.1 * (max(losses) - min(losses)) or 0.01
        frame[name] = min(losses) - room, max(losses) + room
    return frame


def base_losses(fit: FitResult) -> dict[str, float]:
    """The base model's loss of each language for which the table has one."""
    columns = {name: f"base_loss_{name}" for name in fit.file.forms}
    known = {name: fit.table[column].astype(float).dropna() for name, column in columns.items() if column in fit.table}
    return {name: float(losses.median()) for name, losses in known.items() if len(losses)}


def _optimal(losses: Array) -> list[bool]:
    """Of n trials (n, 2): no other is at least as good in both languages and better in one."""
    return [not ((losses <= one).all(axis=1) & (losses < one).any(axis=1)).any() for one in losses]


def front_info(fit: Fit) -> FrontInfo:
    almr, lr = fit.lattice.almr, fit.lattice.lr
    return FrontInfo(
        fit.file.front,
        fit.file.weights["additional"] if fit.file.weights else None,
        (float(almr[0]), float(almr[-1])),
        (float(lr[0]), float(lr[-1])),
        fit.file.winner.level,
        fit.label("additional"),
    )
