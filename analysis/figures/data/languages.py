"""The trade-off between the languages' losses, where both are known."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from analysis.decision.objectives import base_loss
from analysis.fit.fit import Fit
from analysis.fit_file.curve import FrontPoint
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import LossAtWinner
from analysis.surfaces.kernels import Array
from analysis.table import table as tables
from sweep.study import LANGUAGES


class LanguagesInfo(NamedTuple):
    """Losses in nats per token. `trials`: columns almr, lr, original, additional, optimal (no other trial is better in
    both languages).

    `base`: the base model's losses, None where not known; `winner`: the predicted losses; `front`: the winner at each
    weight; `bound`: the largest loss of the original language under a guard of it, None without one. `labels`
    names the languages. `frame`: the range of losses that is drawn; `outside` trials lie outside of it.
    """

    trials: pd.DataFrame
    base: dict[str, float] | None
    winner: dict[str, LossAtWinner]
    front: list[FrontPoint]
    bound: float | None
    labels: dict[str, str]
    frame: dict[str, tuple[float, float]]
    outside: int


def languages_info(fit: Fit) -> LanguagesInfo:
    trials, known = _trials(fit), base_losses(fit)
    base = {name: known[name] for name in LANGUAGES} if set(LANGUAGES) <= set(known) else None
    bound = fit.file.bounds.get("original")
    frame = _frame(fit, [trials[trials["optimal"]], pd.DataFrame([base or {}, {"original": bound}])])
    inside = [trials[name].between(*frame[name]) for name in LANGUAGES]
    return LanguagesInfo(
        trials=trials,
        base=base,
        winner=fit.file.winner.losses,
        front=fit.file.front,
        bound=bound,
        labels={name: fit.label(name) for name in LANGUAGES},
        frame=frame,
        outside=int((~pd.concat(inside, axis=1).all(axis=1)).sum()),
    )


def _trials(fit: Fit) -> pd.DataFrame:
    used = tables.usable(fit.table)
    trials = used[["almr", "lr"]].assign(**{name: used[f"loss_{name}"].astype(float) for name in LANGUAGES})
    return trials.assign(optimal=_optimal(trials[list(LANGUAGES)].to_numpy(float)))


def _frame(fit: Fit, shown: list[pd.DataFrame]) -> dict[str, tuple[float, float]]:
    """The range of each language's losses in the `shown` rows, the front and the winner's intervals, with a margin."""
    frame = {}
    for name in LANGUAGES:
        reach = fit.file.winner.losses[name].interval
        losses = [loss for rows in shown for loss in rows.get(name, pd.Series(dtype=float)).dropna()]
        losses += [reach.low, reach.high, *(point.losses[name] for point in fit.file.front)]
        room = 0.1 * (max(losses) - min(losses)) or 0.01
        frame[name] = min(losses) - room, max(losses) + room
    return frame


def base_losses(fit: FitResult) -> dict[str, float]:
    """The base model's loss of each surface that the table has it for."""
    found = {name: base_loss(fit.table, name) for name in fit.file.forms}
    return {name: loss for name, loss in found.items() if loss is not None}


def _optimal(losses: Array) -> list[bool]:
    """Whether each of n trials (n, 2) is Pareto optimal: none is at least as good in both losses and better in one."""
    return [not ((losses <= one).all(axis=1) & (losses < one).any(axis=1)).any() for one in losses]
