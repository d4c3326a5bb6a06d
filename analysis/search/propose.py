"""The next trial of a search, as a function of what was measured and what is in flight, and of nothing else.

A small central design first; then, in the shares that the study states, the cell whose trial most improves the winner
and the cell whose trial most sharpens the curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.decision.objectives import Goal
from analysis.search import gain
from analysis.search.space import Point, Space
from analysis.surfaces.scale import Scale
from analysis.surfaces.surface import Surface
from analysis.table import table as tables

# In shares of the range: the middle, then halfway to each end, the low LR first, where nothing diverges.
DESIGN = ((0.5, 0.5), (0.5, 0.25), (0.25, 0.5), (0.75, 0.5), (0.5, 0.75))
JITTER = 0.1
# Wide as in a finished fit, the prior of the quadratic would send a search to every corner before it trusts a bowl.
TREND_SD = 2.0
WINNER_FIRST = 8  # trials; by then the region of the winner is usually known
ALTERNATE = 0.5  # the share up to which no two trials in a row are the curve's
# In a trial's noise: where no cell is expected to be better by more, the winner gains by being placed more exactly.
SETTLED = 0.1
ENOUGH = 4  # complete trials under which no surface is drawn


@dataclass(frozen=True)
class Proposal:
    """`why`: "start", "winner" or "curve". `improvement`: how much (nats) the best surface value is expected to fall by
    the best single trial; None before there is a surface.
    """

    almr: float
    lr: float
    why: str
    improvement: float | None = None


def propose(
    table: pd.DataFrame, goal: Goal, space: Space, pending: list[Point], index: int, curve: float, seed: int
) -> Proposal:
    """The trial number `index` (from 0) of a search. `table`: the trials measured so far (see analysis.table).

    `curve` is the share of trials that are spent on the curve. A used or pending cell is never proposed; at least one
    cell has to be free.
    """
    free = space.without([*zip(table["almr"], table["lr"], strict=True), *pending])
    if index < len(DESIGN):
        return _start(space, free, index, seed)
    if len(tables.usable(table)) < ENOUGH:
        return _retreat(table, pending, space, free)
    with threadpool_limits(1):  # small matrices: more threads are slower, beside trials that need the cores much so
        return _on_surface(table.sort_values(["almr", "lr"]), goal, space, free, pending, index, curve, seed)


def _on_surface(
    table: pd.DataFrame,
    goal: Goal,
    space: Space,
    free: Space,
    pending: list[Point],
    index: int,
    curve: float,
    seed: int,
) -> Proposal:
    surfaces = fit(table, goal, space, seed)
    now = {name: surface.believing(*_columns(pending)) for name, surface in surfaces.items()}
    outlook = gain.Outlook.of(now, goal, free.almr, free.lr)
    if not np.isfinite(goal.of_trials(tables.usable(table)).to_numpy(float)).any():
        return Proposal(*free.cells[int(gain.within_guard(now, goal, free).argmax())], "winner")
    best = _best(table, goal, now)
    improvement = float((outlook.allowed * gain.expected_improvement(outlook.mean, outlook.sd, best[1])).max())
    why = "curve" if _turn_of_curve(index, curve) else "winner"
    if why == "curve" or improvement < SETTLED * outlook.noise[outlook.mean.argmin()]:
        worth = gain.of_sharpening(why, now, goal, space, free, seed + index)
        worth = worth * outlook.allowed if why == "winner" else worth
    else:
        sd = np.hypot(outlook.sd, outlook.noise)
        worth = outlook.allowed * gain.expected_improvement(outlook.mean, sd, best[0])
    return Proposal(*free.cells[int(worth.argmax())], why, improvement)


def _turn_of_curve(index: int, share: float) -> bool:
    """The winner comes first; then the curve catches up to its share of all trials, up to half of it every second."""
    spent, turn = 0, False
    for k in range(WINNER_FIRST, index + 1):
        turn = spent < int((k + 1) * share) and (share > ALTERNATE or not turn)
        spent += turn
    return turn


def _start(space: Space, free: Space, index: int, seed: int) -> Proposal:
    u, v = np.array(DESIGN[index]) + JITTER * np.random.default_rng([seed, index]).uniform(-1, 1, 2)
    (a0, a1), (r0, r1) = space.ends
    return Proposal(*space.nearest(a0 + u * (a1 - a0), r0 * (r1 / r0) ** v, free.cells), "start")


def _retreat(table: pd.DataFrame, pending: list[Point], space: Space, free: Space) -> Proposal:
    """Where hardly any trial completed: halfway between the lowest LR and the lowest that diverged, or where there is
    no such cell, of the lowest free LR the cell farthest from all others.
    """
    lost = tables.diverged(table)
    lower = [cell for cell in free.cells if not len(lost) or cell[1] < lost["lr"].min()]
    if len(lost) and lower:
        middle = float(np.exp(np.mean(np.log([min(lr for _, lr in lower), lost["lr"].min()]))))
        almr = float(np.median(lost["almr"]))
        return Proposal(*space.nearest(almr, middle, lower), "start")
    among = Space(tuple(cell for cell in free.cells if not len(lost) or cell[1] == free.lr.min()))
    used = space.unit(*np.array([*zip(table["almr"], table["lr"], strict=True), *pending]).T)
    apart = ((space.unit(among.almr, among.lr)[:, None] - used[None]) ** 2).sum(axis=2).min(axis=1)
    return Proposal(*among.cells[int(apart.argmax())], "start")


def fit(table: pd.DataFrame, goal: Goal, space: Space, seed: int) -> dict[str, Surface]:
    """As analysis.surfaces.surface.fit_languages, of fewer trials, and over the whole space.

    A trial that diverged counts as the worst that completed. As a mere bound it would not keep the search away: the
    normal distribution that stands for the surface there has a tail that looks like a chance.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    almr, lr = (pd.concat([used, lost])[dial].to_numpy(float) for dial in ("almr", "lr"))
    surfaces = {}
    for name in goal.languages:
        loss = used[f"loss_{name}"].to_numpy(float)
        scale = Scale(almr, lr, np.concatenate([loss, np.full(len(lost), loss.max())]), span=space.ends)
        surfaces[name] = Surface.fit(scale, seed=seed, restarts=0, trend_sd=TREND_SD)
    return surfaces


def _best(table: pd.DataFrame, goal: Goal, surfaces: dict[str, Surface]) -> tuple[float, float]:
    """The lowest loss that was measured, and the lowest value of the surface at a trial, in nats."""
    used = tables.usable(table)
    outlook = gain.Outlook.of(surfaces, goal, used["almr"].to_numpy(float), used["lr"].to_numpy(float))
    measured = goal.of_trials(used).to_numpy(float)
    allowed = outlook.allowed >= 0.5
    if not (np.isfinite(measured).any() and allowed.any()):  # nothing keeps the guard yet: anything that does improves
        worst = float(outlook.mean.max())
        return worst, worst
    return float(np.nanmin(measured)), float(outlook.mean[allowed].min())


def _columns(points: list[Point]) -> tuple[list[float], list[float]]:
    return [almr for almr, _ in points], [lr for _, lr in points]
