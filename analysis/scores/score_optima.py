"""A score as a surface over (ALMR, LR): its optimum, and its prediction at a point.

The surfaces are fitted as those of the losses, to minus the score where higher is better. Diverged trials do not bound
them: their scores need not be the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.decision.winner import choose, interval, region
from analysis.fit_file.scores import ScoreOptimum
from analysis.fit_file.winner import Interval, Region, Winner
from analysis.scores import paired
from analysis.scores.across import ScoreSpread
from analysis.scores.read import Scored, ScoredModel
from analysis.scores.targets import ScoreTarget
from analysis.surfaces.kernels import Array, FitSettings
from analysis.surfaces.optima import Lattice, LatticeSize, Optima
from analysis.surfaces.scale import Scale
from analysis.surfaces.surface import Surface
from sweep.study import MINIMUM_TRIALS

SIZE = LatticeSize(17, 25)  # a seventh of the time of the losses' lattice, since these optima are less certain
EXPLAINED = 0.2  # leave-one-out R2: shuffled scores stay under it (as in analysis.decision.findings.refusals)


@dataclass(frozen=True)
class ScoreSurface:
    """The surface of `turned` x the score; `turned` is -1 where higher is better."""

    surface: Surface
    turned: int

    @staticmethod
    def fit(scored: Scored, target: ScoreTarget, spread: ScoreSpread, seed: int) -> ScoreSurface:
        """Fit the trials that have the score, at least MINIMUM_TRIALS."""
        almr, lr = _points(scored, spread)
        scale = Scale.of(almr, lr, -target.sign * spread.values)
        return ScoreSurface(Surface.fit(scale, settings=FitSettings(seed), error=spread.noise), -target.sign)

    def at(self, almr: float, lr: float) -> tuple[float, float]:
        """The predicted score at a point and its standard deviation."""
        mean, sd = self.surface.predict([almr], [lr])
        return self.turned * float(mean[0]), float(sd[0])

    def on(self, almr: Array, lr: Array) -> tuple[Array, Array]:
        """The predicted scores at n points and their standard deviations: two arrays (n,)."""
        mean, sd = self.surface.predict(almr, lr)
        return self.turned * mean, sd

    def explained(self) -> float:
        """The leave-one-out R2: the share of the variance that predictions of left-out trials explain."""
        values = self.surface.scale.loss
        return float(
            1 - np.sum((values - self.surface.leave_one_out()[0]) ** 2) / np.sum((values - values.mean()) ** 2)
        )


def _points(scored: Scored, spread: ScoreSpread) -> tuple[Array, Array]:
    points = [scored.points[k] for k in spread.index]
    return np.array([point.almr for point in points]), np.array([point.lr for point in points])


@dataclass(frozen=True)
class ScoredRun:
    """The scores of a run beside the winner by loss: what rows, guards and optima are computed from.

    `spreads` are the targets' scores over the trials; `nearest` is the index of the chosen trial, the scored trial
    nearest to the winner, None where no trial was scored.
    """

    scored: Scored
    targets: Sequence[ScoreTarget]
    spreads: dict[ScoreTarget, ScoreSpread]
    nearest: int | None
    winner: Winner
    seed: int
    _surfaces: dict[ScoreTarget, ScoreSurface] = field(default_factory=dict)

    @property
    def level(self) -> float:
        return self.winner.level

    @property
    def chosen(self) -> ScoredModel:
        """The chosen trial's scores; no scores where no trial was scored."""
        return self.scored.trials[self.nearest] if self.nearest is not None else ScoredModel({}, {})

    def surface(self, target: ScoreTarget) -> ScoreSurface | None:
        """The target's surface, fitted on first use: most targets need none. None where too few trials have it."""
        spread = self.spreads[target]
        if len(spread.index) < MINIMUM_TRIALS:
            return None
        if target not in self._surfaces:
            self._surfaces[target] = ScoreSurface.fit(self.scored, target, spread, self.seed)
        return self._surfaces[target]


def why_flat(spreads: Sequence[ScoreSpread], level: float) -> list[str | None]:
    """Why a target has no optimum to look for, before any surface is fitted; None where it may have one.

    The tests of all targets are corrected together for their number.
    """
    corrected = paired.holm_of_known([spread.p_value() for spread in spreads])
    return [_why_flat(spread, p, level) for spread, p in zip(spreads, corrected, strict=True)]


def _why_flat(spread: ScoreSpread, p: float | None, level: float) -> str | None:
    trials = len(spread.index)
    if trials < MINIMUM_TRIALS:
        return f"too few trials: {trials} have this score, a surface needs {MINIMUM_TRIALS}"
    if p is None:
        return "noise not known: neither the questions nor the standard errors were kept"
    if p > 1 - level:
        return f"not distinguishable across the grid: trials differ no more than their questions explain (p = {p:.2g})"
    return None


def optimum(run: ScoredRun, target: ScoreTarget) -> ScoreOptimum | str | None:
    """Where the score is best, or why that is not known. None where the target has no surface."""
    if (score := run.surface(target)) is None:
        return None
    if (share := score.explained()) <= EXPLAINED:
        return (
            f"not distinguishable across the grid: trials differ, but not by ALMR and LR (leave-one-out R2 {share:.2f})"
        )
    spread = run.spreads[target]
    lattice = Lattice.of({"score": score.surface}, *_points(run.scored, spread), run.seed, SIZE)
    optima = Optima(lattice.almr, lattice.lr, lattice.mean["score"], lattice.sd["score"], lattice.draws["score"])
    return _optimum(run, target, optima, choose(optima, lattice, run.level))


def _optimum(run: ScoredRun, target: ScoreTarget, optima: Optima, best: Winner) -> ScoreOptimum:
    """`best` is the lowest point of `optima`, which hold minus the score where higher is better."""
    winner, turned = run.winner, -target.sign
    i, j = np.abs(optima.almr - winner.almr).argmin(), np.abs(np.log(optima.lr) - np.log(winner.lr)).argmin()
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
        trials=len(run.spreads[target].index),
    )


def holds(within: Region, almr: float, lr: float) -> bool:
    """Whether a point is in the region: between the LRs of its rows, and not past the first or last."""
    rows = within.rows
    almrs = np.array([row.almr for row in rows])
    step = float(np.median(np.diff(almrs))) if len(rows) > 1 else 0.0
    if not almrs[0] - step <= almr <= almrs[-1] + step:
        return False
    low, high = (np.interp(almr, almrs, np.log([getattr(row, end) for row in rows])) for end in ("lr_low", "lr_high"))
    return bool(low <= np.log(lr) <= high)
