"""Whether the winner keeps the score guards of the objective, and with which probability."""

from __future__ import annotations

import numpy as np

from analysis.fit_file.scores import GuardVerdict
from analysis.scores.paired import Difference
from analysis.scores.score_optima import ScoredRun
from analysis.scores.targets import ScoreTarget
from sweep.study.sections.objective import Guard


def check(guard: Guard, run: ScoredRun) -> GuardVerdict:
    """A guard is kept where its probability is at least the level of the intervals.

    Each guard is tested by itself: a winner has to keep all of them, so their number needs no correction.
    """
    verdict, found = GuardVerdict(guard=guard.words, least=guard.least), _compared(guard, run)
    if isinstance(found, str):
        return verdict.model_copy(update={"why_not": found})
    return _with_probability(verdict, run, *found)


def _compared(guard: Guard, run: ScoredRun) -> tuple[ScoreTarget, Difference] | str:
    """The guard's target, and its difference between chosen trial and base model; or why the guard is not tested."""
    if run.nearest is None:
        return "no trial was scored"
    kinds = ("task",) if guard.task else ("group", "language")
    of_kind = [target for target in run.targets if target.kind in kinds]
    target = next((target for target in of_kind if target.name == guard.name), None)
    if target is None:
        scored = {t.name for t in of_kind if any(t.value(model) is not None for model in run.scored.models)}
        return f"no {kinds[0]} of that name was scored (scored: {', '.join(sorted(scored)) or 'none'})"
    if target.unit_scale and abs(guard.least) >= 1:
        return f"{guard.name} is a score from 0 to 1: write {abs(guard.least) / 100:g} for {abs(guard.least):g} points"
    difference = target.difference(run.chosen, run.scored.base)
    return f"against the base model: {difference}" if isinstance(difference, str) else (target, difference)


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
