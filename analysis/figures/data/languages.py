"""The trade-off between the languages' losses, where both are known."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from analysis.decision.objectives import base_loss
from analysis.figures.data.labelled import labelled
from analysis.fit.fit import Fit
from analysis.fit_file.curve import FrontPoint
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import LossAtWinner
from analysis.surfaces.kernels import Array
from analysis.table import table as tables
from sweep.study import LANGUAGES


class LanguagesInfo(NamedTuple):
    """Losses in `unit`. `trials`: columns almr, lr, original, additional, optimal (no other trial is better in
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
    unit: str

    def table(self) -> pd.DataFrame:
        """Columns what, original, additional (in `unit`), and of trials almr, lr, optimal."""
        base = [self.base] if self.base else []
        bound = [] if self.bound is None else [{"original": self.bound}]
        return labelled(
            {
                "trial": self.trials,
                "winner at each weight": pd.DataFrame([{"weight": p.weight} | p.losses for p in self.front]),
                "winner": pd.DataFrame([{name: self.winner[name].mean for name in LANGUAGES}]),
                "base model": pd.DataFrame(base),
                "guard": pd.DataFrame(bound),
            }
        )


class FrontInfo(NamedTuple):
    """The winner at each weight of the additional language (`front`). `tried`: the range of ALMRs and of LRs; `own`:
    the weight of this fit, None under a forgetting guard and where sources are weighted.
    """

    front: list[FrontPoint]
    tried: dict[str, tuple[float, float]]
    own: float | None
    level: float
    labels: dict[str, str]

    def table(self) -> pd.DataFrame:
        """Columns what, weight, almr, lr, and the ends of their intervals."""
        return labelled({"winner at each weight": pd.DataFrame([_front_row(point) for point in self.front])})


def _front_row(point: FrontPoint) -> dict[str, float]:
    ends = {"almr": point.almr_interval, "lr": point.lr_interval}
    return {"weight": point.weight, "almr": point.almr, "lr": point.lr} | {
        f"{name}_{end}": getattr(interval, end) for name, interval in ends.items() for end in ("low", "high")
    }


def front_info(fit: Fit) -> FrontInfo:
    weights = fit.file.weights or {}
    languages_alone = sum(weights.get(name, 0.0) for name in LANGUAGES) > 1 - 1e-9
    return FrontInfo(
        front=fit.file.front,
        tried={name: (float(axis[0]), float(axis[-1])) for name, axis in _axes(fit).items()},
        own=weights["additional"] if languages_alone else None,
        level=fit.file.winner.level,
        labels={name: fit.label(name) for name in LANGUAGES},
    )


def _axes(fit: Fit) -> dict[str, Array]:
    return {"almr": fit.lattice.almr, "lr": fit.lattice.lr}


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
        unit=fit.loss_unit,
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
