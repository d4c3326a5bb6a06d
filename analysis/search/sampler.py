"""The search as an Optuna sampler, for this product's runs and for any Optuna study with parameters almr and lr.

    study = optuna.create_study(sampler=SurfaceSampler(seed=0))
    study.optimize(objective, n_trials=24)   # which suggests the floats almr and, with log=True, lr

A trial may keep the user attributes `loss_original` and `loss_additional` (nats per token): then each language gets a
surface of its own, as `goal` weighs them; without them there is one surface of the trial's value. A trial that was
pruned, or whose value is not finite, counts as diverged; one that failed is not tried again. The sampler's state is
the study.
"""

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
from analysis.search.propose import DESIGN, Proposal, propose
from analysis.search.space import Point, Space
from sweep.study.errors import InputError

DIALS = ("almr", "lr")
DIVERGED = "diverged: the search's own word"
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


class SurfaceSampler(BaseSampler):
    """`space`: the cells that may be proposed; None: the range of the study's distributions. `goal`: what is minimised;
    None: the trial's value. `curve`: the share of trials that sharpen the curve of best LR. `last`: the last proposal.
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
        for earlier in study.get_trials(deepcopy=False):
            if set(DIALS) <= set(earlier.distributions):  # also of one that was pruned, failed or is in flight
                return {name: earlier.distributions[name] for name in earlier.distributions}
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        space = self.space or _space(search_space)
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        table, pending = table_of(earlier, self.goal.languages)
        self.last = propose(table, self.goal, space, pending, len(earlier), self.curve, self.seed)
        return {"almr": self.last.almr, "lr": self.last.lr}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Trials asked for before any suggested both dials: Optuna knows no distributions yet."""
        low, high = _ends(param_name, param_distribution)
        share = DESIGN[trial.number % len(DESIGN)][DIALS.index(param_name)]
        if getattr(param_distribution, "log", False):
            return low * (high / low) ** share
        return low + (high - low) * share


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    (a0, a1), (r0, r1) = space.ends
    return {"almr": FloatDistribution(a0, a1), "lr": FloatDistribution(r0, r1, log=True)}


def _space(distributions: dict[str, BaseDistribution]) -> Space:
    if set(distributions) != set(DIALS):
        raise InputError(f"SurfaceSampler searches the parameters almr and lr; the study has {sorted(distributions)}")
    almr, lr = (_ends(name, distributions[name]) for name in DIALS)
    return Space.range(almr, lr)


def _ends(name: str, distribution: BaseDistribution) -> Point:
    if name not in DIALS:
        raise InputError(f"SurfaceSampler searches the parameters almr and lr; the study suggests {name}")
    if not isinstance(distribution, FloatDistribution):
        raise InputError(f"SurfaceSampler: {name} has to be a float: suggest_float({name!r}, lowest, highest)")
    return distribution.low, distribution.high


def table_of(trials: Sequence[FrozenTrial], languages: Sequence[str]) -> tuple[pd.DataFrame, list[Point]]:
    """What a study has measured, as analysis.table has it, and the points in flight."""
    begun = [trial for trial in trials if set(DIALS) <= set(trial.params)]
    pending = [(t.params["almr"], t.params["lr"]) for t in begun if t.state in UNFINISHED]
    rows = [_row(trial, languages) for trial in begun if trial.state not in UNFINISHED]
    columns = ["almr", "lr", *(f"loss_{name}" for name in languages), "status", "excluded"]
    return pd.DataFrame(rows, columns=columns).astype({"excluded": object}), pending


def _row(trial: FrozenTrial, languages: Sequence[str]) -> dict[str, Any]:
    value = trial.value if trial.state is TrialState.COMPLETE and trial.value is not None else math.nan
    losses = {f"loss_{n}": value if n == "total" else trial.user_attrs.get(f"loss_{n}", math.nan) for n in languages}
    row = {dial: trial.params[dial] for dial in DIALS} | losses
    if trial.state is TrialState.FAIL:
        return row | {"status": "failed", "excluded": "failed: no value"}
    if trial.user_attrs.get("status") == "diverged" or not all(map(math.isfinite, losses.values())):
        return row | {"status": "diverged", "excluded": DIVERGED}
    return row | {"status": "complete", "excluded": None}
