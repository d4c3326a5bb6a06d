"""The next trial of a search, as a pure function of the trials so far.

A design of first trials, then the cell whose trial most improves the winner. From trial WINNER_FIRST on a share of the
trials, which the study sets, goes where it most sharpens the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from analysis.decision.objectives import Goal, GuardedGoal
from analysis.search.design import design, retreat, spread
from analysis.search.gain import LIKELY, ObjectiveModel, expected_improvement, launch_loss, variance_explained
from analysis.search.space import Point, Space
from analysis.search.surrogate import Surrogate, Warp
from analysis.surfaces.kernels import Array
from analysis.table import table as tables

JITTER = 0.1  # of a first trial's place, in shares of the range
WINNER_FIRST = 16  # trials, after which the winner is usually found
ALTERNATE = 0.5  # up to this share, the curve gets no two trials in a row
# In sds of a trial's noise: under this expected improvement, the winner gains more from a more exact position.
SETTLED = 0.1
# Shares of the free cells, those of the lowest predicted losses, where a trial makes a position more exact: of all
# cells for the winner, of each ALMR's for the curve. By the model the corners would tell most; but trials diverge
# there, and it is least to be believed there.
NEAR_WINNER, NEAR_CURVE = 0.25, 0.5
ENOUGH = 4  # complete trials to fit a surface


@dataclass(frozen=True)
class SearchContext:
    """The inputs of a proposal: trials so far, objective, space, and the search's settings.

    `table`: the trials with an outcome, as in analysis.table. `pending`: points in flight. `index`: the number of the
    proposal, from 0. `curve`: the share of trials that sharpen the curve. `at_once`: how many trials run in parallel;
    the first ones are laid out for their number.
    """

    table: pd.DataFrame
    goal: Goal
    space: Space
    pending: Sequence[Point] = ()
    index: int = 0
    curve: float = 0.25
    seed: int = 0
    at_once: int = 1

    @property
    def used(self) -> list[Point]:
        """Points with an outcome or in flight."""
        return [*zip(self.table["almr"], self.table["lr"], strict=True), *self.pending]

    @property
    def free(self) -> Space:
        """Cells that may be proposed."""
        return self.space.without(self.used)


@dataclass(frozen=True)
class Proposal:
    """A cell to try. `why`: "start", "winner" or "curve", or the name of another strategy.

    `launch_loss`: what a launch of the best trial so far is expected to lose against the best cell, in nats; None
    before there is a surface.
    """

    almr: float
    lr: float
    why: str
    launch_loss: float | None = None


def propose(context: SearchContext) -> Proposal:
    """The next trial: a free cell, of which there has to be one."""
    free, first = context.free, design(context.at_once)
    if context.index < len(first):
        return Proposal(*_start(context, first[context.index], free), "start")
    known = tables.objective(tables.usable(context.table), context.goal.loss_weights).notna().sum()
    if known < ENOUGH:
        return Proposal(*_without_surface(context, free), "start")
    with threadpool_limits(1):  # small matrices: more threads are slower, and trials beside need the cores
        return _on_surface(replace(context, table=context.table.sort_values(["almr", "lr"])), free)


def _on_surface(context: SearchContext, free: Space) -> Proposal:
    fitted, seed = fit(context), context.seed + context.index
    model = fitted.conditioned_on_mean(sorted(context.pending))
    if not np.isfinite(context.goal.of_trials(tables.usable(context.table)).to_numpy(float)).any():
        return Proposal(*free.cells[int(model.guard_margin(free.almr, free.lr).argmax())], "winner")
    mean, sd, allowed = model.predict(free.almr, free.lr)
    noise = model.objective.noise
    improvement = float((allowed * expected_improvement(mean, sd, _lowest_mean(context.table, model))).max())
    why = "curve" if _turn_of_curve(context.index, context.curve) else "winner"
    if why == "curve" or improvement < SETTLED * noise:
        worth = variance_explained(why, model, context.space, free, seed)
        worth = worth * _near(why, mean, free) * (allowed if why == "winner" else 1)
    else:
        worth = allowed * expected_improvement(mean, np.hypot(sd, noise), 0.0)  # the lowest loss, warped
    left = launch_loss(fitted, context.space, _complete(context.table), seed)
    return Proposal(*free.cells[int(worth.argmax())], why, left)


def _near(target: str, mean: Array, free: Space) -> NDArray[np.bool_]:
    """Which of the n free cells, of predicted losses `mean` (n,), may make the target's position more exact: (n,)."""
    if target == "winner":
        return np.asarray(mean <= np.quantile(mean, NEAR_WINNER))
    found = np.zeros(len(mean), bool)
    for almr in np.unique(free.almr):
        of_almr = free.almr == almr
        found |= of_almr & (mean <= np.quantile(mean[of_almr], NEAR_CURVE))
    return found


def _turn_of_curve(index: int, share: float) -> bool:
    """Whether the curve gets trial `index`: from WINNER_FIRST on it catches up to its share of all trials."""
    spent, turn = 0, False
    for k in range(WINNER_FIRST, index + 1):
        turn = spent < int((k + 1) * share) and (share > ALTERNATE or not turn)
        spent += turn
    return turn


def _start(context: SearchContext, place: Point, free: Space) -> Point:
    """The free cell nearest to a place of the design, jittered by the seed."""
    jitter = JITTER * np.random.default_rng([context.seed, context.index]).uniform(-1, 1, 2)
    return context.space.nearest_to(np.array(place) + jitter, free.cells)


def _without_surface(context: SearchContext, free: Space) -> Point:
    """The proposal after the design where hardly any trial completed, or hardly any has ended."""
    lost = tables.diverged(context.table)
    if len(lost):
        return retreat(context.space, context.used, free, list(zip(lost["almr"], lost["lr"], strict=True)))
    return spread(context.space, context.used, free)


def fit(context: SearchContext) -> ObjectiveModel:
    """The surrogates of the objective and of the guarded losses.

    A diverged trial counts as one with the highest complete loss: as a lower bound it would not keep the search away,
    because the normal posterior there still has a tail of low losses.
    """
    table, goal = context.table, context.goal
    used = tables.usable(table)
    loss = tables.objective(used, goal.loss_weights)
    values = goal.of_trials(used).to_numpy(float)
    lowest = float(np.nanmin(values if np.isfinite(values).any() else loss.to_numpy(float)))
    bounds = goal.bounds if isinstance(goal, GuardedGoal) else {}
    guards = {name: _surrogate(context, used[f"loss_{name}"], bound) for name, bound in bounds.items()}
    return ObjectiveModel(_surrogate(context, loss, lowest), guards)


def _surrogate(context: SearchContext, loss: pd.Series, centre: float) -> Surrogate:
    """Of the losses of the complete trials, the diverged ones added."""
    measured, lost = loss.notna().to_numpy(), tables.diverged(context.table)
    every = pd.concat([tables.usable(context.table)[measured], lost])
    losses = np.concatenate([loss[measured].to_numpy(float), np.full(len(lost), loss.max())])
    points = list(zip(every["almr"], every["lr"], strict=True))
    return Surrogate.fit(context.space, points, losses, Warp(centre))


def _complete(table: pd.DataFrame) -> list[Point]:
    used = tables.usable(table)
    return list(zip(used["almr"].tolist(), used["lr"].tolist(), strict=True))


def _lowest_mean(table: pd.DataFrame, model: ObjectiveModel) -> float:
    """The lowest mean of the surrogate at a trial that may be launched, warped."""
    almr, lr = np.array(_complete(table), float).T
    mean, _, allowed = model.predict(almr, lr)
    likely = allowed >= LIKELY
    return float(mean[likely].min() if likely.any() else mean.max())
