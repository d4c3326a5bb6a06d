"""Whether the winner keeps the guards of the objective, and how surely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.fit_file.scores import GuardVerdict
from analysis.fit_file.winner import Winner
from analysis.scores.paired import Difference
from analysis.scores.read import Scored
from analysis.scores.score_optima import ScoreSurface, Surfaces
from analysis.scores.targets import ScoreTarget
from sweep.study.sections.objective import ScoreGuard


def judge(
    guard: ScoreGuard,
    scored: Scored,
    every: Sequence[ScoreTarget],
    nearest: int | None,
    winner: Winner,
    surfaces: Surfaces,
) -> GuardVerdict:
    """A guard is kept where that has at least the probability of the intervals.

    Each guard is judged by itself: a winner has to keep all of them, so their number needs no correction.
    """
    verdict = GuardVerdict(guard=guard.words, least=guard.least)
    target = find(guard, every)
    why = _why_not(guard, target, _measured(scored, every)) if nearest is not None else "no trial was scored"
    if target is None or nearest is None or why:
        return verdict.model_copy(update={"why_not": why})
    apart = target.difference(scored.trials[nearest], scored.base)
    if isinstance(apart, str):
        return verdict.model_copy(update={"why_not": f"against the base model: {apart}"})
    return _judged(verdict, target, apart, scored, nearest, winner, surfaces(target))


def find(guard: ScoreGuard, every: Sequence[ScoreTarget]) -> ScoreTarget | None:
    kinds = ("task",) if guard.task else ("group", "language")
    return next((target for target in every if target.name == guard.name and target.kind in kinds), None)


def _measured(scored: Scored, every: Sequence[ScoreTarget]) -> list[ScoreTarget]:
    return [target for target in every if any(target.value(model) is not None for model in scored.models)]


def _why_not(guard: ScoreGuard, target: ScoreTarget | None, measured: Sequence[ScoreTarget]) -> str | None:
    if target is None:
        kinds = ("task",) if guard.task else ("group", "language")
        names = ", ".join(sorted({t.name for t in measured if t.kind in kinds})) or "none"
        return f"no {kinds[0]} of that name was scored (scored: {names})"
    if target.unit_scale and abs(guard.least) >= 1:
        return f"{guard.name} is a score from 0 to 1: write {abs(guard.least) / 100:g} for {abs(guard.least):g} points"
    return None


def _judged(
    verdict: GuardVerdict,
    target: ScoreTarget,
    apart: Difference,
    scored: Scored,
    nearest: int,
    winner: Winner,
    fitted: ScoreSurface | None,
) -> GuardVerdict:
    """The error of the choice of questions is that of the nearest trial's difference, also where a surface predicts."""
    place = scored.places[nearest]
    value, centre, sd = target.sign * apart.value, target.sign * apart.centre, 0.0
    source = f"the nearest scored trial, {place.trial_id}"
    if fitted:
        predicted, sd = fitted.at(winner.almr, winner.lr)
        base = target.value(scored.base)
        assert base is not None  # or there were no difference
        value = centre = target.sign * (predicted - base)
        source = f"the surface of {len(fitted.surface.scale.loss)} trials"
    about = Difference(value, centre, float(np.hypot(apart.se, sd)), apart.df, apart.n)
    probability = about.above(verdict.least)
    found = {"change": value, "interval": about.interval(winner.level), "probability": probability, "source": source}
    return verdict.model_copy(update={**found, "kept": probability >= winner.level})
