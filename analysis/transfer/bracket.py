"""Brief runs at a few LRs -> the best LR there with its interval, and whether the chosen one is near enough.

Near its minimum the loss is quadratic in ln LR. The quadratic's coefficients are drawn from their posterior under a
flat prior; the noise of a run has a prior worth PRIOR_RUNS runs at the sweep's own, so that three runs say something.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.fit_file.winner import Interval
from sweep.study.errors import InputError
from sweep.study.fields import Schema

if TYPE_CHECKING:
    from analysis.surfaces.kernels import Array

DRAWS = 20_000
PRIOR_RUNS = 4
LEAST_LRS = 3
CLOSE = 1.01  # LRs closer than this say nothing of a curvature
Answer = Literal["holds", "moved", "undecided"]


class BriefRun(Schema):
    """One brief run. `loss` in nats per token, in what is minimised; None where it diverged."""

    lr: float
    loss: float | None


class Judgement(Schema):
    """`chosen` is the LR that was to be confirmed, at the brief runs' own budget; `best` the quadratic's minimum there,
    None where it has none or where it lies outside of the runs. `cost` is what the chosen LR costs over the best, nats.

    `holds`: that cost is under `tolerance` at the interval's level. `moved`: it is over it, and the best LR is known.
    """

    answer: Answer
    why: str
    chosen: float
    best: float | None
    interval: Interval | None
    cost: float | None
    cost_interval: Interval | None
    tolerance: float
    level: float
    noise: float
    runs: tuple[BriefRun, ...]
    next: tuple[float, ...] = ()


def judge(
    runs: list[BriefRun], chosen: float, noise: float, tolerance: float, level: float, seed: int = 0
) -> Judgement:
    """`noise` is the sd of a run's loss that the sweep found, in nats. Raises InputError for under three LRs."""
    base = Judgement(
        answer="undecided",
        why="",
        chosen=chosen,
        best=None,
        interval=None,
        cost=None,
        cost_interval=None,
        tolerance=tolerance,
        level=level,
        noise=noise,
        runs=tuple(sorted(runs, key=lambda run: run.lr)),
    )
    told = {run.lr: run.loss for run in runs if run.loss is not None}
    lost = sorted(run.lr for run in runs if run.loss is None)
    if (apart := _apart(sorted(told))) < LEAST_LRS:
        if not lost:
            raise InputError(
                f"{apart} LRs have a loss, those under {CLOSE - 1:.0%} apart counted as one: a quadratic in ln LR "
                f"needs {LEAST_LRS}: run the others too"
            )
        why = f"only {apart} LRs were trained to the end, the lowest that diverged is {lost[0]:.4g}"
        return _with(base, "undecided", why, tuple(min(told, default=lost[0]) / factor for factor in (2, 4)))
    return _judged(base, lost, seed)


def _apart(lrs: list[float]) -> int:
    """How many of the ascending LRs lie apart."""
    kept: list[float] = []
    for lr in lrs:
        if not kept or lr >= CLOSE * kept[-1]:
            kept.append(lr)
    return len(kept)


def _judged(base: Judgement, lost: list[float], seed: int) -> Judgement:
    from analysis.decision.winner import interval  # with the surfaces: they take half a second to import

    done = [run for run in base.runs if run.loss is not None]
    x = np.log([run.lr for run in done]) - math.log(base.chosen)
    draws = _draws(x, np.array([run.loss for run in done], float), base.noise, seed)
    bowl = draws[draws[:, 2] > 0]
    if len(bowl) < base.level * len(draws):
        why = f"the runs show no minimum: a bowl has a probability of {len(bowl) / len(draws):.0%}"
        return _with(base, "undecided", why, _wider(base))
    at = -bowl[:, 1] / (2 * bowl[:, 2])
    found = interval(at, base.level)
    best = float(np.median(at))
    cost = bowl[:, 2] * at**2  # over the chosen LR, which is 0
    told = base.model_copy(
        update={
            "best": base.chosen * math.exp(best) if x.min() <= best <= x.max() else None,
            "interval": Interval(low=base.chosen * math.exp(found.low), high=base.chosen * math.exp(found.high)),
            "cost": float(np.median(cost)),
            "cost_interval": interval(cost, base.level),
        }
    )
    return _answered(told, lost)


def _answered(told: Judgement, lost: list[float]) -> Judgement:
    assert told.cost_interval is not None
    assert told.interval is not None
    inside = told.interval.low <= told.chosen <= told.interval.high
    cost = f"{told.cost:.4f} nats ({told.cost_interval.low:.4f} to {told.cost_interval.high:.4f})"
    bound = f"the tolerance of {told.tolerance:g}"
    if lost and lost[0] <= told.chosen:
        answer: Answer = "moved" if told.best and told.best < lost[0] else "undecided"
        return _with(told, answer, f"LR {lost[0]:.4g}, not over the chosen one, diverged", _lower(told, answer))
    if told.cost_interval.high <= told.tolerance:
        where = "is inside the interval" if inside else "is outside of the interval, but near enough"
        return _with(told, "holds", f"the chosen LR {where}: it costs {cost}, under {bound}")
    if told.cost_interval.low <= told.tolerance:
        return _with(told, "undecided", f"the chosen LR costs {cost}, which {bound} is inside of", _around(told))
    if told.best is None:
        why = f"the chosen LR costs {cost}, over {bound}, but the best lies outside of the LRs that were run"
        return _with(told, "undecided", why, _wider(told))
    return _with(told, "moved", f"the chosen LR costs {cost}, over {bound}")


def _with(judgement: Judgement, answer: Answer, why: str, more: tuple[float, ...] = ()) -> Judgement:
    return judgement.model_copy(update={"answer": answer, "why": why, "next": more})


def _wider(judgement: Judgement) -> tuple[float, ...]:
    """LRs to run next: beyond the end that the losses fall towards, or beyond both."""
    done = [run for run in judgement.runs if run.loss is not None]
    lowest = min(done, key=lambda run: run.loss or math.inf).lr
    low, high = done[0].lr, done[-1].lr
    found = [low / 2] if lowest == low else [high * 2] if lowest == high else [low / 2, high * 2]
    return tuple(found)


def _around(judgement: Judgement) -> tuple[float, ...]:
    """The same LRs with another seed: nothing but noise leaves it open."""
    return tuple(run.lr for run in judgement.runs if run.loss is not None)


def _lower(judgement: Judgement, answer: Answer) -> tuple[float, ...]:
    return () if answer == "moved" else (judgement.runs[0].lr / 2,)


def _draws(x: Array, y: Array, noise: float, seed: int) -> Array:
    """Coefficients (DRAWS, 3) of 1, x and x^2 from their posterior; x (n,) is ln LR over the chosen one."""
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    spare = len(y) - 3
    squares = PRIOR_RUNS * noise**2 + float(((y - design @ coefficients) ** 2).sum()) * (spare > 0)
    random = np.random.default_rng(seed)
    variance = squares / random.chisquare(PRIOR_RUNS + max(spare, 0), DRAWS)
    half = _half(design)
    return np.asarray(coefficients + np.sqrt(variance)[:, None] * (random.standard_normal((DRAWS, 3)) @ half.T))


def _half(design: Array) -> Array:
    """The lower half (3, 3) of (design' design)^-1, without squaring: LRs far from the chosen one are nearly alike."""
    reversed_half = np.linalg.inv(np.linalg.qr(design[:, ::-1], mode="r"))
    half = reversed_half[::-1, ::-1]
    return np.asarray(half * np.sign(np.diag(half)))
