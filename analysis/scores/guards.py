"""Whether the winner keeps the score guards of the objective, and with which probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.fit_file.scores import GuardVerdict
from analysis.scores.paired import Difference
from analysis.scores.score_optima import ScoredRun
from analysis.scores.targets import ScoreTarget
from sweep.study.sections.objective import ScoreGuard


def check(guard: ScoreGuard, run: ScoredRun) -> GuardVerdict:
    """A guard is kept where its probability is at least the level of the intervals.

    Each guard is tested by itself: a winner has to keep all of them, so their number needs no correction.
    """
    verdict = GuardVerdict(guard=guard.words, least=guard.least)
    target = find(guard, run.targets)
    why = _why_not(guard, target, _measured(run)) if run.nearest is not None else "no trial was scored"
    if target is None or why:
        return verdict.model_copy(update={"why_not": why})
    difference = target.difference(run.chosen, run.scored.base)
    if isinstance(difference, str):
        return verdict.model_copy(update={"why_not": f"against the base model: {difference}"})
    return _with_probability(verdict, run, target, difference)


def find(guard: ScoreGuard, targets: Sequence[ScoreTarget]) -> ScoreTarget | None:
    kinds = _kinds(guard)
    return next((target for target in targets if target.name == guard.name and target.kind in kinds), None)


def _kinds(guard: ScoreGuard) -> tuple[str, ...]:
    return ("task",) if guard.task else ("group", "language")


def _measured(run: ScoredRun) -> list[ScoreTarget]:
    return [target for target in run.targets if any(target.value(model) is not None for model in run.scored.models)]


def _why_not(guard: ScoreGuard, target: ScoreTarget | None, measured: Sequence[ScoreTarget]) -> str | None:
    if target is None:
        kinds = _kinds(guard)
        names = ", ".join(sorted({t.name for t in measured if t.kind in kinds})) or "none"
        return f"no {kinds[0]} of that name was scored (scored: {names})"
    if target.unit_scale and abs(guard.least) >= 1:
        return f"{guard.name} is a score from 0 to 1: write {abs(guard.least) / 100:g} for {abs(guard.least):g} points"
    return None


def _with_probability(
    verdict: GuardVerdict, run: ScoredRun, target: ScoreTarget, difference: Difference
) -> GuardVerdict:
    """By the score's surface where there is one, else by the chosen trial. The error from the choice of questions is
    the chosen trial's in both cases.
    """
    value, centre, sd = target.sign * difference.value, target.sign * difference.centre, 0.0
    assert run.nearest is not None
    source = f"the nearest scored trial, {run.scored.points[run.nearest].trial_id}"
    if fitted := run.surface(target):
        predicted, sd = fitted.at(run.winner.almr, run.winner.lr)
        base = target.value(run.scored.base)
        assert base is not None  # else there were no difference
        value = centre = target.sign * (predicted - base)
        source = f"the surface of {len(fitted.surface.scale.loss)} trials"
    se = float(np.hypot(difference.se, sd))
    at_winner = Difference(value=value, centre=centre, se=se, df=difference.df, n=difference.n)
    probability = at_winner.above(verdict.least)
    found = {"change": value, "interval": at_winner.interval(run.level), "probability": probability, "source": source}
    return verdict.model_copy(update={**found, "kept": probability >= run.level})
