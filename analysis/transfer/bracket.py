"""Confirmation runs at a few LRs -> the best LR with its interval, and whether the chosen LR is near enough to it.

Near its minimum the loss is quadratic in ln LR. The coefficients of the quadratic have a flat prior; the noise variance
has a scaled inverse chi-square prior worth PRIOR_RUNS runs at the sweep's noise, so that three runs give an interval.
Intervals are quantiles of posterior draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.fit_file.winner import Interval
from sweep.study import InputError, Schema, numbers

if TYPE_CHECKING:
    from analysis.surfaces.kernels import Array

DRAWS = 20_000
PRIOR_RUNS = 4
LEAST_LRS = 3
FAR = 100.0  # times the LRs that were run, over or under them, at which the interval of the best LR ends
CLOSE = 1.01  # LRs within this factor count as one: they say nothing about a curvature
Answer = Literal["holds", "moved", "undecided"]


class ConfirmationRun(Schema):
    """One confirmation run. `loss`: its objective in nats per token; None where it diverged. `trainer`: as the table of
    results states it; empty where it does not."""

    lr: float
    loss: float | None
    trainer: str = ""


class LrComparison(Schema):
    """The comparison of `chosen`, the predicted LR at the confirmation runs' token budget, with their best LR.

    `best`: minimum of the quadratic, None where it has none or it is outside the LRs that were run. `cost`: nats per
    token of the chosen LR over the best. `answer`: "holds" where the cost's interval is within `tolerance`, "moved"
    where it is over it and the best LR is known. `next`: LRs to run where it is undecided.
    """

    answer: Answer
    why: str
    chosen: float
    best: float | None = None
    interval: Interval | None = None
    cost: float | None = None
    cost_interval: Interval | None = None
    tolerance: float
    level: float
    noise: float
    runs: tuple[ConfirmationRun, ...]
    next: tuple[float, ...] = ()

    @property
    def lowest_diverged(self) -> float | None:
        return min((run.lr for run in self.runs if run.loss is None), default=None)

    @property
    def diverged(self) -> bool:
        """Whether a run diverged at the chosen LR, or below it."""
        return self.lowest_diverged is not None and self.lowest_diverged < CLOSE * self.chosen


def compare(runs: list[ConfirmationRun], chosen: float, noise: float, tolerance: float, level: float) -> LrComparison:
    """Compare the chosen LR with confirmation runs around it.

    `noise`: sd of one run's objective in the sweep, in nats; `tolerance` in nats. Raises InputError for fewer than
    LEAST_LRS distinct LRs without a diverged run.
    """
    base = LrComparison(
        answer="undecided",
        why="",
        chosen=chosen,
        tolerance=tolerance,
        level=level,
        noise=noise,
        runs=tuple(sorted(runs, key=lambda run: run.lr)),
    )
    complete = sorted({run.lr for run in runs if run.loss is not None})
    lost = sorted(run.lr for run in runs if run.loss is None)
    if (distinct := _distinct(complete)) < LEAST_LRS:
        if not lost:
            raise InputError(
                f"{distinct} distinct LRs have a loss (LRs under {numbers.percent(CLOSE - 1)} apart count as one), a "
                f"quadratic in ln LR needs {LEAST_LRS}: run the others too"
            )
        why = f"only {distinct} distinct LRs completed, and LR {numbers.lr(lost[0])} diverged: run lower LRs"
        return _with(base, "undecided", why, tuple(min(complete, default=lost[0]) / factor for factor in (2, 4)))
    return _fitted(base, lost)


def _distinct(lrs: list[float]) -> int:
    """Number of ascending LRs that are a factor of CLOSE or more apart."""
    kept: list[float] = []
    for lr in lrs:
        if not kept or lr >= CLOSE * kept[-1]:
            kept.append(lr)
    return len(kept)


def _fitted(base: LrComparison, lost: list[float]) -> LrComparison:
    """The answer from the quadratic through the complete runs; `lost`: LRs that diverged, ascending."""
    from analysis.decision.winner import interval  # with the surfaces: they take half a second to import

    done = [run for run in base.runs if run.loss is not None]
    x = np.log([run.lr for run in done]) - math.log(base.chosen)
    draws = _draws(x, np.array([run.loss for run in done], float), base.noise)
    bowl = draws[draws[:, 2] > 0]
    if len(bowl) < base.level * len(draws):
        probability = numbers.percent(len(bowl) / len(draws))
        why = f"the runs do not show a minimum, the probability of one is {probability}: run more LRs"
        return _with(base, "undecided", why, _wider(base))
    at = -bowl[:, 1] / (2 * bowl[:, 2])
    found = _within_reach(interval(at, base.level), x)
    best = float(np.median(at))
    cost = bowl[:, 2] * at**2  # of x = 0, the chosen LR
    estimate = base.model_copy(
        update={
            "best": base.chosen * math.exp(best) if x.min() <= best <= x.max() else None,
            "interval": Interval(low=base.chosen * math.exp(found.low), high=base.chosen * math.exp(found.high)),
            "cost": float(np.median(cost)),
            "cost_interval": interval(cost, base.level),
        }
    )
    return _answered(estimate, lost)


def _within_reach(found: Interval, x: Array) -> Interval:
    """An interval of the minimum, as x is, no farther than FAR from the runs: that of a nearly straight line may be at
    e^1000 times their LRs. One that lies beyond that begins at the runs.
    """
    low, high = float(x.min()) - math.log(FAR), float(x.max()) + math.log(FAR)
    return Interval(
        low=max(found.low, low) if found.low < high else float(x.max()),
        high=min(found.high, high) if found.high > low else float(x.min()),
    )


def _answered(estimate: LrComparison, lost: list[float]) -> LrComparison:
    """The estimate with its answer, in words, and what to run next."""
    assert estimate.cost_interval is not None
    assert estimate.interval is not None
    low, high = estimate.cost_interval.low, estimate.cost_interval.high
    cost = f"{estimate.cost:.4f} nats over the best ({low:.4f} to {high:.4f})"
    bound = f"the tolerance of {estimate.tolerance:g}"
    if estimate.diverged:
        answer: Answer = "moved" if estimate.best and estimate.best < lost[0] else "undecided"
        why = f"LR {numbers.lr(lost[0])} diverged, and the chosen LR is not below it"
        return _with(estimate, answer, why, () if answer == "moved" else (estimate.runs[0].lr / 2,))
    if high <= estimate.tolerance:
        inside = estimate.interval.low <= estimate.chosen <= estimate.interval.high
        where = "inside the interval of the best LR and" if inside else "outside the interval of the best LR, but"
        why = f"the chosen LR is {where} costs {'' if inside else 'only '}{cost}, within {bound}"
        return _with(estimate, "holds", why)
    if low <= estimate.tolerance:
        why = f"the chosen LR costs {cost}, and {bound} is inside that interval: repeat the runs with another seed"
        return _with(estimate, "undecided", why, tuple(run.lr for run in estimate.runs if run.loss is not None))
    if estimate.best is None:
        why = f"the chosen LR costs {cost}, over {bound}, and the best LR is outside those that ran: add LRs"
        return _with(estimate, "undecided", why, _wider(estimate))
    return _with(estimate, "moved", f"the chosen LR costs {cost}, over {bound}")


def _with(comparison: LrComparison, answer: Answer, why: str, more: tuple[float, ...] = ()) -> LrComparison:
    return comparison.model_copy(update={"answer": answer, "why": why, "next": more})


def _wider(comparison: LrComparison) -> tuple[float, ...]:
    """LRs to run next: beyond the edge of the runs towards which the losses fall, or beyond both."""
    done = [run for run in comparison.runs if run.loss is not None]
    lowest = min(done, key=lambda run: run.loss or math.inf).lr
    low, high = done[0].lr, done[-1].lr
    return (low / 2,) if lowest == low else (high * 2,) if lowest == high else (low / 2, high * 2)


def _draws(x: Array, y: Array, noise: float) -> Array:
    """Posterior draws (DRAWS, 3) of the coefficients of 1, x, x^2 for losses y (n,); x (n,) is ln(LR / chosen LR)."""
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    spare = len(y) - 3
    squares = PRIOR_RUNS * noise**2 + float(((y - design @ coefficients) ** 2).sum()) * (spare > 0)
    random = np.random.default_rng(0)
    variance = squares / random.chisquare(PRIOR_RUNS + max(spare, 0), DRAWS)
    factor = _factor(design)
    return np.asarray(coefficients + np.sqrt(variance)[:, None] * (random.standard_normal((DRAWS, 3)) @ factor.T))


def _factor(design: Array) -> Array:
    """F (3, 3) of (design' design)^-1 = F F', by QR: far from the chosen LR the columns are nearly collinear."""
    factor = np.linalg.inv(np.linalg.qr(design[:, ::-1], mode="r"))[::-1, ::-1]
    return np.asarray(factor * np.sign(np.diag(factor)))
