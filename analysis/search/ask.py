"""The next trial under any strategy, Optuna's own samplers or SurfaceSampler, through one interface.

Each call builds a new Optuna study from the trials so far, seeded by the number of the trial. There is no other state:
a search that was killed continues with the same proposals.
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

from analysis.search.propose import Proposal, SearchContext
from analysis.search.sampler import SurfaceSampler, distributions_of
from analysis.search.space import Point, Space
from analysis.table import table as tables

optuna.logging.set_verbosity(optuna.logging.ERROR)  # its advice on packages would reach the users of a search
OTHERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def ask(strategy: str, context: SearchContext) -> Proposal:
    """The next trial under "surface", "tpe", "gp" or "random": a free cell, of which there has to be one."""
    goal, space = context.goal, context.space
    sampler_seed = int(np.random.SeedSequence([context.seed, context.index]).generate_state(1)[0])
    ours = SurfaceSampler(context.seed, context.curve, goal, space) if strategy == "surface" else None
    # Optuna requires one distribution for all trials, also for those of an earlier and wider search.
    everywhere = distributions_of(Space((*space.cells, *context.used)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=ours or OTHERS[strategy](sampler_seed))
        study.add_trials(_trials(context, everywhere))
        suggested = study.ask(everywhere).params
    if ours and ours.last:
        return ours.last
    return Proposal(*space.nearest(suggested["almr"], suggested["lr"], context.free.cells), strategy)


def _trials(context: SearchContext, distributions: dict[str, BaseDistribution]) -> list[FrozenTrial]:
    """The trials so far, as Optuna's. One that diverged or breaks a guard has the value of the worst complete trial."""
    table, goal = context.table, context.goal
    values = goal.of_trials(table).to_numpy(float)
    every = tables.objective(table, goal.loss_weights).to_numpy(float)
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
    return found + [_trial(point, distributions, TrialState.RUNNING, {}, None) for point in context.pending]


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
