"""The search as an Optuna sampler, for this product's runs and for any Optuna study with parameters almr and lr."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from analysis.decision.objectives import Goal, WeightedGoal
from analysis.search.design import STAR
from analysis.search.propose import Proposal, SearchContext, propose
from analysis.search.space import Point, Space
from analysis.table.table import HYPERPARAMETERS
from sweep.study import InputError

DIVERGED = "diverged: pruned, or without a finite value"
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


class SurfaceSampler(BaseSampler):
    """An Optuna sampler that proposes (ALMR, LR) from a surface fitted to the trials so far.

        study = optuna.create_study(sampler=SurfaceSampler(seed=0))
        study.optimize(objective, n_trials=24)

    `objective` suggests the floats `almr` and, with log=True, `lr`, and returns a loss in nats per token. The first
    five trials are a fixed design. Then the sampler takes the cell of the largest expected improvement (Jones, Schonlau
    & Welch 1998) or, for a share of the trials, the cell that explains most of the variance of the curve of best LR
    against ALMR.

    A trial that is pruned, or whose value is not finite, counts as diverged; one that fails is not proposed again. With
    the user attributes `loss_original` and `loss_additional` (nats per token) and a `goal` over these languages, each
    language has its own surface; with a goal over sources, each source, by attributes such as `loss_web`. The sampler
    keeps no state: proposals depend on the study's trials and the seed alone.

    Args:
        seed: of all random draws.
        curve: share of the trials, 0 to 1, that sharpen the curve of best LR; the others improve the winner.
        goal: the objective, a WeightedGoal or GuardedGoal of analysis; None: the trial's value.
        space: the points that may be proposed, `Space.grid(almrs, lrs)` or `Space.range((lowest, highest) ALMR, LR)`;
            None: the range of the distributions that the study suggests.

    Attributes:
        last: the last Proposal, with its reason and expected improvement; None before there is one.

    Raises:
        InputError: while sampling, for a study that maximises, has other parameters, or suggests them not as floats.
    """

    def __init__(
        self, seed: int = 0, curve: float = 0.25, goal: Goal | None = None, space: Space | None = None
    ) -> None:
        self.seed, self.curve, self.space = seed, curve, space
        self.goal = goal or WeightedGoal({"total": 1.0})
        self.last: Proposal | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if study.directions != [StudyDirection.MINIMIZE]:
            raise InputError("SurfaceSampler minimises one loss: create the study with direction='minimize'")
        if self.space:
            return distributions_of(self.space)
        for earlier in study.get_trials(deepcopy=False):  # pruned, failed and running ones too
            if set(HYPERPARAMETERS) <= set(earlier.distributions):
                return dict(earlier.distributions)
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        space = self.space or _space(search_space)
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        table, pending = table_of(earlier, self.goal.losses)
        context = SearchContext(table, self.goal, space, pending, len(earlier), curve=self.curve, seed=self.seed)
        self.last = propose(context)
        return {"almr": self.last.almr, "lr": self.last.lr}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first trials, while Optuna knows no distributions: a point of the design."""
        low, high = _bounds(param_name, param_distribution)
        share = STAR[trial.number % len(STAR)][HYPERPARAMETERS.index(param_name)]
        if getattr(param_distribution, "log", False):
            return low * (high / low) ** share
        return low + (high - low) * share


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distributions over the bounds of the space."""
    (a0, a1), (r0, r1) = space.bounds
    return {"almr": FloatDistribution(a0, a1), "lr": FloatDistribution(r0, r1, log=True)}


def _space(distributions: dict[str, BaseDistribution]) -> Space:
    if set(distributions) != set(HYPERPARAMETERS):
        raise InputError(
            f"SurfaceSampler searches almr and lr, and the study has {sorted(distributions)}: suggest these two alone"
        )
    almr, lr = (_bounds(name, distributions[name]) for name in HYPERPARAMETERS)
    return Space.range(almr, lr)


def _bounds(name: str, distribution: BaseDistribution) -> Point:
    if name not in HYPERPARAMETERS:
        raise InputError(f"SurfaceSampler searches almr and lr, and the study suggests {name}: remove it")
    if not isinstance(distribution, FloatDistribution):
        raise InputError(f"SurfaceSampler: {name} is not a float: use suggest_float({name!r}, lowest, highest)")
    return distribution.low, distribution.high


def table_of(trials: Sequence[FrozenTrial], languages: Sequence[str]) -> tuple[pd.DataFrame, list[Point]]:
    """The finished trials of a study as a table (see analysis.table), and the points in flight."""
    begun = [trial for trial in trials if set(HYPERPARAMETERS) <= set(trial.params)]
    pending = [(t.params["almr"], t.params["lr"]) for t in begun if t.state in UNFINISHED]
    rows = [_row(trial, languages) for trial in begun if trial.state not in UNFINISHED]
    columns = ["almr", "lr", *(f"loss_{name}" for name in languages), "status", "excluded"]
    return pd.DataFrame(rows, columns=columns).astype({"excluded": object}), pending


def _row(trial: FrozenTrial, languages: Sequence[str]) -> dict[str, Any]:
    value = trial.value if trial.state is TrialState.COMPLETE and trial.value is not None else math.nan
    losses = {f"loss_{n}": value if n == "total" else trial.user_attrs.get(f"loss_{n}", math.nan) for n in languages}
    row = {name: trial.params[name] for name in HYPERPARAMETERS} | losses
    if trial.state is TrialState.FAIL:
        return row | {"status": "failed", "excluded": "failed: no value"}
    if not all(map(math.isfinite, losses.values())):
        return row | {"status": "diverged", "excluded": DIVERGED}
    return row | {"status": "complete", "excluded": None}
