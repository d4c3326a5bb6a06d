"""The next trial under any strategy: this product's own, or one of Optuna's samplers.

Each call of the latter builds a new Optuna study from the trials so far, seeded by the number of the trial. There is no
other state: a search that was killed continues with the same proposals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.search.propose import Proposal, SearchContext, propose
from analysis.search.sampler import distributions_of
from analysis.search.space import Space
from analysis.table import table as tables

optuna.logging.set_verbosity(optuna.logging.ERROR)  # its advice on packages would reach the users of a search
OTHERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def ask(strategy: str, context: SearchContext) -> Proposal:
    """The next trial under "surface", "tpe", "gp" or "random": a free cell, of which there has to be one."""
    if strategy == "surface":
        return propose(replace(context, index=len(context.used)))
    space, seed = context.space, int(np.random.SeedSequence([context.seed, context.index]).generate_state(1)[0])
    # Optuna requires one distribution for all trials, also for those of an earlier and wider search.
    everywhere = distributions_of(Space((*space.cells, *context.used)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=OTHERS[strategy](seed))
        study.add_trials(_trials(context, everywhere))
        suggested = study.ask(everywhere).params
    return Proposal(*space.nearest(suggested["almr"], suggested["lr"], context.free.cells), strategy)


def _trials(context: SearchContext, distributions: dict[str, BaseDistribution]) -> list[FrozenTrial]:
    """The trials so far, as Optuna's. One that diverged or breaks a guard has the value of the worst complete trial."""
    table, goal = context.table, context.goal
    values = goal.of_trials(table).to_numpy(float)
    every = tables.objective(table, goal.loss_weights).to_numpy(float)
    worst = float(np.nanmax(every)) if np.isfinite(every).any() else 0.0
    lost = table.index.isin(tables.diverged(table).index)
    finished = lost | table["excluded"].isna()
    states = [TrialState.COMPLETE if one else TrialState.FAIL for one in finished]
    found = [(state, value if value == value else worst) for state, value in zip(states, values, strict=True)]
    found += [(TrialState.RUNNING, worst)] * len(context.pending)
    return [
        create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            params=dict(zip(distributions, point, strict=True)),
            distributions=distributions,
        )
        for point, (state, value) in zip(context.used, found, strict=True)
    ]
