"""The next trial under any strategy: Optuna's own samplers, and ours, asked alike. The state is the trials themselves.

Every question builds the Optuna study anew from the trials that are known, with a seed of the trial's own number: so a
search that was killed goes on with the same proposals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.decision.objectives import Goal
from analysis.search.gain import minimised
from analysis.search.propose import Proposal
from analysis.search.sampler import SurfaceSampler, distributions_of
from analysis.search.space import Point, Space
from analysis.table import table as tables

optuna.logging.set_verbosity(optuna.logging.ERROR)  # its advice on packages is not for the users of a search
OTHERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def ask(
    strategy: str,
    table: pd.DataFrame,
    goal: Goal,
    space: Space,
    pending: list[Point],
    index: int,
    curve: float = 0.25,
    seed: int = 0,
) -> Proposal:
    """Trial number `index` (from 0) under "surface", "tpe", "gp" or "random": a cell that is neither in the table nor
    pending, of which there has to be one. `table` as in analysis.table, with one row per trial that has an outcome.
    """
    number = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
    ours = SurfaceSampler(seed, curve, goal, space) if strategy == "surface" else None
    used = [*zip(table["almr"], table["lr"], strict=True), *pending]
    # Trials of an earlier and wider search count too: to Optuna all have to be of the same distributions.
    everywhere = distributions_of(Space((*space.cells, *used)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=ours or OTHERS[strategy](number))
        study.add_trials(_trials(table, goal, pending, everywhere))
        asked = study.ask(everywhere).params
    if ours and ours.last:
        return ours.last
    free = space.without(used)
    return Proposal(*space.nearest(asked["almr"], asked["lr"], free.cells), strategy)


def _trials(
    table: pd.DataFrame, goal: Goal, pending: list[Point], distributions: dict[str, BaseDistribution]
) -> list[FrozenTrial]:
    """Trials that diverged, or break a guard, count for Optuna's own samplers as bad as the worst that completed."""
    values = goal.of_trials(table).to_numpy(float)
    every = tables.objective(table, minimised(goal)).to_numpy(float)
    worst = float(np.nanmax(every)) if np.isfinite(every).any() else 0.0
    losses = [f"loss_{name}" for name in goal.languages]
    lost = table.index.isin(tables.diverged(table).index)
    found = []
    for row, value, diverged in zip(table.to_dict("records"), values, lost, strict=True):
        kept = row["excluded"] is None or pd.isna(row["excluded"])
        state = TrialState.COMPLETE if kept or diverged else TrialState.FAIL
        attributes: dict[str, float | str] = {name: float(row[name]) for name in losses}
        attributes = {"status": "diverged"} if diverged else attributes
        found.append(
            _trial((row["almr"], row["lr"]), distributions, state, attributes, value if value == value else worst)
        )
    return found + [_trial(point, distributions, TrialState.RUNNING, {}, None) for point in pending]


def _trial(
    point: Point,
    distributions: dict[str, BaseDistribution],
    state: TrialState,
    attributes: dict[str, float | str],
    value: float | None,
) -> FrozenTrial:
    params = dict(zip(distributions, point, strict=True))
    return create_trial(
        state=state,
        value=value if state is TrialState.COMPLETE else None,
        params=params,
        distributions=distributions,
        user_attrs=attributes,
    )
