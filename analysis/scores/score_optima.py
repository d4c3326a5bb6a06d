"""A score as a surface over (ALMR, LR): where it is best, and what it is predicted to be at a point.

The surfaces are those of the losses, of the score with its sign turned where higher is better, so that lower is better.
Trials that diverged do not bound them: nothing says that their scores would be the worst.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.decision.winner import choose, interval, region
from analysis.fit_file.scores import ScoreOptimum
from analysis.fit_file.winner import Interval, Region, Winner
from analysis.scores import paired
from analysis.scores.across import ScoreSpread
from analysis.scores.read import Scored
from analysis.scores.targets import ScoreTarget
from analysis.surfaces.kernel_parameters import FitSettings
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import Lattice, LatticeSize, Optima
from analysis.surfaces.scale import Scale
from analysis.surfaces.surface import Surface
from sweep.study.study import MINIMUM_TRIALS

SIZE = LatticeSize(17, 25)  # a seventh of the time of the losses' lattice, for optima that are less well known
EXPLAINED = (
    0.2  # R2 of trials left out: scores dealt out at random stay under it (as in analysis.decision.findings.refusals)
)


@dataclass(frozen=True)
class ScoreSurface:
    """`turned` is -1 where the surface is of the score with its sign turned."""

    surface: Surface
    turned: int

    @staticmethod
    def fit(scored: Scored, target: ScoreTarget, found: ScoreSpread, seed: int) -> ScoreSurface:
        """Of the trials that have the score, at least MINIMUM_TRIALS."""
        almr, lr = _points(scored, found)
        scale = Scale.of(almr, lr, -target.sign * found.values)
        return ScoreSurface(Surface.fit(scale, settings=FitSettings(seed), error=found.noise), -target.sign)

    def at(self, almr: float, lr: float) -> tuple[float, float]:
        """The score predicted at a point, and the standard deviation of that."""
        mean, sd = self.surface.predict([almr], [lr])
        return self.turned * float(mean[0]), float(sd[0])

    def explained(self) -> float:
        """The share of the variance that trials left out are predicted to have."""
        values = self.surface.scale.loss
        return float(
            1 - np.sum((values - self.surface.leave_one_out()[0]) ** 2) / np.sum((values - values.mean()) ** 2)
        )


def _points(scored: Scored, found: ScoreSpread) -> tuple[Array, Array]:
    places = [scored.places[k] for k in found.index]
    return np.array([place.almr for place in places]), np.array([place.lr for place in places])


def why_flat(every: list[ScoreSpread], level: float) -> list[str | None]:
    """Why a target has no optimum to look for, before any surface is fitted; None where it may have one.

    That the trials do not differ is asked of all targets together, corrected for their number.
    """
    p_values = [found.p_value() for found in every]
    corrected = iter(paired.holm([p for p in p_values if p is not None]))
    return [
        _why_flat(found, None if p is None else float(next(corrected)), level)
        for found, p in zip(every, p_values, strict=True)
    ]


def _why_flat(found: ScoreSpread, p: float | None, level: float) -> str | None:
    trials = len(found.index)
    if trials < MINIMUM_TRIALS:
        return f"{trials} trials have it: a surface needs {MINIMUM_TRIALS}"
    if p is None:
        return "neither its questions nor its standard errors are known: not to be told from noise"
    if p > 1 - level:
        return f"not distinguishable across the grid: trials differ no more than their questions explain (p = {p:.2g})"
    return None


def optimum(
    score: ScoreSurface, scored: Scored, found: ScoreSpread, winner: Winner, level: float, seed: int
) -> ScoreOptimum | str:
    """Where the score is best, or why that is not told."""
    if (share := score.explained()) <= EXPLAINED:
        return (
            f"not distinguishable across the grid: trials differ, but ALMR and LR do not explain it (R2 {share:.2f} of "
            f"trials left out)"
        )
    lattice = Lattice.of({"score": score.surface}, *_points(scored, found), seed, SIZE)
    optima = Optima(lattice.almr, lattice.lr, lattice.mean["score"], lattice.sd["score"], lattice.draws["score"])
    return _optimum(score.turned, optima, choose(optima, lattice, level), winner, len(found.index))


def _optimum(turned: int, optima: Optima, best: Winner, winner: Winner, trials: int) -> ScoreOptimum:
    i, j = (int(np.abs(axis - at).argmin()) for axis, at in _on(optima, winner))
    behind = optima.draws[:, i, j] - optima.draws.min(axis=(1, 2))
    within = region(optima, best.level)
    ends = sorted(turned * end for end in (best.objective_interval.low, best.objective_interval.high))
    return ScoreOptimum(
        almr=best.almr,
        lr=best.lr,
        value=turned * best.objective,
        value_interval=Interval(low=ends[0], high=ends[1]),
        almr_interval=best.almr_interval,
        lr_interval=best.lr_interval,
        at_edge=best.at_edge,
        region=within,
        holds_winner=within and holds(within, winner.almr, winner.lr),
        behind=float(optima.mean[i, j] - optima.mean.min()),
        behind_interval=interval(behind, best.level),
        trials=trials,
    )


def _on(optima: Optima, winner: Winner) -> list[tuple[Array, float]]:
    """Each axis and where the winner is on it, even in ln LR."""
    return [(optima.almr, winner.almr), (np.asarray(np.log(optima.lr)), float(np.log(winner.lr)))]


def holds(within: Region, almr: float, lr: float) -> bool:
    """Whether a point is in the region: between the LRs of its rows, and not past the first or last."""
    rows = within.rows
    almrs = np.array([row.almr for row in rows])
    step = float(np.median(np.diff(almrs))) if len(rows) > 1 else 0.0
    if not almrs[0] - step <= almr <= almrs[-1] + step:
        return False
    low, high = (np.interp(almr, almrs, np.log([getattr(row, end) for row in rows])) for end in ("lr_low", "lr_high"))
    return bool(low <= np.log(lr) <= high)


Surfaces = Callable[[ScoreTarget], ScoreSurface | None]
