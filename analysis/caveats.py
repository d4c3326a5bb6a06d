"""What qualifies a winner, in sentences that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from analysis import table as tables
from analysis.surface import FAR_NATS
from analysis.winner import Optima, Winner
from sweep.study import Study

FEW_TRIALS = 12
DIALS = ("almr", "lr")


class Check(Protocol):
    """Leave-one-out error (nats) and coverage of one language's surface."""

    @property
    def rmse(self) -> float: ...
    @property
    def coverage(self) -> float: ...


def find(
    study: Study,
    table: pd.DataFrame,
    optima: Optima,
    winner: Winner,
    noise: Mapping[str, float],
    checks: Mapping[str, Check],
) -> list[str]:
    """The warnings of a fit, the gravest first. `table` holds all rows; `noise` is in nats, by language."""
    used = tables.usable(table)
    return [
        *_edges(study, used, optima, winner),
        *_few(used),
        *_unbelievable(study, used, optima, winner, noise),
        *_poor_fit(noise, checks, winner.level),
        *_missing(study, table),
    ]


def _edges(study: Study, used: pd.DataFrame, optima: Optima, winner: Winner) -> Iterator[str]:
    axes = {"almr": (optima.almr, study.grid.almr), "lr": (optima.lr, study.grid.lrs)}
    for name, (measured, grid) in axes.items():
        value, interval = getattr(winner, name), getattr(winner, f"{name}_interval")
        beyond = [v for v in grid if v < measured[0] * (1 - 1e-9) or v > measured[-1] * (1 + 1e-9)]
        if name in winner.at_edge:
            remedy = (
                f"no trial of the grid's {', '.join(f'{v:.4g}' for v in beyond)} is usable yet"
                if beyond
                else "add grid points past it and run again"
            )
            yield f"the winner's {name} is at the edge of the grid ({value:.4g}): the optimum may lie beyond; {remedy}"
        elif len(measured) > 1 and (interval.low <= measured[0] or interval.high >= measured[-1]):
            yield (
                f"the {winner.level:.0%} interval of {name} reaches the edge of the grid "
                f"({interval.low:.4g} to {interval.high:.4g}): it is a lower bound on what is not known"
            )


def _few(used: pd.DataFrame) -> Iterator[str]:
    if len(used) < FEW_TRIALS:
        yield f"{_trials(len(used))} are few for a surface in two dials: trust intervals from {FEW_TRIALS} on"
    for name in DIALS:
        distinct = used[name].nunique()
        if distinct == 1:
            yield f"only one {name} was measured: nothing is known of any other"
        elif distinct == 2:
            yield f"only two values of {name} were measured: they cannot show a minimum between them; add a third"


def _unbelievable(
    study: Study, used: pd.DataFrame, optima: Optima, winner: Winner, noise: Mapping[str, float]
) -> Iterator[str]:
    """A minimum far below every trial is the surface's invention."""
    weights = study.objective.weights.shares
    best = float(tables.objective(used, weights).min())
    noise_squared = sum((weights[name] * noise[name]) ** 2 for name in weights)
    sd = float(np.sqrt(optima.sd[np.unravel_index(optima.mean.argmin(), optima.mean.shape)] ** 2 + noise_squared))
    if best - winner.objective > max(3 * sd, FAR_NATS / 5):
        yield (
            f"the predicted objective {winner.objective:.4f} is {best - winner.objective:.4f} nats below the best "
            f"trial's {best:.4f}: run a trial at ALMR {winner.almr:.3g}, LR {winner.lr:.3g} before believing it"
        )


def _poor_fit(noise: Mapping[str, float], checks: Mapping[str, Check], level: float) -> Iterator[str]:
    for name, check in checks.items():
        if check.rmse > 3 * noise[name]:
            yield (
                f"{name}: trials are predicted from the others with an error of {check.rmse:.4f} nats, "
                f"{check.rmse / noise[name]:.1f} times their noise: the grid is coarse for this surface, add points"
            )
        if check.coverage < level - 0.15:
            yield f"{name}: only {check.coverage:.0%} of trials lie inside their {level:.0%} band: widen every interval"


def _missing(study: Study, table: pd.DataFrame) -> Iterator[str]:
    grid = set(study.grid.points)
    here = set(zip(table["almr"], table["lr"], table["seed"], strict=True))
    status = table["status"].value_counts()
    failed, diverged = (int(status.get(name, 0)) for name in ("failed", "diverged"))
    foreign = int(table["excluded"].isin(tables.FOREIGN).sum())
    if grid - here:
        yield f"{len(grid - here)} of the grid's {_trials(len(grid))} have no record yet: run the study again"
    if failed:
        yield f"{_trials(failed)} failed, missing from the fit: run the study again to retry"
    if diverged:
        yield f"{_trials(diverged)} diverged: left out of the surfaces, shown in the figures"
    if foreign:
        yield f"{_trials(foreign)} left out that the study does not ask for: see `excluded` in the table"


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"
