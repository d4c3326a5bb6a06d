"""The next trial of a search, as a pure function of the trials so far.

A small central design first. Then, in the shares that the study sets, the cell whose trial most improves the winner and
the cell whose trial most sharpens the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.decision.objectives import Goal
from analysis.search.gain import ObjectiveModel, expected_improvement, variance_explained
from analysis.search.space import Point, Space
from analysis.surfaces.kernels import FitSettings
from analysis.surfaces.scale import Scale
from analysis.surfaces.surface import Surface, compressions
from analysis.table import table as tables
from analysis.table.table import HYPERPARAMETERS

# In shares of the range: the middle, then halfway to each edge; the low LR first, where nothing diverges.
DESIGN = ((0.5, 0.5), (0.5, 0.25), (0.25, 0.5), (0.75, 0.5), (0.5, 0.75))
JITTER = 0.1
# With the wide prior of a finished fit, a search would try every corner before it relies on a quadratic.
TREND_SD = 2.0
MEMBERS = 8  # draws of the kernel parameters: a proposal needs no exact interval
WINNER_FIRST = 8  # trials, after which the region of the winner is usually known
ALTERNATE = 0.5  # up to this share, the curve gets no two trials in a row
# In sds of a trial's noise: under this expected improvement, the winner gains more from a more exact position.
SETTLED = 0.1
ENOUGH = 4  # complete trials to fit a surface


@dataclass(frozen=True)
class SearchContext:
    """The inputs of a proposal: trials so far, objective, space, and the search's settings.

    `table`: the trials with an outcome, as in analysis.table. `pending`: points in flight. `index`: the number of the
    proposal, from 0. `curve`: the share of trials that sharpen the curve.
    """

    table: pd.DataFrame
    goal: Goal
    space: Space
    pending: Sequence[Point] = ()
    index: int = 0
    curve: float = 0.25
    seed: int = 0

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

    `improvement`: the largest expected improvement (nats) of the lowest value of the surface by one trial; None before
    there is a surface.
    """

    almr: float
    lr: float
    why: str
    improvement: float | None = None


def propose(context: SearchContext) -> Proposal:
    """The next trial: a free cell, of which there has to be one."""
    free = context.free
    if context.index < len(DESIGN):
        return _start(context, free)
    if len(tables.usable(context.table)) < ENOUGH:
        return _retreat(context, free)
    with threadpool_limits(1):  # small matrices: more threads are slower, and trials beside need the cores
        return _on_surface(replace(context, table=context.table.sort_values(["almr", "lr"])), free)


def _on_surface(context: SearchContext, free: Space) -> Proposal:
    model = fit(context).conditioned_on_mean(context.pending)
    predicted = model.predict(free.almr, free.lr)
    if not np.isfinite(context.goal.of_trials(tables.usable(context.table)).to_numpy(float)).any():
        return Proposal(*free.cells[int(model.guard_margin(free.almr, free.lr).argmax())], "winner")
    lowest_loss, lowest_mean = _lowest(context.table, model)
    allowed = predicted.allowed
    improvement = float((allowed * expected_improvement(predicted.mean, predicted.sd, lowest_mean)).max())
    why = "curve" if _turn_of_curve(context.index, context.curve) else "winner"
    if why == "curve" or improvement < SETTLED * predicted.noise[predicted.mean.argmin()]:
        worth = variance_explained(why, model, context.space, free, context.seed + context.index)
        worth = worth * allowed if why == "winner" else worth
    else:
        sd = np.hypot(predicted.sd, predicted.noise)
        worth = allowed * expected_improvement(predicted.mean, sd, lowest_loss)
    return Proposal(*free.cells[int(worth.argmax())], why, improvement)


def _turn_of_curve(index: int, share: float) -> bool:
    """Whether the curve gets trial `index`: from WINNER_FIRST on it catches up to its share of all trials."""
    spent, turn = 0, False
    for k in range(WINNER_FIRST, index + 1):
        turn = spent < int((k + 1) * share) and (share > ALTERNATE or not turn)
        spent += turn
    return turn


def _start(context: SearchContext, free: Space) -> Proposal:
    """The free cell nearest to a point of the design, jittered by the seed."""
    index, jitter = context.index, np.random.default_rng([context.seed, context.index]).uniform(-1, 1, 2)
    u, v = np.array(DESIGN[index]) + JITTER * jitter
    (a0, a1), (r0, r1) = context.space.bounds
    return Proposal(*context.space.nearest(a0 + u * (a1 - a0), r0 * (r1 / r0) ** v, free.cells), "start")


def _retreat(context: SearchContext, free: Space) -> Proposal:
    """The proposal where hardly any trial completed.

    A cell halfway between the lowest free LR and the lowest that diverged; without one, the cell of the lowest free LR
    that is farthest from all used ones.
    """
    lost, space = tables.diverged(context.table), context.space
    lower = [cell for cell in free.cells if not len(lost) or cell[1] < lost["lr"].min()]
    if len(lost) and lower:
        middle = float(np.exp(np.mean(np.log([min(lr for _, lr in lower), lost["lr"].min()]))))
        return Proposal(*space.nearest(float(np.median(lost["almr"])), middle, lower), "start")
    among = Space(tuple(cell for cell in free.cells if not len(lost) or cell[1] == free.lr.min()))
    used = space.unit(*np.array(context.used).T)
    distance = ((space.unit(among.almr, among.lr)[:, None] - used[None]) ** 2).sum(axis=2).min(axis=1)
    return Proposal(*among.cells[int(distance.argmax())], "start")


def fit(context: SearchContext) -> ObjectiveModel:
    """As analysis.surfaces.surface.fit_languages, for fewer trials, with inputs scaled to the whole space.

    A diverged trial counts as one with the highest complete loss. A lower bound would not keep the search away: the
    normal posterior there still has a tail of low losses.
    """
    used, lost = tables.usable(context.table), tables.diverged(context.table)
    almr, lr = (pd.concat([used, lost])[name].to_numpy(float) for name in HYPERPARAMETERS)
    settings = FitSettings(context.seed, TREND_SD, MEMBERS, quadratic=False)
    surfaces = {}
    for name in context.goal.losses:
        loss = used[f"loss_{name}"].to_numpy(float)
        every = np.concatenate([loss, np.full(len(lost), loss.max())])
        scales = compressions(Scale(almr, lr, every, span=context.space.bounds))
        surfaces[name] = Surface.averaged(scales, settings=settings)
    return ObjectiveModel(surfaces, context.goal)


def _lowest(table: pd.DataFrame, model: ObjectiveModel) -> tuple[float, float]:
    """The lowest measured objective, and the lowest mean of the surface at a trial, in nats."""
    used = tables.usable(table)
    predicted = model.predict(used["almr"].to_numpy(float), used["lr"].to_numpy(float))
    measured = model.goal.of_trials(used).to_numpy(float)
    allowed = predicted.allowed >= 0.5
    if not (np.isfinite(measured).any() and allowed.any()):  # no trial keeps the guard: one that does is an improvement
        worst = float(predicted.mean.max())
        return worst, worst
    return float(np.nanmin(measured)), float(predicted.mean[allowed].min())
